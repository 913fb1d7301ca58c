import sys

import numpy as np
import pytest

from tt_assets.bench import simulator as bench


@pytest.fixture
def figures(monkeypatch):
    # Peers count as absent whether they are installed or not.
    for module in ("gym_anytrading.envs", "gym_trading_env.environments", "finrl"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(bench, "SHAPES", ((10, 1), (10, 64)))
    monkeypatch.setattr(bench, "TENSORTRADE_INSTRUMENTS", (1, 10))
    return list(bench.measure(0.05, train=False))


def test_rates_are_measured_and_compared_at_as_many_instruments(figures):
    rates = {(figure.what, figure.instruments, figure.accounts): figure for figure in figures}
    base = rates["tensortrade", 10, 1].per_second
    for accounts in (1, 64):
        figure = rates["simulator", 10, accounts]
        assert figure.times_tensortrade == pytest.approx(figure.per_second / base)
        assert figure.per_second > base


def test_a_peer_that_is_not_installed_is_reported_as_absent(figures):
    absent = {figure.what: figure for figure in figures if figure.per_second is None}
    assert set(absent) == {"gym-anytrading", "gym-trading-env", "finrl"}
    assert all(figure.note.startswith("absent: ") for figure in absent.values())


def test_the_benchmarks_bars_are_the_same_every_time_and_whole():
    one, other = bench.random_bars(3), bench.random_bars(3)
    np.testing.assert_array_equal(one.close, other.close)
    assert (one.low <= np.minimum(one.open, one.close)).all()
    assert (one.high >= np.maximum(one.open, one.close)).all()
    assert one.start == bench.LOOKBACK
