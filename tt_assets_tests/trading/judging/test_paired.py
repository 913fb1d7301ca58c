"""Paired statistics, held against arch's own SPA, closed forms, and worlds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap

from tt_assets.trading.judging.paired import CannotCompare, block_length, compare, power_line


def _world(sessions: int, edge: float, correlation: float, seed: int, yardsticks: int = 1) -> tuple:
    """A subject with an `edge` a session over yardsticks that it is correlated with; 1 % a day each."""
    random = np.random.default_rng(seed)
    common, own = random.standard_normal((sessions, 1)), random.standard_normal((sessions, 1 + yardsticks))
    returns = 0.01 * (np.sqrt(correlation) * common + np.sqrt(1.0 - correlation) * own)
    returns[:, 0] += edge
    return returns[:, 0], returns[:, 1:]


def test_the_p_value_of_one_yardstick_is_that_of_arch() -> None:
    for seed, edge in enumerate((0.0, 0.0003, 0.0006)):
        subject, yardstick = _world(750, edge, 0.8, seed)
        ours = compare(subject, yardstick, draws=4_000)
        # Losses are what is smaller for the better one.
        spa = SPA(-np.log1p(yardstick[:, 0]), -np.log1p(subject), block_size=ours.block, reps=4_000, seed=seed)
        spa.compute()
        assert ours.p[0] == pytest.approx(spa.pvalues["upper"], abs=0.025)


def test_the_question_whether_any_yardstick_is_better_is_arch_s_spa() -> None:
    for seed in range(3):
        subject, yardsticks = _world(750, -0.0002, 0.8, seed, yardsticks=5)
        ours = compare(subject, yardsticks, draws=4_000)
        spa = SPA(-np.log1p(subject), -np.log1p(yardsticks), block_size=ours.block, reps=2_000, seed=seed)
        spa.compute()
        # All differences vary alike here, so dividing by their errors, as arch does not, changes little.
        assert ours.p_inferior == pytest.approx(spa.pvalues["consistent"], abs=0.05)


def test_the_error_of_the_edge_is_that_of_arch_s_bootstrap_where_returns_remember() -> None:
    random = np.random.default_rng(3)
    noise = random.standard_normal(1_500) * 0.01
    remembering = np.convolve(noise, 0.8 ** np.arange(30))[: len(noise)]
    ours = compare(remembering, np.zeros((len(noise), 1)), draws=4_000)
    assert ours.block > 5.0
    theirs = StationaryBootstrap(ours.block, np.log1p(remembering), seed=1).apply(np.mean, 4_000).std(ddof=1) * 252
    assert ours.error[0] == pytest.approx(theirs, rel=0.06)
    independent = np.log1p(remembering).std(ddof=1) / np.sqrt(len(noise)) * 252
    assert ours.error[0] > 1.5 * independent


def test_the_visible_edge_of_independent_returns_is_the_textbook_s() -> None:
    subject, yardstick = _world(2_000, 0.0, 0.9, 5)
    ours = compare(subject, yardstick, draws=4_000)
    sigma = (np.log1p(subject) - np.log1p(yardstick[:, 0])).std(ddof=1)
    assert ours.visible_edge[0] == pytest.approx((1.6449 + 0.8416) * sigma / np.sqrt(2_000) * 252, rel=0.06)
    assert "2000 sessions could only show an edge above" in power_line(ours, ["equal weight"])


def test_all_yardsticks_are_beaten_only_if_the_best_one_is() -> None:
    subject, yardsticks = _world(1_000, 0.002, 0.5, 1, yardsticks=3)
    assert compare(subject, yardsticks).p_all < 0.05
    with_an_equal = np.column_stack([yardsticks, subject])
    ours = compare(subject, with_an_equal)
    assert (ours.p_all, ours.edge[3], ours.error[3]) == (1.0, 0.0, 0.0)


def test_sessions_to_settle_reach_the_level() -> None:
    subject, yardstick = _world(800, 0.0004, 0.9, 2)
    ours = compare(subject, yardstick)
    needed = ours.sessions_to_settle()[0]
    z = ours.edge[0] / (ours.error[0] * np.sqrt(ours.sessions / needed))
    assert z == pytest.approx(1.6449, abs=0.01)
    behind = compare(yardstick[:, 0], subject[:, None])
    assert np.isinf(behind.sessions_to_settle()[0])


def test_independent_returns_have_blocks_of_a_few_sessions() -> None:
    assert block_length(np.random.default_rng(0).standard_normal(1_000)) < 5.0


@pytest.mark.parametrize(
    ("subject", "yardsticks", "said"),
    [
        (np.zeros(20), np.zeros((20, 1)), "20 sessions are too few"),
        (np.full(50, np.nan), np.zeros((50, 1)), "session 1 of 50 is not a number"),
        (np.full(50, -1.0), np.zeros((50, 1)), "lost everything"),
        (np.zeros(50), np.zeros((50, 0)), "no yardstick"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(subject, yardsticks, said) -> None:
    with pytest.raises(CannotCompare, match=said):
        compare(subject, yardsticks)


def test_constant_curves_are_no_evidence() -> None:
    ours = compare(np.zeros(100), np.zeros((100, 2)))
    assert (ours.p_all, ours.p_inferior) == (1.0, 1.0)
    assert "no difference" in power_line(ours, ["cash", "other"])
