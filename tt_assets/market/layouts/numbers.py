"""Cells of prices and volumes: currency signs, thousands, decimal commas and `21.50M`, each to the nearest double."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNREADABLE = np.inf
"""Stands for a cell with something in it that is no number; NaN stands for an empty one."""

_EMPTY = pa.array(["", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "—", "n.a.", "n/d"])
_SIGNS = r"[\s\x{00a0}\x{202f}\x{2009}'’\"$€£¥₹]|USD|EUR|GBP|CHF|US"
_POINT = r"^[-+]?(\d{1,3}(,\d{2,3})*,\d{3}|\d+)?(\.\d*)?([eE][-+]?\d{1,3})?[KkMmBbTt]?$"
_COMMA = r"^[-+]?(\d{1,3}(\.\d{3})+|\d+)?(,\d*)?([eE][-+]?\d{1,3})?[KkMmBbTt]?$"
_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def decimal_sign(prices: Iterable[str], volumes: Iterable[str], separator: str, *, continental: bool = False) -> str:
    """The decimal sign, `.` or `,`, that the cells of a file use; volumes only tell how thousands are written.

    Where both signs stand in a cell the later one is it. Commas alone are decimal unless every one of them ends a
    group of three in a file that is separated by commas and whose headers are not `continental`, in a language that
    writes a decimal comma. A cell with two points has points between its thousands.
    """
    cells = [re.sub(r"[^\d.,]", "", text) for text in prices]
    both = [text for text in cells if "." in text and "," in text]
    if both:
        return "," if both[0].rindex(",") > both[0].rindex(".") else "."
    commas = [text for text in cells if "," in text]
    if commas:
        grouped = all(re.fullmatch(r"[1-9]\d{0,2}(,\d{2,3})*,\d{3}", text) for text in commas)
        several = any(text.count(",") > 1 for text in commas)
        return "." if grouped and separator == "," and (several or not continental) else ","
    points = any(text.count(".") > 1 for text in [*cells, *(re.sub(r"[^\d.,]", "", text) for text in volumes)])
    return "," if points else "."


def read_numbers(column: pa.ChunkedArray, decimal: str) -> npt.NDArray[np.float64]:
    """Doubles (rows,): NaN for an empty cell, `UNREADABLE` for one that is no number.

    Texts go through Arrow's parser, which is correctly rounded; numbers that are kept as such are taken as they are.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return np.full(len(column), UNREADABLE)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(kind):
        # Arrow's own cast is off by a rounding for 40.16; the digits as text are not.
        return _of_texts(pc.cast(column, pa.string()), ".")
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return _doubles(pc.cast(column, pa.float64(), safe=False))
    return _of_texts(pc.cast(column, pa.string()), decimal)


def _doubles(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    # An infinite price is no number either; NaN is an empty cell.
    values: npt.NDArray[np.float64] = column.to_numpy().astype(np.float64, copy=False)
    return values


def _of_texts(column: pa.ChunkedArray, decimal: str) -> npt.NDArray[np.float64]:
    text = pc.utf8_trim_whitespace(column)
    empty = pc.or_kleene(pc.is_null(text), pc.is_in(pc.utf8_lower(text), value_set=_EMPTY))
    text = pc.replace_substring_regex(text, _SIGNS, "")
    number = pc.and_(
        pc.match_substring_regex(text, _COMMA if decimal == "," else _POINT), pc.match_substring_regex(text, r"\d")
    )
    text = pc.replace_substring(text, "." if decimal == "," else ",", "")
    if decimal == ",":
        text = pc.replace_substring(text, ",", ".")
    suffix = pc.utf8_lower(pc.utf8_slice_codeunits(text, -1))
    text = pc.utf8_rtrim(text, "KkMmBbTt")
    values = _doubles(pc.cast(pc.if_else(number, text, None), pa.float64())).copy()
    for sign, scale in _SCALES.items():
        scaled = pc.fill_null(pc.equal(suffix, sign), False).to_numpy(zero_copy_only=False).astype(bool)
        values[scaled] = np.round(values[scaled] * scale, 3)  # 16.0472M are 16047200, not a rounding more
    values[~pc.fill_null(number, False).to_numpy(zero_copy_only=False).astype(bool)] = UNREADABLE
    values[pc.fill_null(empty, True).to_numpy(zero_copy_only=False).astype(bool)] = np.nan
    return values
