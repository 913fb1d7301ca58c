"""Files, folders and globs of bars, opened by what their first bytes say they are.

Nothing is unpacked to disk and nothing is executed: a pickle is refused, a device is never read.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from tt_assets.market.errors import BarsFileError

READ = "CSV or other delimited text (also as .gz, .zip, .bz2, .xz or .zst), parquet, feather or xlsx"
SUFFIXES = frozenset(
    {".csv", ".txt", ".tsv", ".psv", ".dat", ".gz", ".zip", ".bz2", ".xz", ".zst", ".parquet", ".pq", ".feather"}
    | {".arrow", ".xlsx"}
)
"""Endings of the files of a folder that are taken for bars; a file named by itself may end as it likes."""
MOST_FILES = 20_000
MOST_UNPACKED = 4 << 30
"""Bytes a member of an archive may have where it has to be held in memory (xlsx, parquet inside a zip)."""
MOST_XLSX = 256 << 20
MOST_CELLS = 40_000_000
"""Of a sheet: rows × columns of the rectangle around its cells, all of which its reader makes."""
HARMLESS = 256 << 20
MOST_TIMES = 250
"""A file that unpacks to more than HARMLESS bytes and to more than MOST_TIMES its size is no table but a trap."""
HEAD = 256 << 10
STREAM_ERRORS = (
    *(OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError),
    pa.ArrowException,
)
"""What opening, unpacking or decoding a broken file raises."""


class Kind(StrEnum):
    """What a member is read as."""

    TEXT = "text"
    PARQUET = "parquet"
    FEATHER = "feather"
    XLSX = "xlsx"


_REFUSED = (
    (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    (b"\xd0\xcf\x11\xe0",),
    (b"\x89HDF",),
    (b"SQLite format 3",),
    (b"%PDF",),
    (b"7z\xbc\xaf\x27\x1c",),
    (b"Rar!",),
)
_REFUSED_AS = (
    "a pickle, which is never opened because it can run code",
    "an old Excel workbook (.xls)",
    "an HDF5 file",
    "an SQLite database",
    "a PDF",
    "a 7-Zip archive",
    "a RAR archive",
)


@dataclass(frozen=True)
class Stamp:
    """One file as it stood: full path, bytes, modification time in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Member:
    """One table: a file, or one file inside an archive.

    `name` is how people are told of it, `stem` its name without endings, `open` a fresh stream of its bytes,
    decompressed, `head` the first of them; `whole` says that a checksum or a footer proves that nothing is cut off.
    """

    name: str
    stem: str
    kind: Kind
    open: Callable[[], IO[bytes]]
    head: bytes
    whole: bool
    path: Path


def stamps(path: Path) -> list[Stamp]:
    """The files that `path` (file, folder or glob) stands for, ascending by name.

    Raises BarsFileError where there is none, or one is no regular file or cannot be looked at.
    """
    found = []
    try:
        files = _files(path)
    except OSError as error:  # a name too long, a folder that lets nobody in
        raise BarsFileError(
            f"{path} cannot be read ({error.strerror}). Point TT_BARS_PATH at a file, a folder or a glob of bars."
        ) from None
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise BarsFileError(f"{file} cannot be read ({error.strerror}). Make it readable.") from None
        if not stat.S_ISREG(status.st_mode):
            raise BarsFileError(f"{file} is no regular file (a device or a pipe). Point TT_BARS_PATH at a file.")
        found.append(Stamp(str(file), status.st_size, status.st_mtime_ns))
    return found


def members(file: Path) -> list[Member]:
    """The tables in one file: one, or one for each file of a zip.

    Raises BarsFileError for a kind that is not read, naming it by its first bytes, and for a broken archive.
    """
    head = _head(lambda: file.open("rb"), str(file))
    if head.startswith(b"PK\x03\x04"):
        return _of_zip(file)
    return [_member(str(file), file.name, lambda: file.open("rb"), head, file)]


_BROKEN = r"ended before|CRC|truncat|magic bytes|corrupt|not an arrow file|not a zip file|unexpected end|invalid data"
"""What libraries say of a file of which a part is missing or changed."""


def unreadable(name: object, error: object, remedy: str = "") -> BarsFileError:
    """The error for a file that cannot be read for a reason that another library gives."""
    text = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
    if not remedy and re.search(_BROKEN, text, re.IGNORECASE):
        remedy = "Its copy or download broke: fetch it again."
    return BarsFileError(f"{name} cannot be read ({text}). {remedy or f'Save it as {READ}.'}")


