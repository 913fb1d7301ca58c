"""`tt holdings` on agents and episodes in Postgres: what it says, what it refuses, and that fills confirm it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tt_assets.commands.holdings import current_holdings, read_positions, ticket
from tt_assets.errors import UserError
from tt_assets.report.holdings import holding_rows, summary
from tt_assets.runtime.current import current_settings
from tt_assets.runtime.platform import Platform
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES
from tt_assets_tests.assets.sample_window import AGENTS, WINDOW, Rolled, fill_market, sample_window
from tt_assets_tests.dagster_runs import current_plan, landed_cells, query, run_job

KEY = f"{WINDOW}|sample"
NEWEST, BEFORE = date(2012, 9, 28), date(2012, 9, 27)
SEEDS = 2


SETTINGS = {
    "TT_TRAIN_STEPS": "2048",
    "TT_TRAIN_WORKERS": "1",
    "TT_SEEDS": str(SEEDS),
    "TT_BASELINES": "cash",
    "TT_END_DATE": f"{NEWEST}",
}


@pytest.fixture(scope="module")
def on_sample(postgres, tmp_path_factory) -> Iterator[Rolled]:
    """Agents of the sample portfolio, rolled up to the newest close; AAPL has none."""
    with sample_window(postgres, tmp_path_factory.mktemp("home"), ("sample", "AAPL"), **SETTINGS) as made:
        assert run_job(made.instance, AGENTS, KEY).success
        yield made


@pytest.fixture
def rolled(on_sample, monkeypatch) -> Rolled:
    """The rolled episodes, which the settings of this process name."""
    monkeypatch.setenv("TT_DATABASE_URL", on_sample.database.adbc_uri())
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return on_sample


@pytest.fixture
def platform(rolled) -> Platform:
    plan = current_plan()
    from tt_assets.grid.bars_files import watchlist_of

    return Platform(plan.settings, rolled.database, watchlist_of(plan.settings))


def recorded(rolled: Rolled, session: date) -> dict[str, float]:
    """The target weights of the account that is judged, as the server has them."""
    return dict(
        query(
            rolled.database,
            "SELECT t.instrument, t.target_weight FROM tt_target_weights t JOIN tt_episode e "
            "ON e.id = t.episode_id WHERE e.strategy = 'ensemble' AND t.timestamp = %s",
            session,
        )
    )


def closes(rolled: Rolled, session: date) -> dict[str, float]:
    return dict(query(rolled.database, "SELECT instrument, close FROM tt_prices WHERE timestamp = %s", session))


def test_the_newest_targets_are_the_recorded_ones_in_shares_of_the_capital(rolled, platform):
    found = current_holdings(platform, rolled.instance, "sample", capital=50_000.0)
    assert (found.session, found.window, list(found.seeds)) == (NEWEST, date(2012, 7, 1), [0, 1])
    weights, before, close = recorded(rolled, NEWEST), recorded(rolled, BEFORE), closes(rolled, NEWEST)
    assert {own.instrument: own.weight for own in found.positions} == pytest.approx(weights)
    for own in found.positions[:-1]:
        assert own.shares == pytest.approx(50_000.0 * weights[own.instrument] / close[own.instrument])
        change = weights[own.instrument] - before[own.instrument]
        assert own.change == pytest.approx(50_000.0 * change / close[own.instrument])
        assert "; alone the seeds wanted " in own.reason
    assert found.positions[-1].instrument == "CASH"
    said = "\n".join(summary(found, NEWEST))
    assert "the latest session" in said
    assert f"Held by: mean action of {SEEDS} agents of the window {WINDOW}, seed and sha256: " in said
    for seed, (sha256,) in enumerate(query(rolled.database, "SELECT sha256 FROM tt_policy ORDER BY seed")):
        assert f"{seed} {sha256[:12]}" in said
    assert [row["instrument"] for row in holding_rows(found)] == [own.instrument for own in found.positions]


def test_the_page_of_the_target_weights_shows_the_same(rolled, platform):
    found = current_holdings(platform, rolled.instance, "sample")
    shown = landed_cells(rolled.instance, "tt_target_weights")[KEY]["what_to_hold"]
    for row in holding_rows(found):
        assert row["reason"] in str(shown)


def test_a_ticket_buys_and_sells_from_the_positions_given_to_the_targets(rolled, platform, tmp_path):
    file = tmp_path / "positions.csv"
    file.write_text("Symbol,Quantity\nAAPL,10\nCASH,5000\n")
    found = current_holdings(platform, rolled.instance, "sample", positions=file)
    assert found.capital == pytest.approx(5_000.0 + 10 * closes(rolled, NEWEST)["AAPL"])
    orders = list(csv.DictReader(io.StringIO(ticket(platform, found))))
    held = {"AAPL": 10.0}
    for order in orders:
        signed = float(order["Quantity"]) * (1 if order["Action"] == "BUY" else -1)
        held[order["Symbol"]] = held.get(order["Symbol"], 0.0) + signed
        assert (order["TimeInForce"], order["OrderType"], order["SecType"]) == ("OPG", "MKT", "STK")
    wanted = {own.instrument: own.shares for own in found.positions[:-1]}
    assert {name: held.get(name, 0.0) for name in wanted} == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line must name symbol and quantity"),
        ("symbol,price\nAAPL,3\n", "columns symbol, price"),
        ("symbol,quantity\nTSLA,3\n", 'line 2: "TSLA" is not traded by sample, which trades AAPL, IBM'),
        ("symbol,quantity\nAAPL,3\n\nAAPL,4\n", 'line 4: "AAPL" is there already'),
        ("symbol,quantity\nAAPL,many\n", 'line 2: the quantity "many" of AAPL is no number'),
        ("symbol,quantity\nAAPL\n", 'the quantity "" of AAPL is no number'),
    ],
)
def test_positions_that_cannot_be_used_are_named_with_their_line(tmp_path: Path, text, said):
    file = tmp_path / "positions.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        read_positions(file, ("AAPL", "IBM"), "sample")
    with pytest.raises(UserError, match="cannot be read"):
        read_positions(tmp_path / "none.csv", ("AAPL",), "sample")


def test_stale_bars_and_agents_that_are_behind_are_refused(rolled, platform, monkeypatch):
    monkeypatch.setenv("TT_END_DATE", "2012-10-05")
    later = Platform(current_settings(), platform.database, platform.watchlist)
    with pytest.raises(UserError, match="end with 2012-09-28, 5 sessions before the latest, 2012-10-05"):
        current_holdings(later, rolled.instance, "sample")
    # What was said then is still there.
    assert current_holdings(later, rolled.instance, "sample", session=BEFORE).session == BEFORE
    monkeypatch.setenv("TT_END_DATE", f"{NEWEST}")
    with pytest.raises(UserError, match="No finished episode of AAPL on or before"):
        current_holdings(platform, rolled.instance, "AAPL", session=BEFORE)
    with pytest.raises(UserError, match="AAPL has no agent for the window 2012-07-01"):
        current_holdings(platform, rolled.instance, "AAPL")


def test_targets_recorded_before_their_fill_are_confirmed_bit_for_bit_when_it_comes(rolled, platform):
    with rolled.database.connect() as connection:
        connection.execute("TRUNCATE tt_prices, tt_feature_bar, tt_signal_bar")
        connection.execute("DELETE FROM tt_slice WHERE table_name = ANY(%s)", [list(MARKET_TABLES)])
    fill_market(rolled.database, "2011-09-01", f"{BEFORE}")
    assert run_job(rolled.instance, list(EPISODE_TABLES), KEY).success
    then = "SELECT e.strategy, e.seed, t.instrument, t.target_weight, t.rationale FROM tt_target_weights t "
    then += "JOIN tt_episode e ON e.id = t.episode_id WHERE t.timestamp = %s ORDER BY 1, 2, 3"
    told = query(rolled.database, then, BEFORE)
    assert len(told) == (SEEDS + 2) * 5  # the mean of the seeds and a baseline beside them
    assert query(rolled.database, "SELECT max(timestamp)::date FROM tt_order") <= [(BEFORE,)]

    fill_market(rolled.database, "2011-09-01", f"{NEWEST}")
    with pytest.raises(UserError, match="behind their bars of 2012-09-28"):
        current_holdings(platform, rolled.instance, "sample")
    assert run_job(rolled.instance, list(EPISODE_TABLES), KEY).success
    assert query(rolled.database, then, BEFORE) == told
    confirmed = landed_cells(rolled.instance, "tt_target_weights")[KEY]["targets_confirmed"]
    assert confirmed == f"{62 * 5 * SEEDS} of {62 * 5 * SEEDS} recorded before"
    assert current_holdings(platform, rolled.instance, "sample").session == NEWEST
