"""Text files that a person writes by hand: read whole, but never without a bound.

A path may come from somebody else. A device gives bytes without an end, a pipe waits for ever.
"""

from __future__ import annotations

import stat
from pathlib import Path

MOST_TEXT = 32 << 20
"""Bytes; a watchlist of every share of the world has three million."""


class Unusable(ValueError):
    """The file is no regular file, or larger than anything a person writes; says which, in words."""


def refuse_device(path: Path) -> int:
    """The size in bytes of a regular file.

    Raises
    ------
    Unusable : it is a folder, a device or a pipe.
    OSError : it is not there.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
        raise Unusable(f"it is {what}, not a file")
    return found.st_size


def small_text(path: Path, most: int = MOST_TEXT) -> str:
    """The text of a UTF-8 file, line endings as they stand, without a byte order mark.

    Parameters
    ----------
    path : of a file that a person writes.
    most : bytes it may have.

    Raises
    ------
    Unusable : it is no regular file, or larger.
    OSError : it cannot be read.
    UnicodeDecodeError : it is no UTF-8.
    """
    refuse_device(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Unusable(f"it has more than {most >> 20} MB")
    return content.decode("utf-8-sig")
