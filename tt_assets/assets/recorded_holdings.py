"""What the recorded decisions say to hold: one function for the command line, the dashboard and whoever asks next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd

from tt_assets.errors import UserError
from tt_assets.postgres.decision_reader import ReadFrames, RecordedDecisions, last_bars, newest_decisions
from tt_assets.trading.episodes.holdings import Decision, Holdings, LastBar, what_to_hold
from tt_assets.trading.judging.judge import ENSEMBLE


def recorded_holdings(
    read: ReadFrames,
    traded: str,
    symbols: Sequence[str],
    session: date | None,
    capital: float,
    *,
    newest: date | None = None,
    held: Mapping[str, float] | None = None,
    whole_shares: bool = False,
) -> Holdings:
    """What the agents of `traded` decided at a close, as positions.

    Parameters
    ----------
    read : reads the tables, such as `read_frames` of a database.
    traded, symbols : symbol or portfolio, and the instruments it trades now.
    session : at whose close; None: at `newest`, or where that is None too at the newest close decided at.
    capital : USD that shares are of.
    held, whole_shares : as of `what_to_hold`.

    Raises
    ------
    UserError : nothing is recorded of `traded`, or nothing at that close.
    """
    told = newest_decisions(read, traded, session)
    if told is None:
        when = f" on or before {session}" if session else ""
        raise UserError(f"No finished episode of {traded}{when}; run `tt train --instruments {traded}` first.")
    asked = session or newest or _last(told)
    decided, together = decisions_at(told, traded, asked)
    bars = bars_until(read, symbols, asked)
    return what_to_hold(
        traded, told.window, asked, decided, bars, capital, together=together, held=held, whole_shares=whole_shares
    )


def decisions_at(told: RecordedDecisions, traded: str, session: date) -> tuple[list[Decision], Decision | None]:
    """What each seed decided at the close of `session`, and what their mean action did where it was rolled.

    Raises UserError where none of them decided.
    """
    rows = told.rows
    at = rows["timestamp"] == pd.Timestamp(session)
    stopped = told.accounts["stop_reason"].eq("terminated") & (told.accounts["end_time"] <= pd.Timestamp(session))
    if not at.any() and not stopped.all():
        last = _last(told)
        raise UserError(
            f"The agents of {traded} have decided nothing at the close of {session}; the last before it is "
            f"{last}: see it with --session {last}, or run `tt backfill tt_episode --instruments "
            f"{traded} --from {told.window}`."
        )
    decisions, together = [], None
    for header in told.accounts.to_dict("records"):
        own = rows[(rows["strategy"] == header["strategy"]) & (rows["seed"] == header["seed"])]
        now, before = own[own["timestamp"] == pd.Timestamp(session)], own[own["timestamp"] < pd.Timestamp(session)]
        decision = Decision(
            seed=int(header["seed"]),
            sha256=str(header["sha256"]),
            weights=_by_instrument(now, "target_weight") if len(now) else None,
            before=_by_instrument(before, "target_weight"),
            reasons=_by_instrument(now, "rationale"),
        )
        if header["strategy"] == ENSEMBLE:
            together = decision
        else:
            decisions.append(decision)
    return decisions, together


def bars_until(read: ReadFrames, symbols: Sequence[str], until: date) -> dict[str, LastBar]:
    """The last bar of each of `symbols` up to `until`, in their order; without those that never had one."""
    rows = last_bars(read, symbols, until).to_dict("records")
    found = {row["instrument"]: LastBar(row["timestamp"].date(), float(row["close"])) for row in rows}
    return {name: found[name] for name in symbols if name in found}


def _last(told: RecordedDecisions) -> date:
    last = told.rows["timestamp"].max() if len(told.rows) else told.accounts["end_time"].max()
    return pd.Timestamp(last).date()


def _by_instrument(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    return dict(zip(rows["instrument"], rows[column], strict=True))
