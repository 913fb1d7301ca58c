"""`tt status` on narrow terminals: columns go or get shorter, figures never."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tt_assets.commands.status import TableStatus, status_grid
from tt_assets.tables import TABLES

SMALL = [TableStatus(name, 8_256, "2005-03-01", "2013-03-01", 8_256, 1_819, 0, 0) for name in TABLES]
LARGE = [
    TableStatus(name, 1_234_567_890, "1962-01-02", "2026-11-25", 12_345_678, 9_876_543, 1_234_567, 7) for name in TABLES
]


def printed(statuses: list[TableStatus], width: int | None) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width or 10_000).print(status_grid(statuses, width))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(("statuses", "width"), [(SMALL, 80), (SMALL, 60), (LARGE, 100), (LARGE, 80)])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(statuses: list[TableStatus], width: int) -> None:
    lines = printed(statuses, width)
    assert max(map(len, lines)) <= width
    (line,) = [text for text in lines if "tt_observation" in text]
    status = statuses[0]
    for figure in (status.rows, status.materialized, status.missing, status.failed):
        assert f"{figure:,}" in line.split()
    assert not any("…" in text for text in lines)


def test_the_span_stays_while_there_is_room() -> None:
    assert "2005-03-01" in printed(SMALL, 80)[-2] + printed(SMALL, 80)[-1]
    assert "materialized" in "".join(printed(LARGE, None))
    assert "1962-01-02" in "".join(printed(LARGE, None))
