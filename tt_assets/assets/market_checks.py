"""What must hold of the market tables, as Dagster asset checks that read what is stored.

The checks of a table are an op of their own behind the asset, so that a person can run them without
writing anything. In a run they judge its partitions, and a failing blocking one stops what lies downstream; a run
without partitions judges everything there is. What fails is said once for the run and once for each partition.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import Any

import dagster as dg
import pandas as pd

from tt_assets.assets.coverage import as_markdown, coverage, latest_session
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.partition_slices import selection_of
from tt_assets.grid.rectangles import most_cells
from tt_assets.market.bar_checks import SIGMA_SESSIONS, Finding, broken_bars, jumps
from tt_assets.market.calendar import sessions
from tt_assets.postgres.slices import Selection
from tt_assets.research import feature_checks as research
from tt_assets.research.registry import longest_lookback
from tt_assets.runs.check_events import (
    REMEDY,
    PartitionEvaluation,
    partitions_of,
    report_behind_failure,
    report_partitions,
    target_latest,
)
from tt_assets.runs.market_reader import MarketReader
from tt_assets.tables import MARKET_TABLES

SAMPLED_SESSIONS = 5
"""Sessions, of those judged together, whose features are computed again on truncated bars."""

REPORTED = 1_000
"""Failing partitions of one check and run that are reported by name; the evaluation of the run counts them all."""

SHOWN = 20
"""Findings, and instruments of the coverage, that the evaluation of a run shows."""

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@dataclass(frozen=True)
class Judged:
    """The partitions a check judges, and their rows, which all checks of a table share."""

    selection: Selection
    market: MarketReader
    instance: dg.DagsterInstance
    plan: Blueprint

    @property
    def since(self) -> pd.Timestamp:
        """First moment of the partitions."""
        return pd.Timestamp(self.selection.starts.min())

    @cached_property
    def bars(self) -> pd.DataFrame:
        """Bars of the partitions' span, closed days included, and of the sessions before that any check reads."""
        return self._read("tt_prices", max(SIGMA_SESSIONS, longest_lookback(self.plan.features)))

    @cached_property
    def features(self) -> pd.DataFrame:
        """Rows of tt_features over the partitions' span."""
        return self._read("tt_features")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Rows of tt_signal_scores over the partitions' span."""
        return self._read("tt_signal_scores")

    def _read(self, table: str, sessions_before: int = 0) -> pd.DataFrame:
        # Five sessions take a week, and no closure of the exchange has lasted a fortnight.
        before = timedelta(days=sessions_before * 7 // 5 + 14) if sessions_before else timedelta(0)
        last = pd.Timestamp(self.selection.ends.max()) - pd.Timedelta(days=1)
        names = sorted(set(self.selection.instruments))
        return self.market.read(table, names, self.since.date() - before, last.date())


@dataclass(frozen=True)
class Found:
    """What a check found in the rows it judged, and what else is worth showing."""

    findings: Sequence[Finding]
    rows: int
    shown: Mapping[str, Any] = field(default_factory=dict)
    looked_at: tuple[pd.Timestamp, ...] | None = None
    """The sessions that were judged, where they are not all of the run's."""
    of_the_run: int = 0
    """Sessions of the run."""


def _bars_are_sound(judged: Judged) -> Found:
    bars = judged.bars[judged.bars["timestamp"] >= judged.since]
    return Found(broken_bars(bars), len(bars))


def _no_jumps(judged: Judged) -> Found:
    found = jumps(judged.bars, judged.since, judged.plan.settings.jump_sigmas)
    return Found(found, int((judged.bars["timestamp"] >= judged.since).sum()))


def _sessions_complete(judged: Judged) -> Found:
    settings = judged.plan.settings
    active = followed(settings).watchlist.symbols
    latest = latest_session(settings)
    covered = coverage(judged.selection, judged.bars, active, latest, judged.market.database)
    table = dg.MetadataValue.md(as_markdown(covered.by_instrument, SHOWN))
    return Found(covered.missing, int(covered.by_instrument["expected"].sum()), {"by_instrument": table})


def _values_are_finite(judged: Judged) -> Found:
    return Found(research.values_not_finite(judged.features), len(judged.features))


def _values_where_due(judged: Judged) -> Found:
    found = research.values_out_of_place(judged.features, judged.bars, judged.plan.features, judged.since)
    return Found(found, len(judged.features))


def _no_look_ahead(judged: Judged) -> Found:
    span = sessions(judged.since.date(), pd.Timestamp(judged.selection.ends.max()).date() - timedelta(days=1))
    sampled = research.evenly(list(span), SAMPLED_SESSIONS)
    found = research.values_that_differ_on_truncated_bars(judged.features, judged.bars, judged.plan.features, sampled)
    said = ", ".join(f"{session:%Y-%m-%d}" for session in sampled)
    rows = int(judged.features["timestamp"].isin(sampled).sum())
    return Found(found, rows, {"sampled_sessions": said}, looked_at=tuple(sampled), of_the_run=len(span))


def _scores_within_bounds(judged: Judged) -> Found:
    return Found(research.scores_out_of_bounds(judged.scores), len(judged.scores))


def _meta_json_is_valid(judged: Judged) -> Found:
    return Found(research.meta_json_not_an_object(judged.scores), len(judged.scores))


@dataclass(frozen=True)
class MarketCheck:
    """A check of a market table: what it says, how bad a failure is, and the judge."""

    spec: dg.AssetCheckSpec
    severity: dg.AssetCheckSeverity
    judge: Callable[[Judged], Found]
    remedy: str
    """What to do about a failure."""

    @property
    def table(self) -> str:
        """The table it guards."""
        return self.spec.asset_key.path[-1]


def _check(
    table: str,
    judge: Callable[[Judged], Found],
    description: str,
    remedy: str,
    *,
    blocking: bool = True,
    warns: bool = False,
) -> MarketCheck:
    name = judge.__name__.removeprefix("_")
    spec = dg.AssetCheckSpec(name, asset=table, description=description, blocking=blocking)
    return MarketCheck(spec, WARN if warns else ERROR, judge, remedy)


CHECKS: Mapping[str, Sequence[MarketCheck]] = {
    "tt_prices": (
        _check(
            "tt_prices",
            _bars_are_sound,
            "Prices are positive and finite, low ≤ open, close ≤ high, on a session of the exchange, once.",
            "mend the bars in the source, then `tt backfill tt_prices` for these partitions",
        ),
        _check(
            "tt_prices",
            _no_jumps,
            f"No close lies more than TT_JUMP_SIGMAS standard deviations of the last {SIGMA_SESSIONS} returns from "
            "the one before. A warning: a split that was not adjusted for looks like this, and so does news.",
            "adjust the bars where it was a split; raise TT_JUMP_SIGMAS where it was news",
            blocking=False,
            warns=True,
        ),
        _check(
            "tt_prices",
            _sessions_complete,
            "Every session up to the latest closed one has a bar of every instrument on the watchlist, or a recorded "
            "reason for having none: not listed yet, or no bar in the source.",
            "`tt status --partitions` says what is missing; `tt backfill tt_prices` loads it",
            blocking=False,
        ),
    ),
    "tt_features": (
        _check(
            "tt_features",
            _values_are_finite,
            "No value is infinite or NaN; an undefined value is no row.",
            "have the feature give NaN where it is undefined, then `tt backfill tt_features`",
        ),
        _check(
            "tt_features",
            _values_where_due,
            "A value is missing only where its look-back is not full yet or a bar is missing, and there only where a "
            "bar is.",
            "`tt backfill tt_features` computes them again",
        ),
        _check(
            "tt_features",
            _no_look_ahead,
            f"On {SAMPLED_SESSIONS} sessions of the run, features computed again on bars that end with the session and "
            "begin with their look-back are the stored ones.",
            "have the feature read nothing behind its session and declare what it reads before, then "
            "`tt backfill tt_features`",
        ),
    ),
    "tt_signal_scores": (
        _check(
            "tt_signal_scores",
            _scores_within_bounds,
            "Every score lies in [-1, 1].",
            "have the signal stay in its bounds, then `tt backfill tt_signal_scores`",
        ),
        _check(
            "tt_signal_scores",
            _meta_json_is_valid,
            "meta_json is a JSON object.",
            "mend what wrote them, then `tt backfill tt_signal_scores`",
        ),
    ),
}
"""The checks of each market table, in the order they are made."""


def check_op(table: str, plan: Blueprint) -> dg.AssetChecksDefinition:
    """The checks of `table` as one op, of which each can be chosen alone."""

    @dg.multi_asset_check(
        name=f"{table}_checks",
        specs=[check.spec for check in CHECKS[table]],
        description=f"What must hold of {table}, read from the database.",
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, market: dg.ResourceParam[MarketReader]
    ) -> Iterator[dg.AssetCheckResult]:
        chosen = [check for check in CHECKS[table] if check.spec.key in context.selected_asset_check_keys]
        selection = selection_of(
            plan.market_partitions, partitions_judged(context.run, context.instance, plan.market_partitions)
        )
        target_latest(context, table)
        results = list(evaluated(chosen, selection, market, context.instance, context.run, plan))
        report_behind_failure(context, results, {check.spec.name for check in chosen if check.spec.blocking})
        yield from results

    return checks


def partitions_judged(
    run: dg.DagsterRun, instance: dg.DagsterInstance, partitions: dg.MultiPartitionsDefinition
) -> Sequence[str]:
    """Market partitions of `run`; all there are where it names none."""
    named = partitions_of(run, instance, partitions)
    if named is not None:
        return named
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        return partitions.get_partition_keys()


def evaluated(
    checks: Sequence[MarketCheck],
    selection: Selection,
    market: MarketReader,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    plan: Blueprint,
) -> Iterator[dg.AssetCheckResult]:
    """The result of each check over all of `selection`; what fails is reported by partition too."""
    found: dict[str, list[Found]] = {check.spec.name: [] for check in checks}
    failing: dict[str, dict[str, str]] = {check.spec.name: {} for check in checks}
    # Of many partitions some instruments at a time.
    for part in selection.parts(most_cells(plan.settings.date_grain)):
        judged = Judged(part, market, instance, plan)
        for check in checks:
            one = check.judge(judged)
            found[check.spec.name].append(one)
            failing[check.spec.name] |= _by_cell(part, one.findings)
    for check in checks:
        cells = failing[check.spec.name]
        report_partitions(instance, run, check.table, _by_partition(check, selection, cells, run))
        yield _result(check, found[check.spec.name], cells, len(selection))


def _by_partition(
    check: MarketCheck, selection: Selection, cells: Mapping[str, str], run: dg.DagsterRun
) -> Iterator[PartitionEvaluation]:
    """What the check says of each partition; of more than `REPORTED` that fail the rest is left out."""
    link = dg.MetadataValue.dagster_run(run.run_id)
    for key, reason in islice(cells.items(), REPORTED):
        metadata = {"reason": reason, "run": link}
        yield PartitionEvaluation(check.spec.name, key, False, metadata, check.severity, check.spec.blocking)
    for key in selection.keys:
        if key not in cells:
            yield PartitionEvaluation(check.spec.name, key, True, {}, check.severity, check.spec.blocking)


def _by_cell(selection: Selection, findings: Sequence[Finding]) -> dict[str, str]:
    """Partition key → what was found in it; what lies on no partition belongs to the one before it."""
    said: dict[str, list[str]] = {}
    if findings:
        frame = pd.DataFrame(findings, columns=["instrument", "timestamp", "said"])
        for cell, words in zip(selection.cell_before(frame["instrument"], frame["timestamp"]), findings, strict=True):
            if cell >= 0:
                said.setdefault(selection.keys[cell], []).append(f"{words.session:%Y-%m-%d} {words.message}")
    return {key: "; ".join(words) for key, words in said.items()}


def _result(check: MarketCheck, found: Sequence[Found], cells: Mapping[str, str], judged: int) -> dg.AssetCheckResult:
    findings = [finding for one in found for finding in one.findings]
    metadata: dict[str, Any] = {"partitions": judged, "rows": sum(one.rows for one in found)}
    for one in found:
        metadata |= one.shown
    if findings:
        shown = pd.DataFrame(findings[:SHOWN], columns=["instrument", "session", "what"])
        shown["session"] = shown["session"].dt.strftime("%Y-%m-%d")
        metadata["failing_partitions"] = len(cells)
        metadata["findings"] = dg.MetadataValue.md(shown.to_markdown(index=False))
        metadata["reasons"] = dg.MetadataValue.json(dict(list(cells.items())[:SHOWN]))
        if len(cells) > REPORTED:
            metadata["reported_by_name"] = REPORTED
        metadata[REMEDY] = check.remedy
    said = _of_sessions(found) or _of_partitions(cells, judged)
    return dg.AssetCheckResult(
        passed=not findings,
        check_name=check.spec.name,
        asset_key=check.spec.asset_key,
        severity=check.severity,
        description=said or f"holds in {judged:,} partitions",
        metadata=metadata,
    )


def _of_partitions(cells: Mapping[str, str], judged: int) -> str:
    """How many partitions fail and the first of them; empty where none does."""
    first = next(iter(cells.items()), None)
    return f"{len(cells):,} of {judged:,} partitions fail, the first is {first[0]}: {first[1]}" if first else ""


def _of_sessions(found: Sequence[Found]) -> str:
    """As `_of_partitions`, of a check that looked at some sessions only; what is wrong is named once a feature."""
    looked_at = {session for one in found for session in one.looked_at or ()}
    findings = [finding for one in found for finding in one.findings]
    if not (looked_at and findings):
        return ""
    failing = {finding.session for finding in findings}
    # The words of a finding begin with the feature, and what is behind the first colon or "is" is of one session.
    subjects = dict.fromkeys(finding.message.partition(":")[0].partition(" is ")[0] for finding in findings)
    named = ", ".join(list(subjects)[:SHOWN]) + (f" and {len(subjects) - SHOWN} more" if len(subjects) > SHOWN else "")
    of_the_run = max(one.of_the_run for one in found)
    return f"{len(failing)} of {len(looked_at)} sessions looked at ({of_the_run:,} in the run) fail: {named}"


def market_checks(plan: Blueprint) -> list[dg.AssetChecksDefinition]:
    """The checks of the three market tables, an op each."""
    return [check_op(table, plan) for table in MARKET_TABLES]
