"""What to hold at the next open, read from the recorded decisions, and what a broker is to be told of it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from tt_assets.assets.recorded_holdings import bars_until, recorded_holdings
from tt_assets.automation.agents import read_agents
from tt_assets.automation.market import read_market
from tt_assets.errors import UserError, counted
from tt_assets.grid.blueprint import blueprint
from tt_assets.grid.horizon import horizon
from tt_assets.grid.partitions import Window, quarter_of
from tt_assets.market.calendar import sessions
from tt_assets.market.small_files import small_text
from tt_assets.market.watchlist_format import CASH
from tt_assets.postgres.arrow_frames import read_frames
from tt_assets.postgres.decision_reader import last_bars
from tt_assets.runtime.platform import Platform
from tt_assets.trading.config import Execution
from tt_assets.trading.episodes.holdings import Holdings, LastBar

SYMBOL_NAMES = ("symbol", "instrument", "ticker")
QUANTITY_NAMES = ("quantity", "shares", "position")
TICKET = ("Action", "Quantity", "Symbol", "SecType", "Exchange", "Currency", "TimeInForce", "OrderType")
"""Columns of a ticket, those of the basket trader of Interactive Brokers."""


def portfolio_of(platform: Platform, name: str | None) -> str:
    """The portfolio meant: `name` checked, or the only one there is something to hold of."""
    from tt_assets.commands.report import reportable
    from tt_assets.runtime.selection import known_instruments

    listed = platform.watchlist
    if name is not None:
        return known_instruments(name, listed.traded, "instrument or portfolio")[0]
    rolled = reportable(platform)
    if not rolled:
        raise UserError("No agent has a finished episode yet; run `tt train` (or `tt demo`) first.")
    chosen = [name for name in rolled if name in listed.portfolios] or rolled
    if len(chosen) > 1:
        raise UserError(f"There are agents of {', '.join(chosen)}; say which with --portfolio.")
    return chosen[0]


def current_holdings(
    platform: Platform,
    instance: dg.DagsterInstance,
    traded: str,
    *,
    session: date | None = None,
    capital: float | None = None,
    positions: Path | None = None,
) -> Holdings:
    """What the agents of `traded` say to hold, on the newest close or on that of `session`.

    Parameters
    ----------
    capital : USD to invest; None: what `positions` are worth with their cash, else TT_INITIAL_CASH.
    positions : CSV of what is held now.

    Raises
    ------
    UserError : bars are stale, the agents are behind or were never rolled, or `positions` cannot be used.
    """
    symbols = platform.watchlist.members(traded)
    newest = _newest_bar(platform, symbols, traded)
    if session is None:
        _refuse_stale(platform, instance, traded, newest)
    read = partial(read_frames, platform.database)
    config = blueprint(platform.settings).trading
    held = None if positions is None else read_positions(positions, symbols, traded)
    if capital is None:
        bars = {} if held is None else bars_until(read, symbols, session or newest)
        capital = config.initial_cash if held is None else _worth(held, bars, positions)
    return recorded_holdings(
        read, traded, symbols, session, capital, newest=newest, held=held, whole_shares=config.whole_shares
    )


def _newest_bar(platform: Platform, symbols: Sequence[str], traded: str) -> date:
    last = horizon(platform.settings).latest_session()
    bars = last_bars(partial(read_frames, platform.database), symbols, last)
    if bars.empty:
        raise UserError(f"tt_prices has no bar of {', '.join(symbols)}; run `tt backfill market` first.")
    newest: date = bars["timestamp"].max().date()
    return newest


def _refuse_stale(platform: Platform, instance: dg.DagsterInstance, traded: str, newest: date) -> None:
    """UserError where bars of sessions that have closed are missing, or agents have not decided on those there are."""
    latest = horizon(platform.settings).latest_session()
    if newest < latest:
        late = len(sessions(newest, latest)) - 1
        raise UserError(
            f"The bars of {traded} end with {newest}, {counted(late, 'session')} before the latest, "
            f"{latest}: run `tt backfill market --from {newest}`, or see that session with --session {newest}."
        )
    plan = blueprint(platform.settings)
    state = read_agents(instance, read_market(instance, plan, platform.database), platform.database)
    window = Window(quarter_of(newest), traded)
    place = state.windows.get(window)
    if place is None or not state.cells["tt_policy"].done[place]:
        raise UserError(
            f"{traded} has no agent for the window {window.start} of the newest close {newest}: run `tt train "
            f"--instruments {traded} --from {window.start}`."
        )
    if state.behind[place]:
        raise UserError(
            f"The agents of {traded} are behind their bars of {newest}: run `tt backfill tt_episode --instruments "
            f"{traded} --from {window.start}`."
        )


def read_positions(path: Path, symbols: Sequence[str], traded: str) -> dict[str, float]:
    """Instrument → shares held, CASH → USD, from a CSV with a column of symbols and one of quantities.

    Raises
    ------
    UserError : naming file and line; the file or a column is missing, a quantity is no number, an instrument is twice
        there or is not traded by `traded`.
    """
    try:
        rows = list(csv.reader(io.StringIO(small_text(path))))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--positions {path} cannot be read ({type(error).__name__}); give a CSV file.") from None
    header = [cell.strip().casefold() for cell in rows[0]] if rows else []
    places = [
        next((header.index(name) for name in names if name in header), None) for names in (SYMBOL_NAMES, QUANTITY_NAMES)
    ]
    symbol_at, quantity_at = places
    if symbol_at is None or quantity_at is None:
        raise UserError(
            f"--positions {path} has the columns {', '.join(header) or 'none'}; its first line must name symbol and "
            "quantity (shares; USD in a line of CASH)."
        )
    held: dict[str, float] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = [*(cell.strip() for cell in row), *[""] * len(header)]
        name, text = cells[symbol_at], cells[quantity_at]
        where = f"{path}, line {number}"
        if name not in (*symbols, CASH):
            raise UserError(f'{where}: "{name}" is not traded by {traded}, which trades {", ".join(symbols)}.')
        if name in held:
            raise UserError(f'{where}: "{name}" is there already; keep one line of it.')
        try:
            held[name] = float(text)
        except ValueError:
            held[name] = math.nan
        if not math.isfinite(held[name]):
            raise UserError(f'{where}: the quantity "{text}" of {name} is no number.')
    return held


def _worth(held: Mapping[str, float], bars: Mapping[str, LastBar], path: Path | None) -> float:
    """What is held is worth at the last closes, cash included, USD."""
    worth = math.fsum(
        quantity * (1.0 if name == CASH else bars[name].close if name in bars else 0.0)
        for name, quantity in held.items()
    )
    if worth <= 0.0:
        raise UserError(
            f"--positions {path} are worth {worth:,.2f} USD; say with --capital how much is to be invested."
        )
    return worth


def as_json(found: Holdings, latest: date) -> dict[str, Any]:
    """Everything, unrounded."""
    return {**asdict(found), "age_sessions": len(sessions(found.session, latest)) - 1}


def ticket(platform: Platform, found: Holdings) -> str:
    """The orders that bring about the change, as CSV: market orders at the open or close the platform fills at."""
    listed = {own.symbol: own for own in platform.watchlist.instruments}
    at_open = blueprint(platform.settings).trading.execution is Execution.NEXT_OPEN
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(TICKET)
    for own in found.positions:
        if own.instrument == CASH or not own.change:
            continue
        contract = listed[own.instrument]
        quantity = f"{abs(own.change):.4f}".rstrip("0").rstrip(".")
        if quantity in ("0", ""):
            continue
        timing = ("OPG", "MKT") if at_open else ("DAY", "MOC")
        side = "BUY" if own.change > 0.0 else "SELL"
        writer.writerow([side, quantity, own.instrument, "STK", contract.exchange, contract.currency, *timing])
    return lines.getvalue()
