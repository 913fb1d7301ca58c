import dataclasses
import importlib.util
import sys

import numpy as np
import pytest

from tt_assets_tests.benchmarks import bars, peers
from tt_assets_tests.benchmarks import simulator as bench


@pytest.fixture(scope="module")
def figures():
    with pytest.MonkeyPatch.context() as patch:
        # Peers count as absent whether they are installed or not.
        for module in ("gym_anytrading.envs", "gym_trading_env.environments"):
            patch.setitem(sys.modules, module, None)
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        patch.setattr(bench, "TENSORTRADE", dataclasses.replace(peers.TENSORTRADE, instruments=(1, 10)))
        patch.setattr(bench, "SHAPES", ((1, 1), (10, 1), (10, 64)))
        return list(bench.measure(0.05, train=False))


def test_rates_are_measured_and_compared_at_as_many_instruments_and_accounts(figures):
    rates = {(figure.what, figure.instruments, figure.accounts): figure for figure in figures}
    base, theirs = rates["tensortrade", 10, 1], rates["tensortrade", 10, 64]
    assert theirs.simulator_times == pytest.approx(rates["simulator", 10, 64].per_second / theirs.per_second, rel=1e-3)
    assert theirs.simulator_times > 1.0
    assert theirs.met
    for accounts in (1, 64):
        ours = rates["simulator", 10, accounts]
        assert ours.times_tensortrade == pytest.approx(ours.per_second / base.per_second, rel=1e-3)
        assert ours.met == (ours.times_tensortrade >= bench.TIMES_TENSORTRADE[10, accounts])


def test_a_peer_that_is_not_installed_is_reported_as_absent_with_what_installs_it(figures):
    absent = {figure.what: figure.note for figure in figures if figure.per_second is None}
    assert set(absent) == {"gym-anytrading", "gym-trading-env", "finrl"}
    for name, note in absent.items():
        assert note.startswith("absent: ")
        assert "pip install" in note
        assert note.endswith(name)


def test_several_accounts_of_a_peer_are_as_many_environments():
    stepped = []

    def make(instruments):
        number = len(made)
        made.append(instruments)
        return lambda: stepped.append(number)

    made: list[int] = []
    step = peers.Peer("counted", make, (2,)).step(2, 3)
    step()
    step()
    assert made == [2, 2, 2]
    assert stepped == [0, 1, 2, 0, 1, 2]


def test_the_benchmarks_bars_are_the_same_every_time_and_whole():
    one, other = bars.random_bars(3), bars.random_bars(3)
    np.testing.assert_array_equal(one.close, other.close)
    assert (one.low <= np.minimum(one.open, one.close)).all()
    assert (one.high >= np.maximum(one.open, one.close)).all()
    assert one.start == bars.LOOKBACK
