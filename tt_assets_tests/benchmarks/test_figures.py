"""A figure is the median of its rounds with their spread, held against its aim on the right side."""

from __future__ import annotations

import pytest

from tt_assets_tests.benchmarks import BENCHMARKS, UnknownBenchmark, run
from tt_assets_tests.benchmarks.figures import Aim, held_against, spread
from tt_assets_tests.benchmarks.io import AIMS, ratios


def test_a_spread_is_the_median_with_the_extremes_and_the_number_of_rounds():
    assert spread([3.0, 1.0, 2.0004]) == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": 3}


@pytest.mark.parametrize(
    ("side", "values", "met"),
    [
        (Aim.AT_LEAST, [0.5, 0.6, 0.9], True),
        (Aim.AT_LEAST, [0.5, 0.5999, 0.9], False),  # rounds to the aim and yet misses it
        (Aim.AT_MOST, [0.5, 0.6, 0.9], True),
        (Aim.AT_MOST, [0.5, 0.6001, 0.9], False),
    ],
)
def test_an_aim_is_met_by_the_median_not_by_its_rounding(side, values, met):
    told = held_against(side, 0.6, values, digits=1)
    assert told["met"] is met
    assert told["aim"] == f"{side} 0.6"


def test_a_ratio_is_taken_inside_each_round_so_that_a_machine_that_slows_down_changes_nothing():
    steady = {name: [60.0, 60.0, 60.0] for pair in AIMS for name in pair[:2]}
    slowing = {name: [60.0, 30.0, 6.0] for name in steady}
    assert [told["median"] for told in ratios(slowing)] == [1.0] * len(AIMS)
    assert list(ratios(slowing)) == list(ratios(steady))


def test_an_unknown_benchmark_is_answered_with_those_there_are():
    with pytest.raises(UnknownBenchmark, match=f"'disk'; choose one of {', '.join(BENCHMARKS)}") as caught:
        next(run("disk"))
    assert "\n" not in str(caught.value)
