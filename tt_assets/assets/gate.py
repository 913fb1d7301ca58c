"""`tt promote`: the gate over one traded key, what it found, and the check that says whether a promotion stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import dagster as dg
import numpy as np
import pandas as pd

from tt_assets.assets.judging import Subject, judgement_of, subject_of
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.market.calendar import shift_session
from tt_assets.postgres.database import Database
from tt_assets.postgres.promotions import (
    Promotion,
    PromotionStatus,
    bars_digest,
    promotion_status,
    record_promotion,
)
from tt_assets.postgres.trials import SWEEP, RegisteredTrial, count, latest, trials_of
from tt_assets.runs.market_reader import MarketReader
from tt_assets.trading.judging.gate import Evidence, RuleResult, most_in_common, refusal, rule_version, rules
from tt_assets.trading.judging.judge import Judgement


@dataclass(frozen=True)
class Decided:
    """What the gate decided: number of the decision, and each rule."""

    traded: str
    promoted: bool
    number: int
    rules: tuple[RuleResult, ...]
    refusal: str
    until: str


def decide(market: MarketReader, traded: str, plan: Blueprint) -> Decided:
    """Judge the agents of `traded`, ask every rule, and write the decision.

    Raises UserError where there is nothing to judge.
    """
    settings = plan.settings
    subject = subject_of(market, traded, plan)
    number, judgement = judgement_of(subject, market, source="promote")
    results = rules(_evidence(subject, judgement, market), settings.gate)
    said = refusal(results)
    sessions = judgement.chains[judgement.subject, 0].timestamps
    first = pd.Timestamp(subject.windows[0].panel.sessions[0]).date()
    last = sessions[-1].date()
    members = sorted({name for window in subject.windows for name in window.panel.instruments})
    expires = shift_session(last, settings.gate.lifetime)
    decision = Promotion(
        instrument=traded,
        trial=number,
        promoted=not said,
        rule_version=rule_version(settings.gate),
        rules=[asdict(result) for result in results],
        agents=subject.agents,
        members=members,
        bars=bars_digest(market.database, members, first, last, grain=market.grain),
        first_session=first,
        last_session=last,
        expires=expires,
        refusal=said,
    )
    written = record_promotion(market.database, decision)
    return Decided(traded, not said, written, tuple(results), said, f"{expires}")


def _evidence(subject: Subject, judgement: Judgement, market: MarketReader) -> Evidence:
    settings, trading = subject.plan.settings, subject.plan.trading_of(subject.traded)
    trials = trials_of(market.database, subject.traded)
    # A sweep validates on sessions before the windows, so its trials share none with those of the windows.
    windowed, swept = (
        [(trial.sessions, trial.returns) for trial in latest([one for one in trials if bool(one.windows) is judged])]
        for judged in (True, False)
    )
    return Evidence(
        judgement=judgement,
        trials=count(trials),
        returns=most_in_common(windowed, swept),
        left_out=list(_left_out(subject)),
        unsound=[*_unsound(subject, market), *chosen_on(subject, trials)],
        initial_cash=trading.initial_cash,
        capital=settings.gate.capital or trading.initial_cash,
    )


def _left_out(subject: Subject) -> Iterator[str]:
    """Quarters between the windows judged that were not."""
    for before, after in pairwise(subject.rows):
        if before.end != after.start:
            yield f"{before.end} to {after.start}"


def _unsound(subject: Subject, market: MarketReader) -> Iterator[str]:
    """Episodes that were never closed, and windows that were rolled on other content than there is now."""
    with market.database.connect() as connection:
        opened = connection.execute(
            "SELECT window_start, strategy, seed FROM tt_episode WHERE instrument = %s AND end_time IS NULL "
            "ORDER BY 1, 2, 3",
            [subject.traded],
        ).fetchall()
        failed = connection.execute(
            "SELECT date, failure->>'reason' FROM tt_slice WHERE table_name = 'tt_episode' AND instrument = %s "
            "AND failure IS NOT NULL ORDER BY 1",
            [subject.traded],
        ).fetchall()
    judged = {window.start for window in subject.rows}
    for start, strategy, seed in opened:
        if start in judged:
            yield f"{strategy} {seed} of {start} was never closed"
    for start, reason in failed:
        if start in judged:
            yield f"{start}: {reason}"
    restated = stale_windows(subject, market)
    yield from (f"{start} was rolled on other bars, scores or agents than there are now" for start in restated)


def chosen_on(subject: Subject, trials: Sequence[RegisteredTrial]) -> Iterator[str]:
    """Windows on whose sessions a sweep has chosen: they can judge nothing any more."""
    last = max((trial.sessions[-1] for trial in trials if trial.source == SWEEP and len(trial.sessions)), default=None)
    for window in subject.rows:
        if last is not None and np.datetime64(window.start) <= last:
            yield f"{window.start} is among what a sweep chose on"


def stale_windows(subject: Subject, market: MarketReader) -> list[str]:
    """First days of the windows whose episodes say that they were rolled on something else than what was read now."""
    with market.database.connect() as connection:
        stored = dict(
            connection.execute(
                "SELECT date, reads FROM tt_slice WHERE table_name = 'tt_episode' AND instrument = %s AND rows > 0",
                [subject.traded],
            ).fetchall()
        )
    return [
        f"{window.start}"
        for window, read in subject.reads.items()
        if stored.get(window.start) is not None and np.int64(stored[window.start]) != np.int64(read)
    ]


def status_of(market: MarketReader, traded: str, latest_session: pd.Timestamp, plan: Blueprint) -> PromotionStatus:
    """`promotion_status` under the settings of the platform."""
    return promotion_status(market.database, traded, latest_session.date(), grain=plan.settings.date_grain)


def promotion_check(plan: Blueprint) -> dg.AssetChecksDefinition:
    """The check of the asset `report` that every promotion ever given still stands."""

    @dg.asset_check(asset="report", name="promotion_stands", description="What was promoted once still is.")
    def promotion_stands(database: dg.ResourceParam[Database]) -> dg.AssetCheckResult:
        """Warn of promotions that have lapsed; what was never promoted is only listed."""
        with database.connect() as connection:
            once = {name for (name,) in connection.execute("SELECT instrument FROM tt_promotion WHERE promoted")}
            row = connection.execute(
                "SELECT max(date) FROM tt_slice WHERE table_name = 'tt_prices' AND rows > 0"
            ).fetchone()
        newest = row[0] if row and row[0] else None
        found = {
            name: promotion_status(database, name, newest, grain=plan.settings.date_grain)
            for name in followed(plan.settings).watchlist.traded
            if newest is not None
        }
        lapsed = {name: status for name, status in found.items() if name in once and not status.promoted}
        return dg.AssetCheckResult(
            passed=not lapsed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={name: str(status) for name, status in found.items() if name in once or status.promotion},
            description="; ".join(f"{name} {status}" for name, status in lapsed.items())
            or f"{len(once)} promoted, none has lapsed",
        )

    return promotion_stands
