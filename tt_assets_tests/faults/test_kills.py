"""A process killed at a named point: what it had committed is told and followed, what it had not never was.

One platform goes through all kills of a test. The bars file changes with each, and so do the settings of those who
train; whoever mends it, a person or the sensors, every row of every table is afterwards that of a platform nobody
disturbed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import cycle, product

import pytest

from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES, TABLES
from tt_assets_tests import agreement
from tt_assets_tests.faults.content import content
from tt_assets_tests.faults.killing import AGENT_POINTS, MARKET_POINTS, by_hand, run_and_die
from tt_assets_tests.faults.small_platform import INSTRUMENT, WINDOW, WRITTEN_OVER, SmallPlatform

pytestmark = pytest.mark.slow

AGENTS = ("tt_policy", *EPISODE_TABLES)
MENDED = ("by sensors", "by hand")
EVERYTHING = os.environ.get("FAULTS") == "all"
"""Whether every kill is mended in both ways, as `make soak` has it; else in one after the other."""
SETTINGS = ({"TT_TRAIN_STEPS": "64"}, {"TT_TRAIN_STEPS": "128"})
"""What those who train set in turn; the sensors keep to the first."""


def kills(points: Iterable[str]) -> list[tuple[str, str]]:
    """Each point with the ways in which it is mended."""
    return list(product(points, MENDED) if EVERYTHING else zip(points, cycle(MENDED), strict=False))


@pytest.fixture
def filled(small_platform: SmallPlatform, monkeypatch: pytest.MonkeyPatch) -> SmallPlatform:
    monkeypatch.setenv("TT_TRAIN_STEPS", SETTINGS[0]["TT_TRAIN_STEPS"])
    small_platform.write(0)
    small_platform.sensors()
    agreement.check(small_platform.instance, small_platform.database)
    held = content(small_platform.database, *(TABLES if small_platform.trades else MARKET_TABLES))
    assert all(rows for rows, _ in held.values()), held
    return small_platform


def load_and_die(platform: SmallPlatform, kills: Iterable[tuple[str, str]]) -> None:
    """Kill the run that loads a changed bar, at every point, and hold what was mended against undisturbed runs."""
    days = WRITTEN_OVER, [INSTRUMENT]
    undisturbed = {0: content(platform.database)}
    platform.write(1)
    platform.sensors()
    platform.prune()
    undisturbed[1] = content(platform.database)
    changed = {table for table in TABLES if undisturbed[0][table] != undisturbed[1][table]}
    assert changed >= {*MARKET_TABLES, *(["tt_order", "tt_reward"] if platform.trades else [])}
    for version, (point, mended) in zip(cycle((0, 1)), kills, strict=False):
        platform.write(version)
        run_and_die(point, MARKET_TABLES, days, os.environ)
        if mended == "by hand":
            assert by_hand(MARKET_TABLES, days).ok
            platform.refresh()
        else:
            platform.sensors()
        platform.prune()
        assert content(platform.database) == undisturbed[version], (point, mended)
        agreement.check(platform.instance, platform.database)


@pytest.mark.parametrize("small_platform", [False], indirect=True, ids=["no agents"])
def test_loads_that_are_killed_anywhere_lose_nothing(filled: SmallPlatform) -> None:
    load_and_die(filled, kills(MARKET_POINTS))


def test_agents_follow_a_bar_whose_load_was_killed(filled: SmallPlatform) -> None:
    load_and_die(filled, kills(["after COMMIT"]))


def test_trainings_that_are_killed_anywhere_lose_nothing(
    filled: SmallPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = [WINDOW], [INSTRUMENT]

    def train(place: int) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("TT_TRAIN_STEPS", SETTINGS[place]["TT_TRAIN_STEPS"])
            assert by_hand(AGENTS, span).ok

    undisturbed = {("trained", 0): content(filled.database)}
    train(1)
    filled.sensors()
    undisturbed["trained", 1] = content(filled.database)
    assert by_hand(EPISODE_TABLES, span).ok  # under the settings of the sensors
    undisturbed["rolled", 1] = content(filled.database)
    undisturbed["rolled", 0] = undisturbed["trained", 0]
    assert undisturbed["trained", 0]["tt_policy"] != undisturbed["trained", 1]["tt_policy"]
    now, how = 1, "rolled"
    for point, mended in kills(AGENT_POINTS):
        wanted = 1 - now
        run_and_die(point, AGENTS, span, os.environ | SETTINGS[wanted])
        if mended == "by hand":
            train(wanted)
            now, how = wanted, "trained"
        elif point == "in training":
            how = "rolled"  # nothing came of it, and what failed is rolled again
        else:
            now, how = wanted, "trained" if "of episodes" in point else "rolled"
        filled.sensors()
        filled.prune()
        assert content(filled.database) == undisturbed[how, now], (point, mended)
        agreement.check(filled.instance, filled.database)
