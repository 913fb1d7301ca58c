"""Information coefficients of scores whose worth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from tt_assets.market.calendar import sessions
from tt_assets.research.information import information_coefficients

DAYS = sessions(pd.Timestamp("2012-01-03").date(), pd.Timestamp("2012-06-29").date())


def market(names, seed=0):
    moves = np.random.default_rng(seed).normal(0, 0.01, (len(DAYS), len(names)))
    close = pd.DataFrame(100 * np.exp(moves.cumsum(axis=0)), index=DAYS, columns=names)
    long = close.rename_axis("timestamp").reset_index().melt("timestamp", var_name="instrument", value_name="close")
    return close, long.assign(open=long["close"], high=long["close"], low=long["close"], volume=1.0)


def long_scores(wide, name="s"):
    rows = wide.rename_axis("timestamp").reset_index().melt("timestamp", var_name="instrument", value_name="score")
    return rows.dropna().assign(signal_name=name)


def test_a_score_that_knows_the_next_return_has_a_coefficient_of_one_at_that_horizon_alone():
    close, bars = market(["A", "B", "C", "D"])
    found = information_coefficients(long_scores(close.shift(-1) / close - 1), bars).set_index("horizon")
    assert found.loc[1, "coefficient"] == pytest.approx(1.0)
    assert found.loc[1, "sessions"] == len(DAYS) - 1
    assert found.loc[5, "coefficient"] < 0.8
    against = information_coefficients(long_scores(1 - close.shift(-1) / close), bars, [1])
    assert against["coefficient"].item() == pytest.approx(-1.0)


def test_the_coefficient_is_the_mean_of_scipy_s_rank_correlation_over_sessions():
    close, bars = market(["A", "B", "C", "D", "E"])
    wide = pd.DataFrame(np.random.default_rng(7).normal(size=close.shape), index=DAYS, columns=close.columns)
    wide.iloc[3:9, 2] = np.nan
    after = close.shift(-2) / close - 1
    each = np.array([spearmanr(wide.iloc[t], after.iloc[t], nan_policy="omit")[0] for t in range(len(DAYS) - 2)])
    found = information_coefficients(long_scores(wide), bars, [2])
    assert found["coefficient"].item() == pytest.approx(each.mean())
    assert found["standard_error"].item() == pytest.approx(each.std(ddof=1) / np.sqrt(len(each) / 2))


def test_one_instrument_is_correlated_over_time():
    close, bars = market(["A"])
    wide = pd.DataFrame(np.random.default_rng(7).normal(size=close.shape), index=DAYS, columns=["A"])
    after = close.shift(-5) / close - 1
    found = information_coefficients(long_scores(wide), bars, [5])
    assert found["coefficient"].item() == pytest.approx(spearmanr(wide["A"][:-5], after["A"][:-5])[0])
    assert found["sessions"].item() == 0


def test_what_has_no_return_after_it_has_no_coefficient():
    close, bars = market(["A", "B", "C"])
    last = long_scores(close.tail(1))
    assert information_coefficients(last, bars)["coefficient"].isna().all()
    assert information_coefficients(last.iloc[:0], bars).empty
