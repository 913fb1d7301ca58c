"""Which sessions ought to have a bar and have none, and whether anybody knows why.

A reason is one that was recorded when the session was loaded ("not listed yet", "no bar in the source").
A session without a bar of which nothing is recorded, or whose bar was there, is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from tt_assets.assets.outcomes import SAID
from tt_assets.grid.horizon import bars_span, horizon
from tt_assets.grid.keys import CellKey
from tt_assets.market.bar_checks import Finding, absent_bars
from tt_assets.market.calendar import sessions
from tt_assets.market.sources import SessionOutcome
from tt_assets.postgres.database import Database
from tt_assets.postgres.slices import Selection
from tt_assets.settings import PriceSourceName, Settings

NOT_LISTED = SAID[SessionOutcome.NOT_LISTED_YET]
ENDED = SAID[SessionOutcome.AFTER_LAST]
EXCUSES = (NOT_LISTED, SAID[SessionOutcome.MISSING], ENDED)


@dataclass(frozen=True)
class Coverage:
    """`missing` are the sessions without a bar and without a reason.

    `by_instrument` has a row per instrument: expected and stored sessions, those excused by reason, those missing.
    """

    missing: list[Finding]
    by_instrument: pd.DataFrame


def latest_session(settings: Settings) -> date:
    """The last session that has a partition and whose bar the source can have: no later than the end of a bars file."""
    latest = horizon(settings).latest_session()
    span = bars_span(settings) if settings.price_source is PriceSourceName.FILE else None
    return min(latest, span[1]) if span else latest


def coverage(
    selection: Selection, stored: pd.DataFrame, active: Collection[str], latest: date, database: Database
) -> Coverage:
    """Expected against stored sessions of the selected cells up to `latest`, for the `active` instruments.

    `stored` holds the bars (instrument, timestamp) of the cells. A retired instrument is expected nothing of. An active
    one that the source has no more bars of is missing at `latest`: its data has gone stale, or it should be retired.
    """
    expected = expected_sessions(selection, active, latest)
    absent = absent_bars(expected, stored)
    reasons = _reasons(absent, stored, database)
    ended = (reasons == ENDED) & (absent["timestamp"] == pd.Timestamp(latest))
    excused = reasons.isin(EXCUSES) & ~ended
    unexplained = absent[~excused]
    missing = [
        Finding(name, session, f"no bar: {_said(reason)}")
        for name, session, reason in zip(
            unexplained["instrument"], unexplained["timestamp"], reasons[~excused], strict=True
        )
    ]
    return Coverage(missing, _by_instrument(expected, absent, reasons.where(excused, "missing")))


def expected_sessions(selection: Selection, active: Collection[str], latest: date) -> pd.DataFrame:
    """instrument, timestamp and partition `key` of every session of the cells up to `latest`, sorted by them."""
    names = sorted(set(selection.instruments) & set(active))
    columns = ["instrument", "timestamp", "key"]
    if not names:
        return pd.DataFrame(columns=columns)
    first = pd.Timestamp(selection.starts.min()).date()
    last = min(latest, (pd.Timestamp(selection.ends.max()) - pd.Timedelta(days=1)).date())
    days = sessions(first, last)
    every = pd.DataFrame(
        {"instrument": np.repeat(np.array(names, dtype=object), len(days)), "timestamp": np.tile(days, len(names))}
    )
    cells = selection.cell_of(every["instrument"], every["timestamp"])
    keys = np.array(selection.keys, dtype=object)
    return every.assign(key=keys[cells])[cells >= 0].reset_index(drop=True)


def recorded_outcomes(database: Database, keys: Iterable[str]) -> dict[str, str]:
    """Partition key of tt_prices → what the ledger says came of it; keys that nothing was written of are left out."""
    wanted = [CellKey.parse(key) for key in keys]
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT s.date::text, s.instrument, s.outcome FROM unnest(%s::date[], %s::text[]) AS k(d, i) "
            "JOIN tt_slice AS s ON s.table_name = 'tt_prices' AND s.date = k.d AND s.instrument = k.i "
            "WHERE s.digest IS NOT NULL AND s.outcome IS NOT NULL",
            [[key.date for key in wanted], [key.instrument for key in wanted]],
        ).fetchall()
    return {str(CellKey(day, name)): outcome for day, name, outcome in rows}


def _reasons(absent: pd.DataFrame, stored: pd.DataFrame, database: Database) -> pd.Series:
    """For each absent session the excuse among `EXCUSES` that was recorded, else the words that were, else none."""
    begun = absent["instrument"].map(stored.groupby("instrument")["timestamp"].min())
    early = absent["timestamp"] < begun.fillna(pd.Timestamp.max)
    # Whatever was not listed on one session was not on any before it: one look-up an instrument answers for years.
    asked = absent[~early | ~absent["instrument"].where(early).duplicated(keep="last")]
    outcomes = recorded_outcomes(database, asked["key"])
    found = absent["key"].map(outcomes)
    listed_later = absent[early & (found.map(_excuse, na_action="ignore") == NOT_LISTED)]
    unlisted = absent["instrument"].map(listed_later.groupby("instrument")["timestamp"].max())
    certain = early & (absent["timestamp"] <= unlisted)
    unsettled = early & ~certain & found.isna()
    if unsettled.any():
        found = found.fillna(absent["key"].map(recorded_outcomes(database, absent.loc[unsettled, "key"])))
    excuse = found.map(_excuse, na_action="ignore")
    # A month or year in which an instrument was listed may be the one in which it ended.
    told = found.map(lambda outcome: ENDED in outcome, na_action="ignore").eq(True)
    ended = told & ~early & (absent["timestamp"] > _last_bars(absent, stored))
    return excuse.mask(ended, ENDED).mask(certain, NOT_LISTED).astype(object)


def _last_bars(absent: pd.DataFrame, stored: pd.DataFrame) -> pd.Series:
    """The last stored bar of the instrument of each absent session; before all of them where it has none."""
    return absent["instrument"].map(stored.groupby("instrument")["timestamp"].max()).fillna(pd.Timestamp.min)


def _excuse(outcome: str) -> str:
    return next((excuse for excuse in EXCUSES if excuse in outcome), outcome)


def _said(reason: object) -> str:
    if not isinstance(reason, str):
        return "never loaded; materialize this partition"
    if reason == ENDED:
        return "the source has no more bars of it; bring its bars up to date, or retire it"
    return f"recorded as {reason} but not stored; materialize this partition again"


def _by_instrument(expected: pd.DataFrame, absent: pd.DataFrame, said: pd.Series) -> pd.DataFrame:
    counts = pd.crosstab(absent["instrument"], said) if len(absent) else pd.DataFrame()
    table = pd.DataFrame({"expected": expected.groupby("instrument").size()})
    for column in (*EXCUSES, "missing"):
        table[column] = counts.get(column, 0)
    table = table.fillna(0).astype(int)
    table.insert(1, "stored", table["expected"] - table[[*EXCUSES, "missing"]].sum(axis=1))
    return table.loc[:, ["expected", "stored", *(name for name in (*EXCUSES, "missing") if table[name].any())]]


def as_markdown(by_instrument: pd.DataFrame, rows: int) -> str:
    """`by_instrument` as a table, the instruments with most missing sessions first, at most `rows` of them."""
    missing = by_instrument.get("missing", pd.Series(0, index=by_instrument.index))
    order = missing.sort_values(ascending=False, kind="stable").index
    return by_instrument.loc[order].head(rows).to_markdown()
