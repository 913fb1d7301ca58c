"""Each rule of the gate holds and fails where it should, and a refusal says by how much."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.judging.accounts import Account, Chain
from tt_assets.trading.judging.figures import figures_of
from tt_assets.trading.judging.gate import YARDSTICKS, Evidence, common_sessions, most_in_common, refusal, rules
from tt_assets.trading.judging.gate_config import GateConfig
from tt_assets.trading.judging.judge import Judgement, Scenario, bands_of, curve_of

WINDOWS, SESSIONS = 10, 62
CONFIG = GateConfig()
DAYS = pd.bdate_range("2005-01-03", periods=WINDOWS * (SESSIONS + 1)).to_numpy()


def _chain(name, seed, returns, participation=0.0):
    accounts = []
    for number in range(len(returns) // SESSIONS):
        own = returns[number * SESSIONS : (number + 1) * SESSIONS]
        zeros = np.zeros(len(own))
        accounts.append(
            Account(
                sessions=DAYS[number * (SESSIONS + 1) : (number + 1) * (SESSIONS + 1)],
                growth=np.concatenate([[1.0], np.cumprod(1.0 + own)]),
                returns=own,
                cash_returns=zeros,
                gross=np.ones(len(own) + 1),
                cash_share=np.zeros(len(own) + 1),
                traded=zeros,
                participation=np.full(len(own), participation),
                costs=np.zeros((len(own), 4)),
                contribution=own[:, None],
                changes=zeros,
                instruments=("A",),
                stopped=False,
            )
        )
    return Chain(name, seed, tuple(accounts))


def _judgement(edge=0.002, windows=WINDOWS, participation=0.0, worst_seed=0.001, late_edge=None):
    random = np.random.default_rng(2)
    market = random.standard_normal(windows * SESSIONS) * 0.008
    market -= market.mean()
    own = 0.002 * random.standard_normal(windows * SESSIONS)
    curves, rows, chains = [], [], {}
    for scenario in (Scenario(), Scenario(2.0), Scenario(delay=1)):
        ahead = late_edge if late_edge is not None and scenario.delay else edge
        returns = {("ensemble", 0): market + own + ahead}
        returns |= {("agent", 0): market + own + ahead, ("agent", 1): np.full(len(market), worst_seed)}
        returns |= {(name, 0): market * (name != "cash") for name in YARDSTICKS}
        for (name, seed), series in returns.items():
            chain = _chain(name, seed, series, participation if name == "ensemble" else 0.0)
            key = {"strategy": name, "seed": seed, **dataclasses.asdict(scenario)}
            rows.append(key | figures_of(chain))
            curves.append(curve_of(chain).assign(**dataclasses.asdict(scenario)))
            if scenario == Scenario():
                chains[name, seed] = chain
    every = pd.concat(curves, ignore_index=True)
    return Judgement(every, bands_of(every), pd.DataFrame(rows), chains)


def _evidence(judgement=None, **changes):
    plain = Evidence(judgement or _judgement(), 1, np.empty((0, 0)), [], [], 10_000.0, 10_000.0)
    return dataclasses.replace(plain, **changes)


def _found(evidence, config=CONFIG):
    return {result.name: result for result in rules(evidence, config)}


def test_skill_in_every_window_is_promoted():
    results = rules(_evidence(), CONFIG)
    assert refusal(results) == ""
    assert all(result.held and result.sessions_more == 0 for result in results), results


def test_no_edge_is_refused_with_figures_and_without_hope():
    found = _found(_evidence(_judgement(edge=-0.0002)))
    spa = found["beats every yardstick"]
    assert not spa.held
    assert spa.sessions_more is None
    assert "no number of sessions settles a lead that is not there" in spa.words
    assert not found["ahead at twice the costs"].held
    assert re.match(r"Behind \w[\w ]* by \d+\.\d points", found["ahead at a session late"].words)


def test_a_small_edge_says_how_many_sessions_would_settle_it():
    found = _found(_evidence(_judgement(edge=0.0003)))["beats every yardstick"]
    assert not found.held
    assert found.sessions_more > 0
    assert f"{found.sessions_more:,} sessions more would settle it" in found.words
    assert "could only show an edge above" in found.words


def test_too_few_sessions_and_windows_left_out_are_said():
    short = _found(_evidence(_judgement(windows=4)))["sessions"]
    assert not short.held
    assert short.sessions_more == 504 - 4 * (SESSIONS + 1)
    assert f"504 are asked: {short.sessions_more} more" in short.words
    gap = _found(_evidence(left_out=["2012-04-01 to 2012-07-01"]))["sessions"]
    assert "indows were left out: 2012-04-01 to 2012-07-01" in gap.words


def test_one_seed_is_said():
    judgement = _judgement()
    chains = {key: chain for key, chain in judgement.chains.items() if key != ("ensemble", 0)}
    frames = {name: getattr(judgement, name).query("strategy != 'ensemble'") for name in ("curves", "bands", "table")}
    found = _found(_evidence(dataclasses.replace(judgement, chains=chains, **frames)))
    assert "here is one seed only" in found["sessions"].words


def test_many_tries_deflate_and_are_cross_validated():
    found = _found(_evidence(_judgement(edge=0.0004), trials=5_000))["deflated Sharpe ratio"]
    assert not found.held
    assert "5,000 configurations counted" in found.words
    noise = np.random.default_rng(0).standard_normal((620, 20)) * 0.01
    overfitted = _found(_evidence(trials=20, returns=noise))["overfitting"]
    assert not overfitted.held
    assert "where 20 % is the most" in overfitted.words
    assert _found(_evidence(trials=9))["overfitting"].figure == "not asked"
    few = _found(_evidence(trials=20, returns=noise[:, :5]))["overfitting"]
    assert "could not be asked; 5 trials" in few.words


def test_a_lead_that_a_delay_or_one_window_made_is_refused():
    assert not _found(_evidence(_judgement(late_edge=-0.001)))["ahead at a session late"].held
    lucky = _judgement(edge=0.0)
    chain = lucky.chains["ensemble", 0]
    yardstick = lucky.chains["equal_weight_hold", 0]
    # Behind a little everywhere, far ahead in one window.
    parts = [
        dataclasses.replace(
            part, growth=other.growth * np.linspace(1.0, 1.5 if number == 3 else 0.999, len(part.growth))
        )
        for number, (part, other) in enumerate(zip(chain.accounts, yardstick.accounts, strict=True))
    ]
    chains = {**lucky.chains, ("ensemble", 0): dataclasses.replace(chain, accounts=tuple(parts))}
    found = _found(_evidence(dataclasses.replace(lucky, chains=chains)))
    assert not found["ahead without its best window"].held
    assert not found["windows ahead"].held
    assert "10 % of its windows are ahead of" in found["windows ahead"].words


def test_one_window_cannot_be_judged_without_its_best():
    found = _found(_evidence(_judgement(windows=1)))["ahead without its best window"]
    assert not found.held
    assert "one window is all there is" in found.words


def test_the_worst_seed_must_not_lose_to_cash():
    found = _found(_evidence(_judgement(worst_seed=-0.0001)))["worst seed"]
    assert not found.held
    assert "The worst seed (1) made" in found.words
    assert "points short" in found.words


def test_orders_scale_with_the_planned_capital():
    evidence = _evidence(_judgement(participation=0.0002))
    assert _found(evidence)["orders fit the market"].held
    large = _found(dataclasses.replace(evidence, capital=1_000_000.0))["orders fit the market"]
    assert not large.held
    assert "At 1,000,000 USD its largest order is 2 % of the usual volume" in large.words
    assert "500,000 USD would fit" in large.words


def test_unsound_episodes_and_missing_yardsticks_are_said():
    found = _found(_evidence(unsound=["agent 0 of 2012-07-01 was never closed"]))["episodes are sound"]
    assert "agent 0 of 2012-07-01 was never closed" in found.words
    judgement = _judgement()
    frames = {name: getattr(judgement, name).query("strategy != 'ridge'") for name in ("curves", "bands", "table")}
    chains = {key: chain for key, chain in judgement.chains.items() if key[0] != "ridge"}
    without = _found(_evidence(dataclasses.replace(judgement, chains=chains, **frames)))["beats every yardstick"]
    assert not without.held
    assert "ridge was not judged beside it" in without.words


def test_constant_curves_are_a_sentence_and_no_promotion():
    judgement = _judgement(edge=0.0)
    flat = _chain("ensemble", 0, np.zeros(WINDOWS * SESSIONS))
    chains = {**judgement.chains, ("ensemble", 0): flat}
    curves = judgement.curves.copy()
    curves.loc[curves["strategy"] == "ensemble", "wealth"] = 1.0
    found = _found(_evidence(dataclasses.replace(judgement, chains=chains, curves=curves)))
    assert "the returns do not vary" in found["deflated Sharpe ratio"].words
    assert not found["beats every yardstick"].held


def test_trials_are_held_against_one_another_on_the_sessions_they_share():
    days = pd.bdate_range("2012-01-02", periods=10).to_numpy()
    joined = common_sessions([(days[:8], np.arange(8.0)), (days[2:], np.arange(8.0))])
    np.testing.assert_array_equal(joined, np.column_stack([np.arange(2.0, 8.0), np.arange(6.0)]))
    assert common_sessions([]).size == 0


def test_of_trials_in_windows_and_trials_of_sweeps_the_larger_set_is_compared() -> None:
    days = np.arange("2012-01-02", "2012-01-12", dtype="datetime64[D]")
    one, other = (days[:4], np.arange(4.0)), (days[4:], np.arange(6.0))
    assert most_in_common([one], [other, other]).shape == (6, 2)
    assert most_in_common([one, one], [other, other]).shape == (4, 2)  # a draw goes to what was judged
    assert most_in_common([], []).size == 0


def test_thresholds_are_settings(monkeypatch):
    from tt_assets.settings import Settings

    monkeypatch.setenv("TT_GATE_SESSIONS", "252")
    monkeypatch.setenv("TT_GATE_LEVEL", "0.01")
    gate = Settings().gate
    assert (gate.sessions, gate.level, gate.lifetime) == (252, 0.01, 63)
    with pytest.raises(ValueError, match="level"):
        GateConfig(level=2.0)
