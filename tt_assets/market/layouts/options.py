"""What a person may say about bars files where recognising them does not settle it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tt_assets.market.errors import BarsFileError

FIELDS = ("instrument", "timestamp", "open", "high", "low", "close", "volume", "adj_close")
"""What a column of a bars file can be named as in TT_BARS_COLUMNS: those of a bar, and the adjusted close."""

_TOKENS = (("YYYY", "%Y"), ("YY", "%y"), ("MMMM", "%B"), ("MMM", "%b"), ("MM", "%m"), ("DD", "%d"))


@dataclass(frozen=True)
class BarsOptions:
    """Overrides of what is recognised; all empty by default.

    Parameters
    ----------
    columns : pairs (field, header), e.g. ``("close", "Last")``; a field is one of `FIELDS`.
    date_format : a format of strptime, e.g. ``%d/%m/%Y``; empty where the dates themselves tell.
    adjust : header of the adjusted close by which all four prices are scaled; empty to leave such a column out.
    """

    columns: tuple[tuple[str, str], ...] = ()
    date_format: str = ""
    adjust: str = ""

    @classmethod
    def parse(cls, columns: str = "", date_format: str = "", adjust: str = "") -> BarsOptions:
        """From the texts of TT_BARS_COLUMNS, TT_BARS_DATE_FORMAT and TT_BARS_ADJUST.

        Raises BarsFileError for a pair without `=`, an unknown field, a field named twice, or a date format that names
        no day, month or year.
        """
        pairs: list[tuple[str, str]] = []
        for part in filter(None, (piece.strip() for piece in columns.split(","))):
            field, equals, header = (piece.strip() for piece in part.partition("="))
            if not equals or not header or field not in FIELDS:
                raise BarsFileError(
                    f'TT_BARS_COLUMNS: "{part}" is not FIELD=HEADER with a field of {", ".join(FIELDS)}. '
                    f"Write for example close=Last,volume=Qty."
                )
            if field in dict(pairs):
                raise BarsFileError(f"TT_BARS_COLUMNS names {field} twice. Name it once.")
            pairs.append((field, header))
        return cls(tuple(pairs), _strptime_format(date_format.strip()), adjust.strip())

    def key(self) -> list[object]:
        """What tells these options from others, as JSON can hold it."""
        return [[list(pair) for pair in self.columns], self.date_format, self.adjust]


def _strptime_format(text: str) -> str:
    """`text` as a format of strptime; DD/MM/YYYY is understood too."""
    said = text
    if "%" not in text:
        for token, code in _TOKENS:
            text = text.replace(token, code)
    day = re.search(r"%[dj]", text)
    if text and not (
        re.search(r"%[xD]|%F", text) or (day and re.search(r"%[mbB]|%j", text) and re.search(r"%[yY]", text))
    ):
        raise BarsFileError(
            f'TT_BARS_DATE_FORMAT: "{said}" names no day, month and year. Write for example %d/%m/%Y or %m/%d/%Y.'
        )
    return text