def _files(path: Path) -> list[Path]:
    text = str(path)
    if path.is_dir():
        # Folders of folders are the rule for dumps (daily/us/nasdaq stocks/1/aapl.us.txt).
        found = sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES and not _hidden(f, path))
        found = [f for f in found if not f.is_dir()]
        if not found:
            raise BarsFileError(f"{path} is a folder without a file of bars. Put {READ} into it.")
    elif path.exists():
        return [path]
    elif glob.has_magic(text):
        found = sorted(f for f in map(Path, glob.glob(text, recursive=True)) if not f.is_dir())  # noqa: PTH207
        if not found:
            raise BarsFileError(f"{path}: no file matches. Point TT_BARS_PATH at a file, a folder or a glob of bars.")
    else:
        raise BarsFileError(
            f"{path}: there is no bars file (No such file or directory). Point TT_BARS_PATH at a file, a folder or a "
            f"glob of bars."
        )
    if len(found) > MOST_FILES:
        raise BarsFileError(f"{path} has {len(found)} files; {MOST_FILES} are read at most. Join them to fewer files.")
    return found


def _hidden(file: Path, top: Path) -> bool:
    return any(part.startswith((".", "__")) for part in file.relative_to(top).parts)


def _head(opened: Callable[[], IO[bytes]], name: str) -> bytes:
    try:
        with opened() as stream:
            return stream.read(HEAD)
    except STREAM_ERRORS as error:
        raise unreadable(name, getattr(error, "strerror", None) or error) from None


def _member(name: str, inner: str, opened: Callable[[], IO[bytes]], head: bytes, file: Path) -> Member:
    """The member whose first bytes are `head`; of a compressed one the decompressed bytes count."""
    whole = False
    for start, ending, decompress in _COMPRESSED:
        if head.startswith(start):
            opened = _bounded(_through(decompress, opened), file.stat().st_size)
            head, whole = _head(opened, name), True
            inner = inner[: -len(ending)] if inner.lower().endswith(ending) else inner
            break
    return Member(name, _stem(inner), _kind(head, name), opened, head, whole, file)


def _through(decompress: Callable[[Any], Any], opened: Callable[[], IO[bytes]]) -> Callable[[], IO[bytes]]:
    return lambda: decompress(opened())


class _Bounded(io.RawIOBase):
    """An unpacked stream that ends with an error where it grows beyond what `packed` bytes can honestly hold."""

    def __init__(self, stream: Any, packed: int) -> None:
        super().__init__()
        self._stream, self._most, self._read = stream, max(HARMLESS, MOST_TIMES * packed), 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises ValueError beyond the bound, and what the stream raises."""
        content = self._stream.read(len(buffer))
        self._read += len(content)
        if self._read > self._most:
            raise ValueError(f"it unpacks to more than {MOST_TIMES} times its size, as no table does")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Closes what it reads."""
        if not self.closed:
            self._stream.close()
        super().close()


def _bounded(opened: Callable[[], Any], packed: int) -> Callable[[], IO[bytes]]:
    return lambda: io.BufferedReader(_Bounded(opened(), packed), 1 << 20)


def _zstd(stream: IO[bytes]) -> IO[bytes]:
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")  # type: ignore[no-any-return]


