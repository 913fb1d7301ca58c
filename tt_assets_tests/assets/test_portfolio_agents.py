"""A portfolio or symbol with a learner of its own is trained by it, and nobody else is."""

from __future__ import annotations

import json
import logging
from datetime import date
from pathlib import Path

import pytest

from tt_assets.assets.policy import trained
from tt_assets.assets.spans import version_of_trading, versions_of_trading
from tt_assets.grid.blueprint import blueprint
from tt_assets.grid.partitions import Window
from tt_assets.market.watchlist import read_watchlist
from tt_assets.postgres.database import Database
from tt_assets.runs.market_reader import MarketReader
from tt_assets.settings import Settings
from tt_assets_tests.assets.sample_window import WINDOW, sample_window


def test_each_is_trained_by_its_own_learner(postgres: Database, tmp_path: Path):
    learners = {"TT_AGENT": "gradient", "TT_PORTFOLIO_AGENTS": "sample=ridge, IBM = ridge", "TT_SEEDS": "1"}
    with sample_window(postgres, tmp_path / "home", ["sample"], **learners) as rolled:
        settings = Settings()
        windows = [Window(date.fromisoformat(WINDOW), name) for name in ("sample", "IBM", "MSFT")]
        watchlist = read_watchlist(settings.watchlist)
        slices = trained(
            windows, watchlist, MarketReader(rolled.database), blueprint(settings), logging.getLogger("test")
        )
    assert slices.failed == {}
    rows = slices.frame.set_index("instrument")["config_json"].map(json.loads)
    assert {name: row["agent"] for name, row in rows.items()} == {"sample": "ridge", "IBM": "ridge", "MSFT": "gradient"}
    assert {name: row["trading"]["agent"] for name, row in rows.items()} == {
        "sample": "ridge",
        "IBM": "ridge",
        "MSFT": "gradient",
    }


def test_another_learner_is_another_version_of_its_own_portfolio_alone(monkeypatch):
    monkeypatch.setenv("TT_PORTFOLIO_AGENTS", "growth=ridge")
    plan = blueprint(Settings())
    common = version_of_trading(plan.trading)
    assert versions_of_trading(plan, []) == versions_of_trading(plan, ["income", "AAPL"]) == common
    assert versions_of_trading(plan, ["growth"]) == version_of_trading(plan.trading.replace(agent="ridge")) != common
    assert versions_of_trading(plan, ["growth", "income"]) not in {common, versions_of_trading(plan, ["growth"])}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("growth", "NAME=LEARNER"),
        ("=ridge", "NAME=LEARNER"),
        ("growth=", "NAME=LEARNER"),
        ("growth=ridge,growth=ppo", "twice"),
    ],
)
def test_a_pair_that_is_none_is_refused(monkeypatch, text, said):
    monkeypatch.setenv("TT_PORTFOLIO_AGENTS", text)
    with pytest.raises(ValueError, match=said):
        Settings()


def test_an_algorithm_of_another_library_may_be_a_portfolio_s_learner(monkeypatch):
    monkeypatch.setenv("TT_PORTFOLIO_AGENTS", "growth=sb3:TD3")
    assert Settings().agents == {"growth": "sb3:TD3"}
    assert blueprint(Settings()).trading_of("growth").agent == "sb3:TD3"
