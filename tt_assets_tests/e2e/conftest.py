"""One machine with two quarters of an agent's life and its UI, shared by the modules that do not stop it.

What is on it: bars, features and scores of FIRST to LAST of the bundled sample, one agent traded in the window of LAST,
its report. A module that adds cells takes them outside that span, each elsewhere (see the modules).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tt_assets.settings import SAMPLE_BARS
from tt_assets_tests.e2e.command_line import Machine, Ui, free_port, machine, serve

FIRST, LAST = date(2011, 10, 3), date(2012, 12, 31)
WINDOW = date(2012, 10, 1)
"""The walk-forward window that was traded."""


@pytest.fixture(scope="package")
def filled() -> Iterator[Machine]:
    """A machine filled from the command line. Its automation is off: cells appear because a test asked for them."""
    with machine(TT_AUTOMATION="false", TT_TRAIN_STEPS="512", TT_SEEDS="1") as here:
        for command in (
            ("backfill", "market", "--from", str(FIRST), "--to", str(LAST)),
            ("train", "--from", str(WINDOW), "--to", str(LAST), "--instruments", "sample"),
            ("report", "--instruments", "sample"),
        ):
            told = here.tt(*command)
            assert told.returncode == 0, told.stderr
        yield here


@pytest.fixture(scope="package")
def ui(filled: Machine) -> Ui:
    """The UI of `filled`, with the daemon behind it."""
    return serve(filled, free_port())


def spoil(filled: Machine, folder: Path, day: str) -> tuple[str, ...]:
    """Have the partition `day|IBM` of tt_prices fail for a negative price; the options of the command that mends it."""
    broken = folder / "bars.csv"
    lines = SAMPLE_BARS.read_text().splitlines()
    place = next(number for number, text in enumerate(lines) if text.startswith(f"IBM,{day}"))
    instrument, session, _, *rest = lines[place].split(",")
    lines[place] = ",".join([instrument, session, "-1.0", *rest])
    broken.write_text("\n".join(lines))
    span = ("--from", day, "--to", day, "--instruments", "IBM")
    told = filled.tt("backfill", "tt_prices", *span, TT_BARS_PATH=str(broken), TT_END_DATE="2013-03-01")
    assert told.returncode == 1
    return span
