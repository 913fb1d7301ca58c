"""Agents by the command line and Postgres alone: a world with a known answer, and what cannot be trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tt_assets.market.calendar import sessions
from tt_assets_tests.benchmarks.worlds import World, drawn
from tt_assets_tests.e2e.command_line import Machine, machine
from tt_assets_tests.made_bars import made_bars

pytestmark = pytest.mark.slow

WINDOWS = "2006-01-03", "2006-05-16"
LAST_NET_WORTH = """
    SELECT DISTINCT ON (e.window_start) p.net_worth FROM tt_portfolio p JOIN tt_episode e ON e.id = p.episode_id
    WHERE e.strategy = '{strategy}' AND e.seed = 0 ORDER BY e.window_start, p.timestamp DESC
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose bars are a world's, with a watchlist of one portfolio of all its instruments."""
    bars = drawn(World("planted", 4, 0.20, seed=1, unseen=126)).bars
    bars.to_csv(tmp_path / "bars.csv", index=False)
    names = bars["instrument"].unique()
    (tmp_path / "watchlist.csv").write_text("symbol,portfolio\n" + "".join(f"{name},world\n" for name in names))
    own = {"TT_BARS_PATH": f"{tmp_path / 'bars.csv'}", "TT_WATCHLIST": f"{tmp_path / 'watchlist.csv'}"}
    with machine(TT_SEEDS="2", **own) as here:
        yield here


def test_what_is_planted_is_found_by_whoever_types_the_commands(world: Machine, tmp_path: Path):
    planted = drawn(World("planted", 4, 0.20, seed=1, unseen=126)).planted
    planted.to_csv(tmp_path / "scores.csv", index=False)
    commands: list[tuple[str, ...]] = [
        ("backfill", "market"),
        ("signals", "import", f"{tmp_path / 'scores.csv'}"),
        ("train", "--from", WINDOWS[0], "--to", WINDOWS[1], "--instruments", "world"),
        ("report", "--instruments", "world"),
    ]
    for command in commands:
        told = world.tt(*command)
        assert told.returncode == 0, told.stderr
    (trial,) = json.loads(world.tt("trials", "list", "--json").stdout)
    figures = {row["what"]: row["value"] for row in json.loads(world.tt("trials", "show", "1", "--json").stdout)}
    assert trial["state"] == "judged"
    assert figures["setting agents.agent"] == "ppo"

    def growth(strategy: str) -> float:
        ends = [row[0] for row in world.rows(LAST_NET_WORTH.format(strategy=strategy))]
        assert len(ends) == 2
        return float(np.log(np.array(ends) / 10_000.0).sum())

    agent, equal = growth("ensemble"), growth("equal_weight_rebalanced")
    assert agent > equal + 0.1, (agent, equal)
    assert float(figures["figure total_return"]) > np.expm1(equal)


MANY = [f"M{number:03d}" for number in range(200)]


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Machine]:
    """Portfolios of one instrument, of two hundred, and of one that has just been listed; odd channels on all."""
    days = sessions(pd.Timestamp("2012-01-03"), pd.Timestamp("2013-03-28"))
    bars = made_bars([*MANY, "LATE"], days, seed=1)
    bars = bars[(bars["instrument"] != "LATE") | (bars["timestamp"] >= "2012-12-03")]
    bars.to_csv(tmp_path / "bars.csv", index=False)
    portfolios = {name: "many;one" if name == MANY[0] else "many" for name in MANY} | {"LATE": "late"}
    lines = "".join(f"{name},{portfolio}\n" for name, portfolio in portfolios.items())
    (tmp_path / "watchlist.csv").write_text(f"symbol,portfolio\n{lines}")
    own = {"TT_BARS_PATH": f"{tmp_path / 'bars.csv'}", "TT_WATCHLIST": f"{tmp_path / 'watchlist.csv'}"}
    quick = {"TT_SEEDS": "1", "TT_TRAIN_STEPS": "1024", "TT_BASELINES": "cash", "TT_PICTURES": "0"}
    with machine(TT_DATE_GRAIN="month", **quick, **own) as here:
        yield here


def test_one_two_hundred_too_few_sessions_and_odd_channels_train_or_say_why(odd: Machine, tmp_path: Path):
    days = sessions(pd.Timestamp("2012-01-03"), pd.Timestamp("2013-03-28"))
    flat = pd.DataFrame({"instrument": MANY[0], "timestamp": days, "signal_name": "flat", "score": 0.5})
    # Known in the traded window alone: in training the channel is never known.
    never = flat[flat["timestamp"] >= "2013-01-02"].assign(signal_name="never")
    pd.concat([flat, never]).to_csv(tmp_path / "scores.csv", index=False)
    for command in (("backfill", "market"), ("signals", "import", f"{tmp_path / 'scores.csv'}")):
        told = odd.tt(*command)
        assert told.returncode == 0, told.stderr
    train = ("train", "--from", "2013-01-02", "--to", "2013-03-28", "--instruments")

    told = odd.tt(*train, "one,many")
    assert told.returncode == 0, told.stderr
    held = odd.rows(
        "SELECT e.instrument, count(DISTINCT w.instrument) FROM tt_target_weights w JOIN tt_episode e "
        "ON e.id = w.episode_id WHERE e.strategy = 'agent' AND e.end_time IS NOT NULL GROUP BY 1"
    )
    assert dict(held) == {"one": 2, "many": 201}  # CASH is one of them
    channels = json.loads(odd.rows("SELECT config_json FROM tt_policy WHERE instrument = 'one'")[0][0])["channels"]
    assert {"flat", "never"} & set(channels) == {"flat"}

    told = odd.tt(*train, "late")
    assert told.returncode == 1
    (line,) = [line for line in told.stderr.splitlines() if "2013-01-01|late" in line]
    assert "training LATE on" in line
    assert "training needs 42" in line
    assert "Traceback" not in told.stderr

    # Weights and network that do not go together, under a digest that does: nobody acts on them.
    odd.rows(
        "UPDATE tt_policy SET config_json = replace(config_json, '\"hidden\":16', '\"hidden\":24') "
        "WHERE instrument = 'one' RETURNING 1"
    )
    odd.rows(
        "UPDATE tt_policy SET sha256 = encode(sha256(weights || convert_to(config_json, 'UTF8')), 'hex') "
        "WHERE instrument = 'one' RETURNING 1"
    )
    told = odd.tt("backfill", "tt_episode", "--from", "2013-01-02", "--to", "2013-03-28", "--instruments", "one")
    assert told.returncode == 1
    (line,) = [line for line in told.stderr.splitlines() if "2013-01-01|one" in line]
    assert "encoder" in line
    assert "Traceback" not in told.stderr
