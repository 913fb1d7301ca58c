"""What agents learn at the defaults a user gets, in worlds with a known answer (the benchmark `agents` has more)."""

from __future__ import annotations

from statistics import mean

import pytest

from tt_assets_tests.benchmarks.agents import Case, Found, run_case

pytestmark = pytest.mark.slow


def growths(found: Found, learner: str) -> dict[int, float]:
    """Growth of a simple learner by world, % a year."""
    return {world: trained.outcome.growth for (world, name), trained in found.simple.items() if name == learner}


def test_a_planted_signal_is_found_in_five_instruments():
    found = run_case(Case("planted", 5, 0.05, worlds=(0, 1, 2), seeds=(0, 1)))
    assert found.share() >= 0.8
    ridge = growths(found, "ridge")
    assert all(trained.outcome.growth >= 0.5 * ridge[world] for (world, _), trained in found.agents.items())


def test_a_weak_signal_is_found_among_twenty_instruments():
    assert run_case(Case("planted", 20, 0.05, worlds=(0, 1), seeds=(0, 1))).share() >= 0.75


def test_a_strong_signal_among_twenty_instruments_is_used_better_than_ridge_uses_it():
    found = run_case(Case("planted", 20, 0.20, worlds=(0, 1), seeds=(0,)))
    assert found.growth() >= 1.15 * mean(growths(found, "ridge").values())


def test_a_strong_signal_in_one_instrument_is_found():
    assert run_case(Case("planted", 1, 0.20, worlds=(0, 1, 2), seeds=(0, 1))).share() >= 0.65


def test_a_weak_signal_is_found_among_fifty_instruments():
    found = run_case(Case("planted", 50, 0.05, worlds=(0,), seeds=(0,)))
    assert found.growth() >= 0.6 * growths(found, "ridge")[0]


def test_noise_is_not_traded_for_much():
    found = run_case(Case("noise", 5, worlds=(0, 1, 2), seeds=(0, 1)))
    less = []
    for (world, _), trained in found.agents.items():
        outcome = trained.outcome
        costs = 100.0 * 252.0 * 1e-3 * outcome.turnover
        less.append(outcome.growth - (found.equal[world].growth * outcome.gross - costs))
    assert mean(less) >= -4.0
    assert mean(trained.outcome.turnover for trained in found.agents.values()) <= 0.35


def test_regimes_that_show_are_left_and_entered():
    found = run_case(Case("regimes", 5, worlds=(0, 1), seeds=(0,), trained=1_000))
    outcomes = [trained.outcome for trained in found.agents.values()]
    assert mean(outcome.bad for outcome in outcomes) <= 0.35
    assert mean(outcome.good for outcome in outcomes) >= 0.7
