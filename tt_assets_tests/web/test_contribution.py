"""What pages say of positions is what the report says of the same books: late bars and shorts too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import pytest

from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_store import EpisodeHeader, EpisodeStore, EpisodeSummary
from tt_assets.postgres.reader import looking, prepared_reader
from tt_assets.report.labels import fixed
from tt_assets.settings import Settings
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.record import EpisodeRecord
from tt_assets.trading.episodes.roll import roll
from tt_assets.trading.judging.accounts import Account, account
from tt_assets.trading.panel import MarketPanel
from tt_assets.web.episode import _held
from tt_assets.web.portfolio import _Books, _contribution
from tt_assets.web.site import Look, Site

NAMES = ("EARLY", "LATE")
WINDOW = date(2020, 1, 6)
SESSIONS = 12
NO_BAR = (4, 5, SESSIONS - 1)
"""Sessions of the window in which LATE has no bar, the last among them."""
SHORT, LONG = 2, 1


class Chooses:
    """Long of all, or short of LATE and long of the other, by turns of three sessions."""

    name = "discrete"

    def __init__(self, panel: MarketPanel, second: int) -> None:
        self.scaler, self._second = Scaler.unscaled(panel), second

    def act(self, trader: Any, observation: Any) -> np.ndarray:
        return np.array([LONG, self._second if trader.session // 3 % 2 else LONG])

    def reasons(self, session: int, action: np.ndarray, target: np.ndarray) -> list[str]:
        return [""] * (len(NAMES) + 1)

    def entries(self) -> dict[str, str]:
        return {}


def panel_with_a_late_bar() -> MarketPanel:
    """Prices that wander, a look-back of 21 sessions, and sessions in which LATE has no bar."""
    days = np.datetime64(WINDOW, "ns") + np.arange(-21, SESSIONS).astype("timedelta64[D]")
    moves = np.random.default_rng(7).normal(0.0, 0.03, (len(days), 2))
    close = 100.0 * np.exp(np.cumsum(moves, axis=0))
    opened = np.concatenate([close[:1], close[:-1]]) * 1.01
    bars = [opened, np.maximum(opened, close), np.minimum(opened, close), close, np.full_like(close, 1e6)]
    for values in bars:
        values[[21 + at for at in NO_BAR], 1] = np.nan
    return MarketPanel(days, NAMES, *bars, np.zeros((*close.shape, 0)), (), start=21)


def write(database: Database, panel: MarketPanel, record: EpisodeRecord) -> int:
    """The panel's bars and the episode, into empty tables; the episode's number."""
    store = EpisodeStore(database)
    with database.connect() as connection, connection.cursor() as cursor:
        for row, column in np.argwhere(np.isfinite(panel.close)):
            values = [float(getattr(panel, name)[row, column]) for name in ("open", "high", "low", "close", "volume")]
            cursor.execute(
                "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [NAMES[column], panel.sessions[row].astype("datetime64[us]").item(), *values],
            )
    header = EpisodeHeader(WINDOW, "pair", "agent", 0, None, record.start_time, record.config_json)
    (number,) = store.open([(WINDOW, "pair")], [header])
    for name in ("order", "portfolio", "holdings", "equity_curve"):
        store.add(f"tt_{name}", getattr(record, name).assign(episode_id=number))
    store.finalize([EpisodeSummary(number, record.end_time, record.stop_reason, 0.1, None, 0.1)])
    return number


@pytest.fixture(params=[LONG, SHORT], ids=["long", "short"])
def books(request: pytest.FixtureRequest) -> tuple[MarketPanel, EpisodeRecord, Account]:
    """An episode, and the account that the report makes of the same decisions."""
    panel = panel_with_a_late_bar()
    config = TradingConfig(
        allow_shorts=True, action_scheme="discrete", stoppers=(), observation_window=1, borrow_bps=2_000.0
    )
    record = roll(Chooses(panel, request.param), panel, config, Engine.SIMULATOR)
    return panel, record, account(Chooses(panel, request.param), panel, config)


def test_contribution_is_the_report_s_with_a_late_bar_and_with_shorts(
    empty_tables: Database, tmp_path, books: tuple[MarketPanel, EpisodeRecord, Account]
) -> None:
    panel, record, judged = books
    write(empty_tables, panel, record)
    wanted = dict(zip(NAMES, 100.0 * judged.contribution.sum(axis=0), strict=True))
    assert record.holdings["quantity"].iloc[-1] != 0.0  # LATE is held at the close that it has no bar of
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(Settings(home=tmp_path), prepared_reader(empty_tables), instance)
        with looking(site.database) as connection:
            shown = _contribution(Look(site, connection), _Books("pair", "agent", "all", None))
    assert {row["name"]: row["text"] for row in shown} == {
        name: fixed(value, 2, signed=True) for name, value in wanted.items()
    }


def test_what_an_episode_holds_is_shown_at_its_last_close_where_a_bar_is_late(
    empty_tables: Database, tmp_path, books: tuple[MarketPanel, EpisodeRecord, Account]
) -> None:
    panel, record, _ = books
    number = write(empty_tables, panel, record)
    quantity = record.holdings.query("instrument == 'LATE'")["quantity"].to_numpy(dtype=float)
    wanted = np.clip(quantity * panel.marks[panel.start :, 1], 0.0, None)
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(Settings(home=tmp_path), prepared_reader(empty_tables), instance)
        with looking(site.database) as connection:
            (chart,) = _held(Look(site, connection), number)
    assert _values(chart.series, "LATE") == pytest.approx(wanted)


def _values(series: Sequence[Any], label: str) -> list[float]:
    return [float(value) for own in series if own.name == label for value in own.values]
