"""Text files that were cut off: one that is still being copied, or whose copy broke.

An archive, parquet or a workbook proves its end by a checksum or a footer. Text does not: it ends in a newline, or (as
the downloads of some vendors do) without one, and then only its last row can tell.
"""

from __future__ import annotations

import re
from pathlib import Path

from tt_assets.market.errors import BarsFileError
from tt_assets.market.layouts.containers import PROVEN
from tt_assets.market.layouts.delimited import Delimited

TAIL = 64 << 10
COMPARED = 20
"""Rows before the last one that it is held against."""


def ends_without_newline(path: Path) -> bool:
    """Whether the last byte of a file is no line break; not for one that is no text, nor for an empty one."""
    with path.open("rb") as file:
        if file.read(8).startswith(PROVEN):
            return False
    return not _tail(path, 4).endswith((b"\n", b"\r", b"\n\0", b"\0\n", b"\r\0", b"\0\r"))


def refuse_cut(table: Delimited) -> None:
    """Raise BarsFileError where a text file ends in the middle of its last row.

    Without a newline at the end a row with too few cells is cut. One with all its cells may be: it is taken for cut
    where its last value is unlike those before it, a volume under half of the smallest of them or a price with fewer
    decimals than each of them, or where a quoted cell is not closed.
    """
    if table.member.whole or not ends_without_newline(table.member.path):
        return
    encoding = table.encoding
    tail = _tail(table.member.path, TAIL)
    text = (
        tail[len(tail) % 2 :].decode(encoding, "ignore")
        if encoding.startswith("utf-16")
        else tail.decode(encoding, "ignore")
    )
    lines = [line for line in text.splitlines()[-(COMPARED + 1) :] if line.strip()]
    if not lines:
        return
    last, before = lines[-1], lines[:-1]
    cells = table.cells_of(last)
    if len(cells) == 1 and not re.search(r"\d", last[:4]) and len(before) > 1:
        return  # a footer in words
    if len(cells) < table.width:
        raise BarsFileError(
            f'{table.name} ends in the middle of a row ("{last[-60:]}", {len(cells)} of {table.width} cells, no '
            f"newline): it is still being copied, or its copy broke. Copy it again."
        )
    if last.count('"') % 2 or _looks_cut(
        cells[-1], [row[-1] for row in map(table.cells_of, before) if len(row) == table.width]
    ):
        raise BarsFileError(
            f'{table.name} ends without a newline, and its last value "{cells[-1].strip()}" looks cut off beside those '
            f"above it. Copy the file again, or end its last line with a newline."
        )


def _looks_cut(value: str, before: list[str]) -> bool:
    plain = [text.strip() for text in before if re.search(r"\d", text)]  # a short file's header is among them
    if not plain:
        return False
    decimals = {len(text.partition(".")[2]) for text in plain if re.fullmatch(r"[-$]?[\d,]*\.\d+", text)}
    if len(decimals) == 1 and all("." in text for text in plain):
        return len(value.strip().partition(".")[2]) < decimals.pop()
    if not all(re.fullmatch(r"\d+", text) for text in [value.strip(), *plain]):
        return False
    smallest = min(map(int, plain))
    return smallest > 0 and int(value) < smallest / 2


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - size))
        return file.read()
