"""Which bars, watchlist and code a machine has: a digest of each, which a queued run carries to whoever makes it.

Machines that share a platform have each their copy of the files. A run on a machine whose copy is an older one would
write other bars than the machine that asked for it knows of.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tt_assets.errors import UserError
from tt_assets.market.files import fingerprint
from tt_assets.market.layouts.containers import stamps
from tt_assets.settings import PriceSourceName, Settings

BARS, WATCHLIST, PACKAGE, CODE = "tt/bars", "tt/watchlist", "tt/package", "tt/code"
PACKAGE_FOLDER = Path(__file__).parents[1]
_SHOWN = 12
"""Characters of a digest: enough to tell versions apart, few enough to compare by eye."""


class OtherVersion(UserError):
    """This machine has not what the machine had that queued the run."""


def source_version(settings: Settings) -> dict[str, str]:
    """Tags of a run with the versions that this machine has.

    Parameters
    ----------
    settings : where the files are.

    Returns
    -------
    The package's version and a digest of its modules, which differ between checkouts of one version; of bars files and
    of a watchlist a digest of their content and names, where there are any.

    Raises
    ------
    UserError : bars files or watchlist cannot be read.
    """
    found = {PACKAGE: version("tt_assets"), CODE: code_digest(PACKAGE_FOLDER)}
    if settings.price_source is PriceSourceName.FILE:
        found[BARS] = _bars(settings)
    if not settings.watchlist_is_of_bars:
        try:
            found[WATCHLIST] = hashlib.sha256(settings.watchlist.read_bytes()).hexdigest()[:_SHOWN]
        except OSError as error:
            raise UserError(
                f"TT_WATCHLIST {settings.watchlist} cannot be read ({error.strerror}) on {socket.gethostname()}: copy "
                "it there."
            ) from None
    return found


def refuse_other_version(tags: Mapping[str, str], settings: Settings) -> None:
    """Refuse a run that was queued for other versions than this machine has.

    Parameters
    ----------
    tags : of the run; one without versions, as in the process that asked for it, is always right.
    settings : where this machine's files are.

    Raises
    ------
    OtherVersion : they differ.
    UserError : as of `source_version`.
    """
    if not tags.keys() & {BARS, WATCHLIST, PACKAGE, CODE}:
        return
    here, host = source_version(settings), socket.gethostname()
    for tag, what, remedy in (
        (PACKAGE, "tt_assets", "install the same version there"),
        (
            CODE,
            f"the code in {PACKAGE_FOLDER}",
            "install the same there, or start `tt up` again if it was changed under it",
        ),
        (BARS, f"TT_BARS_PATH {settings.bars_path}", "copy the bars there again"),
        (WATCHLIST, f"TT_WATCHLIST {settings.watchlist}", "copy the watchlist there again"),
    ):
        if tag in tags and tags[tag] != here.get(tag):
            raise OtherVersion(
                f"{what} of {host} is version {here.get(tag, 'none')}, and the run was queued for {tags[tag]}: "
                f"{remedy}, then run it again."
            )


@cache  # what a process has loaded does not change with its files
def code_digest(package: Path) -> str:
    """A digest of the modules under the folder `package`, by place in it and content."""
    whole = hashlib.sha256()
    for module in sorted(package.rglob("*.py")):
        whole.update(f"{module.relative_to(package).as_posix()}\0".encode())
        whole.update(hashlib.sha256(module.read_bytes()).digest())
    return whole.hexdigest()[:_SHOWN]


def _bars(settings: Settings) -> str:
    """A digest of what the bars files hold and how they are read; kept for as long as none of them changes."""
    state = fingerprint(settings.bars_path, settings.bars_options)
    kept = settings.home / "cache" / "bars.digest.json"
    with suppress(OSError, ValueError):
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["state"] == state:
            return str(known["digest"])
    whole = hashlib.sha256(repr(settings.bars_options.key()).encode())
    for stamp in stamps(settings.bars_path):
        path = Path(stamp.path)
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    digest = whole.hexdigest()[:_SHOWN]
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        staged = kept.with_suffix(f".{os.getpid()}")
        staged.write_text(json.dumps({"state": state, "digest": digest}), encoding="utf-8")
        staged.replace(kept)
    return digest
