"""Every figure of a chain against empyrical-reloaded and quantstats, and on curves worked out by hand."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as quantstats

from tt_assets.trading.judging.accounts import Account, Chain
from tt_assets.trading.judging.cash import CashRate, WrongCashRate
from tt_assets.trading.judging.figures import (
    contributions,
    drawdown_table,
    figures_of,
    monthly_table,
    rolling_figures,
)


def _account(returns: np.ndarray, first: str = "2012-01-03", cash: float = 0.0) -> Account:
    sessions = pd.bdate_range(first, periods=len(returns) + 1).to_numpy()
    steps = len(returns)
    return Account(
        sessions=sessions,
        growth=np.concatenate([[1.0], np.cumprod(1.0 + returns)]),
        returns=returns,
        cash_returns=np.full(steps, cash),
        gross=np.ones(steps + 1),
        cash_share=np.zeros(steps + 1),
        traded=np.full(steps, 0.1),
        participation=np.zeros(steps),
        costs=np.full((steps, 4), 0.0001),
        contribution=returns[:, None],
        changes=np.full(steps, 0.05),
        instruments=("A",),
        stopped=False,
    )


def _chain(returns: np.ndarray, cash: float = 0.0) -> Chain:
    return Chain("agent", 0, (_account(returns, cash=cash),))


@pytest.fixture
def returns() -> np.ndarray:
    return np.random.default_rng(4).standard_t(5, 700) * 0.01 + 0.0004


@pytest.fixture
def market() -> np.ndarray:
    return np.random.default_rng(5).standard_normal(700) * 0.009 + 0.0003


def _series(values: np.ndarray) -> pd.Series:
    return pd.Series(values, index=pd.bdate_range("2012-01-04", periods=len(values)))


def test_figures_are_those_of_empyrical(returns, market) -> None:
    ours, ret, mkt = figures_of(_chain(returns), _chain(market)), _series(returns), _series(market)
    assert ours["total_return"] == pytest.approx(empyrical.cum_returns_final(ret))
    assert ours["annual_return"] == pytest.approx(empyrical.annual_return(ret))
    assert ours["volatility"] == pytest.approx(empyrical.annual_volatility(ret))
    assert ours["sharpe"] == pytest.approx(empyrical.sharpe_ratio(ret))
    assert ours["sortino"] == pytest.approx(empyrical.sortino_ratio(ret))
    assert ours["calmar"] == pytest.approx(empyrical.calmar_ratio(ret))
    assert ours["max_drawdown"] == pytest.approx(-empyrical.max_drawdown(ret))
    assert ours["beta"] == pytest.approx(empyrical.beta(ret, mkt))
    assert ours["information_ratio"] == pytest.approx(empyrical.excess_sharpe(ret, mkt) * math.sqrt(252))
    assert ours["tracking_error"] == pytest.approx(empyrical.annual_volatility(ret - mkt))


def test_figures_are_those_of_quantstats(returns, market) -> None:
    ours, ret = figures_of(_chain(returns), _chain(market)), _series(returns)
    assert ours["total_return"] == pytest.approx(quantstats.comp(ret))
    assert ours["volatility"] == pytest.approx(quantstats.volatility(ret, 252))
    assert ours["sharpe"] == pytest.approx(quantstats.sharpe(ret, periods=252))
    assert ours["sortino"] == pytest.approx(quantstats.sortino(ret, periods=252))
    assert ours["max_drawdown"] == pytest.approx(-quantstats.max_drawdown(ret))
    assert ours["hit_rate"] == pytest.approx(quantstats.win_rate(ret))
    assert ours["best_day"] == pytest.approx(quantstats.best(ret))
    assert ours["worst_day"] == pytest.approx(quantstats.worst(ret))


def test_ratios_are_over_what_cash_earned(returns) -> None:
    rate = 0.04 / 252
    ours = figures_of(_chain(returns, cash=rate))
    assert ours["sharpe"] == pytest.approx(empyrical.sharpe_ratio(_series(returns), risk_free=rate))
    assert ours["sortino"] == pytest.approx(empyrical.sortino_ratio(_series(returns), required_return=rate))


def test_months_are_those_of_empyrical(returns) -> None:
    table, theirs = monthly_table(_chain(returns)), empyrical.aggregate_returns(_series(returns), "monthly")
    for (year, month), value in theirs.items():
        assert table.loc[year, month] == pytest.approx(value)
    yearly = empyrical.aggregate_returns(_series(returns), "yearly")
    np.testing.assert_allclose(table["year"], yearly)


def test_the_drawdowns_are_those_of_quantstats(returns) -> None:
    ours = drawdown_table(_chain(returns), most=3)
    theirs = quantstats.drawdown_details(quantstats.to_drawdown_series(_series(returns)))
    deepest = theirs.sort_values("max drawdown").head(3)
    np.testing.assert_allclose(ours["depth"] * 100, -deepest["max drawdown"], rtol=1e-9)
    assert [f"{day:%Y-%m-%d}" for day in ours["trough"]] == [str(day)[:10] for day in deepest["valley"]]


def test_a_drawdown_has_its_peak_trough_and_recovery() -> None:
    table = drawdown_table(_chain(np.array([0.1, -0.2, -0.1, 0.2, 0.3, -0.05])))
    first, last = table.to_dict("records")
    days = pd.bdate_range("2012-01-03", periods=7)
    assert (first["peak"], first["trough"], first["recovered"]) == (days[1], days[3], days[5])
    assert first["depth"] == pytest.approx(0.28)
    assert (first["fall_sessions"], first["recovery_sessions"]) == (2, 2)
    assert pd.isna(last["recovered"])
    assert math.isnan(last["recovery_sessions"])


def test_rolling_figures_are_those_of_a_window_alone(returns) -> None:
    rolled = rolling_figures(_chain(returns), 126)
    assert len(rolled) == 700 - 125
    last = _series(returns[-126:])
    assert rolled["sharpe"].iloc[-1] == pytest.approx(empyrical.sharpe_ratio(last))
    assert rolled["volatility"].iloc[-1] == pytest.approx(empyrical.annual_volatility(last))
    assert rolling_figures(_chain(returns[:50])).empty


def test_windows_chain_by_return_and_the_gap_between_them_earns_nothing(returns) -> None:
    two = Chain("agent", 0, (_account(returns[:100]), _account(returns[100:250], "2013-01-02")))
    assert len(two.timestamps) == len(two.wealth) == 252
    np.testing.assert_allclose(two.wealth[1:] / two.wealth[:-1] - 1.0, two.returns, atol=1e-12)
    assert two.returns[100] == 0.0
    assert contributions(two)["contribution"].sum() == pytest.approx(returns[:250].sum())


def test_what_is_not_defined_is_no_zero() -> None:
    flat = figures_of(_chain(np.zeros(50)), _chain(np.zeros(50)))
    for name in (
        "sharpe",
        "sharpe_low",
        "sortino",
        "calmar",
        "beta",
        "information_ratio",
        "tracking_error",
        "hit_rate",
    ):
        assert math.isnan(flat[name]), name
    one = figures_of(_chain(np.array([0.1])))
    assert math.isnan(one["volatility"])
    assert math.isnan(one["sharpe"])
    assert drawdown_table(_chain(np.full(5, 0.1))).empty


def test_cash_earns_a_number_or_what_its_file_said_the_day_before(tmp_path) -> None:
    sessions = pd.bdate_range("2012-01-02", periods=4).to_numpy()
    assert not CashRate().per_session(sessions).any()
    np.testing.assert_allclose((1 + CashRate.parse("0.05").per_session(sessions)) ** 252, 1.05)
    file = tmp_path / "rates.csv"
    file.write_text("date,rate\n2012-01-03,0.02\n2012-01-04,.\n2012-01-05,0.04\n")
    rates = CashRate.parse(str(file))
    # Of the closes 2, 3 and 4 January: the first rate there is, that of the 3rd, and the 3rd's again.
    np.testing.assert_allclose((1 + rates.per_session(sessions)) ** 252 - 1, [0.02, 0.02, 0.02])
    later = pd.bdate_range("2012-01-05", periods=2).to_numpy()
    np.testing.assert_allclose((1 + rates.per_session(later)) ** 252 - 1, [0.04])


@pytest.mark.parametrize(
    ("text", "said"),
    [("3", "3 is no fraction a year"), ("nan", "no fraction"), ("nowhere.csv", "no number and cannot")],
)
def test_a_rate_that_is_none_is_said(text, said) -> None:
    with pytest.raises(WrongCashRate, match=said):
        CashRate.parse(text)


def test_a_line_that_is_no_rate_is_named(tmp_path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text("date,rate\n2012-01-03,much\n")
    with pytest.raises(WrongCashRate, match=r"rates.csv, line 2: 2012-01-03,much"):
        CashRate.parse(str(file))
