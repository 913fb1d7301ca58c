"""The checks of the episode tables, as Dagster asset checks that read what is stored.

They are an op of their own behind the episodes, as those of the market tables are, so that a person can
make them without rolling anything. In a run they judge its windows, and a failing one blocks what lies downstream; a
run without partitions judges every episode there is. They say which window, who acted and how far off.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dagster as dg

from tt_assets.assets.episode_rules import CHECKS
from tt_assets.assets.stored_episodes import FINISHED, judged
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.partitions import Window, windows_of
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_reader import windows_with_episodes
from tt_assets.runs.check_events import (
    PartitionEvaluation,
    partitions_of,
    report_behind_failure,
    report_partitions,
    target_latest,
)
from tt_assets.runs.market_reader import MarketReader
from tt_assets.trading.judging.checks import CheckResult

CHECKED = "tt_episode"

STORED: dict[str, str] = {
    FINISHED: "Every episode is closed; one that fails a check while it is rolled never is, and nobody reads it.",
    **CHECKS,
}
"""The checks by name, in the words of the UI."""

SHOWN = 20
"""Failing episodes that the evaluation of a run shows."""

Verdict = tuple[Window, str, CheckResult]
"""The window, who acted, and what a check says of it."""


def episode_checks(plan: Blueprint) -> dg.AssetChecksDefinition:
    """The checks of the stored episodes as one op, of which each can be chosen alone."""

    @dg.multi_asset_check(
        name=f"{CHECKED}_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=CHECKED, description=meaning, blocking=True)
            for name, meaning in STORED.items()
        ],
        description="What must hold of every episode, read from the nine tables.",
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext,
        market: dg.ResourceParam[MarketReader],
        database: dg.ResourceParam[Database],
    ) -> Iterator[dg.AssetCheckResult]:
        """Judge the stored episodes of the run's windows."""
        names = {key.name for key in context.selected_asset_check_keys}
        target_latest(context, CHECKED)
        keys = partitions_of(context.run, context.instance, plan.window_partitions)
        verdicts = [
            (window, f"{episode.header['strategy']} {episode.header['seed']}", verdict)
            for window in _windows(keys, database)
            for episode, said in judged(window, database, market, plan)
            for verdict in said
            if verdict.name in names
        ]
        report_partitions(context.instance, context.run, CHECKED, by_window(verdicts))
        results = list(check_results([name for name in STORED if name in names], verdicts))
        report_behind_failure(context, results, names)
        yield from results

    return checks


def _windows(keys: Sequence[str] | None, database: Database) -> Sequence[Window]:
    """The windows of partition `keys`; every window with an episode where there are none."""
    if keys is not None:
        return windows_of(keys)
    return [Window(start, traded) for start, traded in windows_with_episodes(database)]


def check_results(names: Iterable[str], verdicts: Sequence[Verdict]) -> Iterator[dg.AssetCheckResult]:
    """One result for each check of `names` over all episodes of a run."""
    for name in names:
        found = [verdict for verdict in verdicts if verdict[2].name == name]
        bad = [verdict for verdict in found if not verdict[2].passed]
        worst = max((result.worst for _, _, result in found), default=0.0)
        metadata: dict[str, Any] = {"episodes": len(found), "worst_deviation": float(worst)}
        description = f"holds in {len(found)} episodes"
        if bad:
            said = [f"{window.key()} {who}: {result.finding}" for window, who, result in bad]
            metadata["failing_episodes"] = len(bad)
            metadata["failing"] = dg.MetadataValue.json(said[:SHOWN])
            # All that a command line and an alert say of it.
            description = f"{len(bad)} of {len(found)} episodes fail, the first {said[0].rstrip('.')}"
        yield dg.AssetCheckResult(
            passed=not bad,
            check_name=name,
            asset_key=CHECKED,
            metadata=metadata,
            severity=dg.AssetCheckSeverity.ERROR,
            description=description,
        )


def by_window(verdicts: Iterable[Verdict]) -> Iterator[PartitionEvaluation]:
    """One evaluation for each check and window; it fails where any of the window's episodes does."""
    found: dict[tuple[str, str], list[tuple[str, CheckResult]]] = {}
    for window, who, result in verdicts:
        found.setdefault((result.name, window.key()), []).append((who, result))
    for (name, key), results in found.items():
        said = [f"{who}: {result.finding}" for who, result in results if not result.passed]
        shown = said or [f"holds in {len(results)} episodes"]
        yield PartitionEvaluation(name, key, passed=not said, metadata={"episodes": dg.MetadataValue.json(shown)})
