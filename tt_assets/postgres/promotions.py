"""What the gate decided, and whether it still holds: the one home of `tt_promotion`.

A promotion lapses with its last session, when a bar it was decided on is restated, and when an agent it was decided on
is no longer the one in force.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from tt_assets.grain import DateGrain
from tt_assets.postgres.database import Database
from tt_assets.tables import MARKET_TABLES


@dataclass(frozen=True)
class Promotion:
    """A decision of the gate as it is written.

    Parameters
    ----------
    instrument : traded symbol or portfolio. trial : number of the trial it was decided on.
    promoted : whether it may be traded. rule_version : of rules and thresholds.
    rules : results of the gate, as JSON knows them.
    agents : window and seed → sha256 of the agent. members : symbols of the portfolio.
    bars : of `bars_digest`, over `first_session` to `last_session`.
    first_session, last_session : that were judged. expires : last session on which it may be traded.
    refusal : why not, in one paragraph; empty for a promotion.
    """

    instrument: str
    trial: int
    promoted: bool
    rule_version: str
    rules: Sequence[Mapping[str, Any]]
    agents: Mapping[str, str]
    members: Sequence[str]
    bars: str
    first_session: date
    last_session: date
    expires: date
    refusal: str = ""


@dataclass(frozen=True)
class PromotionStatus:
    """Whether what a traded key's agents say may be traded.

    Parameters
    ----------
    promoted : whether a promotion stands.
    reason : in one sentence, why not; of a promotion until when.
    promotion : number of the decision; None where there was none.
    expires : last session of the promotion.
    """

    promoted: bool
    reason: str
    promotion: int | None = None
    expires: date | None = None

    def __str__(self) -> str:
        return f"promoted until {self.expires}" if self.promoted else f"not promoted: {self.reason}"


def record_promotion(database: Database, decision: Promotion) -> int:
    """Write a decision; its number.

    Parameters
    ----------
    database : where it is written.
    decision : of the gate; an earlier one of the same instrument stays, and counts no more.
    """
    told = {"rules": list(decision.rules), "refusal": decision.refusal}
    about = {
        "agents": dict(decision.agents),
        "members": list(decision.members),
        "first_session": f"{decision.first_session}",
    }
    with database.connect() as connection:
        row = connection.execute(
            "INSERT INTO tt_promotion (instrument, trial_id, decided_at, promoted, rule_version, rules_json, "
            "agents_json, bars, last_session, expires) VALUES (%s, %s, now(), %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            [
                decision.instrument,
                decision.trial,
                decision.promoted,
                decision.rule_version,
                json.dumps(told, sort_keys=True),
                json.dumps(about, sort_keys=True),
                decision.bars,
                decision.last_session,
                decision.expires,
            ],
        ).fetchone()
    assert row is not None  # noqa: S101 - RETURNING gives its row
    return int(row[0])


def promotion_status(
    database: Database, traded: str, latest: date, *, grain: DateGrain = DateGrain.SESSION
) -> PromotionStatus:
    """Whether the agents of a traded key are promoted.

    Parameters
    ----------
    database : where decisions, agents and bars are.
    traded : symbol or portfolio.
    latest : the session whose decision is to be traded.
    grain : width of the partitions of the market tables.
    """
    with database.connect() as connection:
        row = connection.execute(
            "SELECT id, promoted, rules_json, agents_json, bars, last_session, expires, decided_at::date "
            "FROM tt_promotion WHERE instrument = %s ORDER BY decided_at DESC, id DESC LIMIT 1",
            [traded],
        ).fetchone()
    if row is None:
        return PromotionStatus(False, f"nobody asked the gate yet; run `tt promote {traded}`.")
    number, promoted, rules, agents_json, bars, last, expires, decided = row
    if not promoted:
        return PromotionStatus(False, f"refused on {decided}: {json.loads(rules)['refusal']}", number, expires)
    about = json.loads(agents_json)
    again = f"run `tt promote {traded}` again."
    if latest > expires:
        return PromotionStatus(False, f"the promotion of {decided} held until {expires}; {again}", number, expires)
    first = date.fromisoformat(about["first_session"])
    if bars_digest(database, about["members"], first, last, grain=grain) != bars:
        return PromotionStatus(
            False, f"bars it was promoted on on {decided} have been restated since; {again}", number, expires
        )
    if changed := _changed_agents(database, traded, about["agents"]):
        return PromotionStatus(
            False, f"the agent of window and seed {changed} is not the one promoted; {again}", number, expires
        )
    return PromotionStatus(True, f"promoted on {decided}, until {expires}.", number, expires)


def bars_digest(
    database: Database, members: Sequence[str], first: date, last: date, *, grain: DateGrain = DateGrain.SESSION
) -> str:
    """One text of what the market tables hold over a span, from the ledger.

    Parameters
    ----------
    database : where the ledger is.
    members : symbols.
    first, last : sessions, both included.
    grain : width of the partitions of the market tables. The month or year of `last` is left out, as sessions still
        join it.
    """
    wide = grain is not DateGrain.SESSION
    with database.connect() as connection:
        row = connection.execute(
            "SELECT md5(string_agg(table_name || date || instrument || digest, ',' "
            "ORDER BY table_name, date, instrument)) FROM tt_slice WHERE table_name = ANY(%s) AND instrument = ANY(%s) "
            f"AND date >= %s AND date {'<' if wide else '<='} %s AND rows > 0",
            [list(MARKET_TABLES), list(members), grain.key_of(first), grain.key_of(last)],
        ).fetchone()
    return str(row[0] if row and row[0] else "")


def _changed_agents(database: Database, traded: str, agents: Mapping[str, str]) -> str:
    """The first window and seed whose agent in force is another than in `agents`; empty where none is."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT window_start::text || ' ' || seed, sha256 FROM tt_policy "
            "WHERE instrument = %s AND superseded_at IS NULL",
            [traded],
        ).fetchall()
    current = {str(key): str(sha256) for key, sha256 in rows}
    return next((key for key, sha256 in agents.items() if current.get(key) != sha256), "")
