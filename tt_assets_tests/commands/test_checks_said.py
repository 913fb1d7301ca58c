"""What the command line says of the checks of its runs."""

from __future__ import annotations

import io

from rich.console import Console

from tt_assets.commands.backfill import show_checks
from tt_assets.runs.bulk import CheckSaid, Outcome, Standing


def said(*checks: CheckSaid, held: set[tuple[str, str]] = frozenset()) -> list[str]:  # type: ignore[assignment]
    stream = io.StringIO()
    show_checks(Outcome(checks=list(checks), held=set(held)), Console(file=stream, width=10_000))
    return stream.getvalue().splitlines()


def test_one_line_a_kind_with_the_remedy() -> None:
    jump = CheckSaid("tt_prices", "no_jumps", Standing.WARNING, "1 of 9 fail", "adjust the bars")
    gap = CheckSaid("tt_prices", "sessions_complete", Standing.FAILED, "2 of 9 partitions fail", "load them")
    assert said(jump, gap, jump, jump) == [
        "warning: check no_jumps of tt_prices: 1 of 9 fail (and so in 2 further runs). Remedy: adjust the bars.",
        "failed: check sessions_complete of tt_prices: 2 of 9 partitions fail. Remedy: load them.",
    ]


def test_checks_that_no_run_reached_are_named_with_why() -> None:
    missed = [
        CheckSaid(table, check, Standing.NOT_RUN, "tt_prices failed")
        for table, check in (("tt_prices", "bars_are_sound"), ("tt_prices", "no_jumps"), ("tt_features", "finite"))
    ]
    assert said(*missed, *missed, held={("tt_features", "finite")}) == [
        "not run: tt_prices failed: checks bars_are_sound, no_jumps of tt_prices"
    ]
    assert said() == []
