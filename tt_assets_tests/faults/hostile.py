"""Input as an enemy, or a broken program, would write it: drawn from a seed, so that a case can be had again."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import struct
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet

from tt_assets.errors import UserError, printable

CASES = int(os.environ.get("HOSTILE_CASES", "1000"))
"""Of each kind."""
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
MOST_MEMORY = 1_500 << 20
"""Bytes that the process may gain over all cases of a kind."""

TOKENS = (
    *(
        "",
        "\0",
        "NaN",
        "inf",
        "-inf",
        "1e400",
        "-0",
        "1e-400",
        "0x10",
        "1_000",
        "1,5",
        "٣",
        "½",
        "9" * 400,
        "9" * 5_000,
    ),
    *("\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe", "\u2028", "\ud800", "\ufeff", "é", "😀", "A" * 100_000),
    *("'; DROP TABLE tt_prices; --", "$(id)", "`id`", "$HOME", "{0.__class__}", "%s%s%n", "${jndi:x}", "=cmd|'/c'!A1"),
    *("../../../etc/passwd", "/dev/zero", "~nosuch/x", "-1", "--help", "-", "|", "a|b|c", "[...]", "a...b", '"', '"x'),
    *("2014-02-30", "0000-00-00", "9999-12-31", "1677-01-01", "2262-04-12", "20140102", "2014-01-02T25:00:00Z", "now"),
    *("1-99999999", "81-1", "1" * 30, "null", "true", "[]", "{}", "[" * 5_000, '{"a":' * 5_000, "CASH", "#x", " x "),
)

BARS = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"2014-01-{day:02d},{40 + day}.10,{41 + day}.25,{39 + day}.05,{40 + day}.50,{1000 * day}\n"
    for day in (2, 3, 6, 7, 8, 9, 10, 13, 14, 15)
)


@dataclass
class Tally:
    """What came of the cases of one kind: refusals, acceptances, and everything that may not be."""

    refused: int = 0
    taken: int = 0
    faults: list[str] = field(default_factory=list)
    _before: int = field(default_factory=lambda: psutil.Process().memory_info().rss)

    def try_(
        self, work: Callable[..., Any], *arguments: Any, case: object, also: tuple[type[Exception], ...] = ()
    ) -> bool:
        """Do `work`; whether it was taken. An error has to be a UserError (or of `also`) on one printable line."""
        try:
            work(*arguments)
        except (UserError, *also) as error:
            self.refused += 1
            self.line(str(error), case)
            return False
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            place = traceback.extract_tb(error.__traceback__)[-8:]
            where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(place))
            self.faults.append(f"{type(error).__name__}: {str(error)[:200]!r} of {str(case)[:200]!r} at {where}")
            return False
        self.taken += 1
        return True

    def sort(self, error: Exception, case: object) -> None:
        """As `try_`, of an error that was caught elsewhere."""

        def again() -> None:
            raise error

        self.try_(again, case=case)

    def line(self, said: str, case: object) -> None:
        """Note a line that is none, or longer than anybody reads, or that a terminal would obey."""
        if "\n" in said.strip() or printable(said) != said or not 10 < len(said) < 4_000:
            self.faults.append(f"said {said[:300]!r} ({len(said)}) of {str(case)[:200]!r}")

    def check(self, kind: str) -> None:
        """Print the tally and raise AssertionError where a case was answered as none may be."""
        gained = psutil.Process().memory_info().rss - self._before
        print(json.dumps({"kind": kind, "refused": self.refused, "taken": self.taken, "faults": len(self.faults)}))
        assert not self.faults, f"{len(self.faults)} of {kind}: " + "\n".join(sorted(set(self.faults))[:20])
        assert gained < MOST_MEMORY, f"{kind} took {gained >> 20} MB"


def draws(kind: str, cases: int = CASES) -> Iterator[random.Random]:
    """A source of chance for each case of a kind, which a failing case can be had again with."""
    for number in range(cases):
        yield random.Random(f"{SEED} {kind} {number}")


def token(chance: random.Random) -> str:
    """A text that somebody did not expect."""
    if chance.random() < 0.15:
        return "".join(
            chr(chance.choice((*range(128), 0x85, 0x2028, 0xFFFF, 0x1F600))) for _ in range(chance.randrange(20))
        )
    return chance.choice(TOKENS)


def spoilt_text(chance: random.Random, text: str) -> str:
    """A table with cells, lines and signs of it exchanged for others."""
    lines = text.split("\n")
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(lines))
        cells = lines[place].split(",")
        match chance.randrange(7):
            case 0:
                cells[chance.randrange(len(cells))] = token(chance)
            case 1:
                cells.insert(chance.randrange(len(cells) + 1), token(chance))
            case 2:
                del cells[chance.randrange(len(cells))]
            case 3:
                chance.shuffle(cells)
            case 4:
                lines.insert(place, lines[chance.randrange(len(lines))])
                continue
            case 5:
                chance.shuffle(lines)
                continue
            case _:
                lines[place] = chance.choice((";", "\t", "|", " ")).join(cells)
                continue
        lines[place] = ",".join(cells)
    return chance.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines)


def spoilt_bytes(chance: random.Random, content: bytes) -> bytes:
    """Bytes with some of them changed, cut off, doubled or exchanged for noise."""
    changed = bytearray(content)
    for _ in range(chance.randrange(4)):
        if not changed:
            break
        place = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                del changed[place:]
            case 2:
                changed[place:place] = chance.randbytes(chance.randrange(40))
            case 3:
                changed[place:place] = changed[: chance.randrange(len(changed))]
            case _:
                changed[place : place + 8] = struct.pack("<Q", chance.choice((0, 2**63, 2**64 - 1, 2**31)))
    return bytes(changed)


_TYPES: tuple[Callable[[random.Random, int], pa.Array], ...] = (
    lambda c, n: pa.array([[1.0]] * n),
    lambda c, n: pa.array([{"a": 1}] * n),
    lambda c, n: pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64())),
    lambda c, n: pa.array([None] * n),
    lambda c, n: pa.array([True] * n),
    lambda c, n: pa.array([b"\xff\0"] * n),
    lambda c, n: pa.array([c.randrange(-(2**63), 2**63) for _ in range(n)], pa.int64()),
    lambda c, n: pa.array([2**64 - 1] * n, pa.uint64()),
    lambda c, n: pa.array([1] * n, pa.int8()),
    lambda c, n: pa.array([1] * n, pa.duration("s")),
    lambda c, n: pa.array([1] * n, pa.time64("us")),
    lambda c, n: pa.array([2**62] * n, pa.timestamp("ns")),
    lambda c, n: pa.array([2**62] * n, pa.timestamp("s")),
    lambda c, n: pa.array([1_388_620_800 + 86_400 * k for k in range(n)], pa.timestamp("s", "Asia/Tokyo")),
    lambda c, n: pa.array([2**31 - 1] * n, pa.date32()),
    lambda c, n: pa.array([token(c).encode("utf-8", "replace").decode() for _ in range(n)]),
    lambda c, n: pa.array(["A"] * n).dictionary_encode(),
    lambda c, n: pa.array([float("nan")] * n),
    lambda c, n: pa.array([1.0] * n, pa.float32()),
    lambda c, n: pa.array([f"2014-01-{2 + k:02d}" for k in range(n)]),
    lambda c, n: pa.array([41.0] * n),
)


def typed_table(chance: random.Random, names: tuple[str, ...]) -> bytes:
    """A parquet or feather file whose columns have any type at all."""
    rows = chance.choice((0, 1, 5, 8))
    columns = [chance.choice(_TYPES)(chance, rows) for _ in names]
    titles = [token(chance).encode("utf-8", "replace").decode() if chance.random() < 0.1 else name for name in names]
    sink = io.BytesIO()
    table = pa.Table.from_arrays(columns, names=titles)
    if chance.random() < 0.8:
        try:
            pa_parquet.write_table(table, sink)
        except (pa.ArrowException, ValueError):  # a type that the format has not
            return b"PAR1"
    else:
        pa_feather.write_feather(table, sink)
    return sink.getvalue()


def container(chance: random.Random, content: bytes) -> bytes:
    """The bytes as they are or packed, whole or spoilt."""
    match chance.randrange(7):
        case 0:
            content = gzip.compress(content)
        case 1:
            content = bz2.compress(content)
        case 2:
            content = lzma.compress(content)
        case 3:
            content = zipped(chance.choice(("ACME.csv", "../../x.csv", "a/b.txt", "x.parquet")), content)
        case _:
            pass
    return spoilt_bytes(chance, content) if chance.random() < 0.7 else content


def zipped(name: str, content: bytes) -> bytes:
    """A zip of one file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def workbook(chance: random.Random, spoil: bool = True) -> bytes:
    """A workbook whose sheet, or whose parts, are not what they should be."""
    rows = [line.split(",") for line in (spoilt_text(chance, BARS) if spoil else BARS).split("\n")]
    far = chance.choice(("", "", "", '<c r="XFD1048576"><v>1</v></c>', '<c r="ZZZ9999999"><v>1</v></c>'))

    def cell(text: str) -> str:
        plain = printable(text[:200]).replace("&", "&amp;").replace("<", "&lt;")
        return f'<c t="inlineStr"><is><t>{plain}</t></is></c>'

    body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    stream = io.BytesIO()
    ours = "http://schemas.openxmlformats.org"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{ours}/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{ours}/package/2006/relationships"><Relationship Id="r1" '
        f'Type="{ours}/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{ours}/spreadsheetml/2006/main" '
        f'xmlns:r="{ours}/officeDocument/2006/relationships"><sheets><sheet name="ACME" sheetId="1" r:id="r1"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{ours}/package/2006/relationships"><Relationship Id="r1" '
        f'Type="{ours}/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{ours}/spreadsheetml/2006/main"><sheetData>{body}'
        f"<row>{far}</row></sheetData></worksheet>",
    }
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            if chance.random() < 0.95:
                archive.writestr(name, text)
    return spoilt_bytes(chance, stream.getvalue()) if chance.random() < 0.4 else stream.getvalue()


def gzip_bomb(path: Path, head: bytes, unpacked: int) -> None:
    """A file of `unpacked` bytes in a thousandth of them: `head`, then one line after the other."""
    line = b"2014-01-02,1,1,1,1,1\n" * 50_000
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(head)
        for _ in range(unpacked // len(line)):
            file.write(line)
