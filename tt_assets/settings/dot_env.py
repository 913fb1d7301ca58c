"""The `.env` files: which are read, in which order, and what is not believed of the one in the folder one is in.

That folder may be anybody's: an archive somebody unpacked, a repository somebody cloned. So a file there says how to
work, and never which code or which programs to run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from tt_assets.errors import UserError

ENV_FILE = "TT_ENV_FILE"
"""Environment variable that names a file of one's own; it is read last, so it wins."""

NAME_CODE = frozenset(
    {"TT_FEATURE_MODULES", "TT_SIGNAL_MODULES", "TT_TRADING_MODULES", "TT_LEARNER_MODULES", "TT_PG_BIN"}
)
"""Variables whose value is code that is imported or programs that are run."""

MAY_NAME_CODE = frozenset({"TT_PRICE_SOURCE"})
"""Variables whose value is a word of ours, or `package.module:Class`."""


@dataclass(frozen=True)
class DotEnvFile:
    """One file; `trusted` says whether it may name code."""

    path: Path
    trusted: bool

    def lines(self) -> Iterator[tuple[str, str, bool]]:
        """Name, text, and whether it counts, of every variable that is not empty. Nothing of a file that is absent.

        Raises UserError where it cannot be told or read.
        """
        try:
            found = dotenv_values(self.path) if self.path.is_file() else {}
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise UserError(
                f'The settings in "{self.path.absolute()}" cannot be read ({reason}): mend the file, or name another '
                f"place by TT_HOME or {ENV_FILE}."
            ) from None
        for name, text in found.items():
            if text:
                yield name.upper(), text, self.trusted or not names_code(name.upper(), text)


def names_code(name: str, text: str) -> bool:
    """Whether this value of a variable says what to import or to run."""
    return name in NAME_CODE or name == ENV_FILE or (name in MAY_NAME_CODE and ":" in text)


def dot_env_files(given: Sequence[str | Path] | str | Path | None, default_home: Path) -> tuple[DotEnvFile, ...]:
    """The files that are read, the one that wins last.

    `given` are the settings' own, of which a relative one lies in the folder one is in; None for no file but that of
    TT_ENV_FILE. The `.env` of TT_HOME comes between, unless the folder one is in says where TT_HOME is.
    """
    paths = [Path(file) for file in ((given,) if isinstance(given, str | Path) else given or ())]
    own = [DotEnvFile(path, trusted=True) for path in paths if path.is_absolute()]
    homes = [
        os.environ.get("TT_HOME", ""),
        *(text for file in own for name, text, _ in file.lines() if name == "TT_HOME"),
    ]
    if paths:
        home = next((text for text in homes if text), "")
        own.append(DotEnvFile((_expanded(home) if home else default_home) / ".env", trusted=True))
    believed = {file.path.resolve() for file in own}
    here = [path for path in paths if not path.is_absolute() and path.resolve() not in believed]
    named = os.environ.get(ENV_FILE, "")
    return (
        *own,
        *(DotEnvFile(path, trusted=False) for path in here),
        *([DotEnvFile(_expanded(named), trusted=True)] if named else ()),
    )


def _expanded(text: str) -> Path:
    """The path with the home of its user written out; as it is where there is none, which the setting itself says."""
    with suppress(RuntimeError):
        return Path(text).expanduser()
    return Path(text)


def believed(files: Sequence[DotEnvFile]) -> Mapping[str, tuple[str, Path]]:
    """Variable → text and file, of all that counts; a later file wins."""
    return {name: (text, file.path) for file in files for name, text, counts in file.lines() if counts}


def not_believed(files: Sequence[DotEnvFile]) -> list[tuple[str, Path]]:
    """Variable and file of all that does not count."""
    return [(name, file.path) for file in files for name, _, counts in file.lines() if not counts]
