"""Tables, JSON and the two streams of the command line.

What was asked for goes to standard output, everything else (progress, failures) to standard error, and
nothing is cut or wrapped where the output is a file or a pipe. Everything goes through `printable`: names and reasons
may come out of other people's files.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Grid

from tt_assets.errors import one_line, printable

WIDER_THAN_ANY_LINE = 10_000
as_json = click.option("--json", "json_", is_flag=True, help="Print JSON instead of a table.")


class _PlainConsole(Console):
    """Prints texts without anything that the terminal would obey but what rich itself adds."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich, of printable texts."""
        super().print(*(printable(each) if isinstance(each, str) else each for each in objects), **options)


class _PlainRecord(logging.LogRecord):
    """A line of a log without anything that the terminal would obey."""

    def getMessage(self) -> str:  # noqa: N802 - the name it has in the library
        """The message, printable."""
        return printable(super().getMessage())


def keep_logs_printable() -> None:
    """Have every message that is logged from here on be printable, whoever logs it."""
    logging.setLogRecordFactory(_PlainRecord)


def out() -> Console:
    """Standard output as it is now."""
    return _PlainConsole(width=None if sys.stdout.isatty() else WIDER_THAN_ANY_LINE, soft_wrap=True)


def err() -> Console:
    """Standard error as it is now."""
    return _PlainConsole(width=None if sys.stderr.isatty() else WIDER_THAN_ANY_LINE, stderr=True, soft_wrap=True)


def say(line: str) -> None:
    """One plain line on standard output, at once."""
    print(printable(line), flush=True)  # noqa: T201


def complain(line: str) -> None:
    """One plain line on standard error, at once; nothing in it is wrapped or coloured."""
    print(f"tt: {one_line(' '.join(line.split()))}", file=sys.stderr, flush=True)  # noqa: T201


def warn(line: str) -> None:
    """One line on standard error of what a person should know and need not mend."""
    err().print(f"warning: {line}", style="yellow", highlight=False, markup=False)


def width() -> int | None:
    """Characters of a line of standard output, None where it is no terminal: nothing is cut or wrapped then."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def paragraph(text: str, most: int = 80) -> str:
    """`text` in lines of `most` characters, or of the terminal's where that is narrower."""
    return textwrap.fill(text, min(most, width() or most), break_long_words=False, break_on_hyphens=False)


def print_json(value: Any) -> None:
    """`value` as JSON on standard output."""
    print(json.dumps(value, indent=2, default=str))  # noqa: T201


def print_rows(rows: Sequence[dict[str, Any]], title: str, widest: int | None = None) -> None:
    """A table with the keys of the first row as its head; texts fold at `widest` characters, in a pipe, too."""
    grid = Grid(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        grid.add_column(column, overflow="fold", max_width=widest)
    for row in rows:
        grid.add_row(*map(_text, row.values()))
    out().print(grid, highlight=False)


def show(rows: Sequence[dict[str, Any]], json_: bool, title: str) -> None:
    """`rows` as JSON or as a table."""
    if json_:
        print_json(rows)
    else:
        print_rows(rows, title)


def print_one(row: dict[str, Any], title: str) -> None:
    """One thing: a line for each of its properties, so that a long one fits."""
    grid = Grid(title=title, title_justify="left", show_header=False)
    grid.add_column("property", no_wrap=True)
    grid.add_column("value", overflow="fold")
    for name, value in row.items():
        grid.add_row(name.replace("_", " "), _text(value))
    out().print(grid, highlight=False)


def _text(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(printable(", ".join(value) if isinstance(value, list) else "" if value is None else str(value)))