_COMPRESSED: tuple[tuple[bytes, str, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", ".gz", gzip.open),
    (b"BZh", ".bz2", bz2.open),
    (b"\xfd7zXZ\x00", ".xz", lzma.open),
    (b"\x28\xb5\x2f\xfd", ".zst", _zstd),
)


PROVEN = (b"PK\x03\x04", b"PAR1", b"ARROW1", b"FEA1", *(start for start, _, _ in _COMPRESSED))
"""First bytes of the files whose end is proven by a checksum or a footer."""


def _kind(head: bytes, name: str) -> Kind:
    if head.startswith(b"PAR1"):
        return Kind.PARQUET
    if head.startswith((b"ARROW1", b"FEA1")):
        return Kind.FEATHER
    for starts, what in zip(_REFUSED, _REFUSED_AS, strict=True):
        if head.startswith(starts):
            raise BarsFileError(f"{name} is {what}. Save it as {READ}.")
    if head[257:262] == b"ustar":
        raise BarsFileError(f"{name} is a tar archive. Unpack it and point TT_BARS_PATH at the folder.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"{", b"[")):
        raise BarsFileError(f"{name} is JSON. Save it as {READ}.")
    if text[:1] == b"<" and re.match(rb"<(!doctype|html|\?xml)", text, re.IGNORECASE):
        raise BarsFileError(f"{name} is a web page or XML, perhaps the error of a download. Save it as {READ}.")
    if not head:
        raise BarsFileError(f"{name} is empty. Give it a header line and bars.")
    return Kind.TEXT


def _of_zip(file: Path) -> list[Member]:
    """The members of a zip; a workbook is one member."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            names = {entry.filename for entry in entries}
            locked = any(entry.flag_bits & 1 for entry in entries)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise unreadable(file, error) from None
    if "[Content_Types].xml" in names:
        if max(file.stat().st_size, sum(entry.file_size for entry in entries) >> 3) > MOST_XLSX:
            raise BarsFileError(f"{file} is a workbook of more than {MOST_XLSX >> 20} MB. Save it as CSV or parquet.")
        _refuse_wide(file)
        return [Member(str(file), _stem(file.name), Kind.XLSX, lambda: file.open("rb"), b"", True, file)]
    if locked:
        raise BarsFileError(f"{file} is locked by a password. Unpack it and point TT_BARS_PATH at the folder.")
    kept = [
        entry
        for entry in entries
        if not entry.filename.startswith("__MACOSX/") and not Path(entry.filename).name.startswith(".")
    ]
    tables = [entry for entry in kept if Path(entry.filename).suffix.lower() in SUFFIXES] or kept[:1]
    if not tables:
        raise BarsFileError(f"{file} is a zip without a file. Put {READ} into it.")
    found = []
    for entry in tables:
        opened = _bounded(_entry(file, entry.filename), entry.compress_size)
        name = f"{file}:{entry.filename}"
        head = _head(opened, name)
        if head.startswith(b"PK\x03\x04"):
            raise BarsFileError(f"{name} is an archive or a workbook inside a zip. Unpack {file.name} first.")
        inner = Path(entry.filename).name
        member = _member(name, inner, opened, head, file)
        if member.kind is not Kind.TEXT and entry.file_size > MOST_UNPACKED:
            raise BarsFileError(f"{name} is larger than {MOST_UNPACKED >> 30} GB unpacked. Unpack {file.name} first.")
        found.append(Member(name, member.stem, member.kind, member.open, member.head, True, file))
    return found


_CELL = re.compile(rb'<c [^>]*?r="([A-Z]{1,3})([0-9]{1,7})"')


def _refuse_wide(file: Path) -> None:
    """Raise BarsFileError for a workbook with a cell so far out that all those before it would not fit into memory."""
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not re.fullmatch(r"xl/worksheets/[^/]+\.xml", entry.filename):
                    continue
                with archive.open(entry) as sheet:
                    rows, columns = _extent(sheet)
                if rows * columns > MOST_CELLS:
                    raise BarsFileError(
                        f"{file}: a sheet reaches over {rows:,} rows and {columns:,} columns. Save the bars as CSV."
                    )
    except STREAM_ERRORS as error:
        raise unreadable(file, error) from None


def _extent(sheet: IO[bytes]) -> tuple[int, int]:
    """Rows and columns of the rectangle around the cells of a sheet that say where they are."""
    rows = columns = 0
    rest = b""
    while chunk := sheet.read(1 << 20):
        text = rest + chunk
        for letters, number in _CELL.findall(text):
            rows = max(rows, int(number))
            place = 0
            for letter in letters:
                place = place * 26 + letter - 64
            columns = max(columns, place)
        rest = text[text.rfind(b"<") :][-200:]
    return rows, columns


def _entry(file: Path, inner: str) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        return zipfile.ZipFile(file).open(inner)

    return opened


def _stem(name: str) -> str:
    """A file's name without the endings that only say how it is kept."""
    base = name
    while Path(base).suffix.lower() in SUFFIXES:
        base = base[: -len(Path(base).suffix)]
    return base


def stem_of(path: Path) -> str:
    """A file's name without the endings that only say how it is kept."""
    return _stem(path.name)


def in_memory(member: Member) -> io.BytesIO:
    """The bytes of a member that its reader has to seek in."""
    with member.open() as stream:
        return io.BytesIO(stream.read(MOST_UNPACKED))
