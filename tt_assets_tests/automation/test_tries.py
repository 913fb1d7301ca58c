"""When a cell that was tried in vain is due again, also after the clock was set."""

from __future__ import annotations

import numpy as np
import pytest

from tt_assets.automation.tries import Tries

HOUR, DAY = 3_600.0, 86_400.0
NOW = 1_330_000_000.0
FIRST_WAIT = 60.0


def due(count: int, ended: float) -> bool:
    """Whether a cell whose try number `count` ended at `ended` may be asked for again at `NOW`."""
    return bool(Tries(np.array([count]), np.array([ended])).due(NOW, FIRST_WAIT)[0])


@pytest.mark.parametrize(("count", "wait"), [(1, 60.0), (2, 240.0), (3, 960.0), (8, 983_040.0)])
def test_a_cell_waits_four_times_as_long_after_each_try(count: int, wait: float) -> None:
    assert not due(count, NOW - wait + 1)
    assert due(count, NOW - wait)


def test_a_cell_that_was_never_tried_is_due() -> None:
    assert due(0, 0.0)


def test_a_clock_set_back_by_a_day_keeps_nobody_waiting_for_that_day() -> None:
    assert due(1, NOW + DAY)
    assert due(8, NOW + DAY)


def test_a_server_whose_clock_is_a_little_ahead_is_waited_for_as_ever() -> None:
    assert not due(1, NOW + 30)
    assert not due(3, NOW + HOUR / 2)
