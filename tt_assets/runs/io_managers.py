"""What Dagster calls to persist and load the tables.

An IO manager only translates. Partition keys become a `Selection`, the stores write or read it, and what
they report becomes metadata of each cell. Every set of keys is taken: `asset_partition_keys` is unordered and may be
any subset of the grid, so nothing here assumes a rectangle.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from tt_assets.grid.keys import CellKey
from tt_assets.grid.partition_slices import OutsideRun, cells_around, selection_of
from tt_assets.market.bar_checks import Finding
from tt_assets.postgres.database import Database
from tt_assets.postgres.episode_reader import finished_rows
from tt_assets.postgres.episode_store import EpisodeStore, EpisodeSummary
from tt_assets.postgres.ledger import Entry, Provenance, next_fetch
from tt_assets.postgres.restated import RESTATED, RESTATEMENTS, Cause, describe, remedy
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.runs import progress
from tt_assets.runs._dagster import add_metadata, materialized
from tt_assets.runs.asset_page import preview, whole_table
from tt_assets.runs.attempts import plan_by_name
from tt_assets.runs.failures import FAILED, FAILED_TOO, named
from tt_assets.runs.session_names import name_after_run
from tt_assets.runs.slices_read import SlicesRead, noted
from tt_assets.tables import TABLES, content_columns

DATE_COLUMN = {"tt_policy": "window_start"}
SOURCE_TAG = "tt/source"
"""Tag of a run that a sensor asked for: the state of the price source."""
OVERTAKEN = "overtaken: a later reading had written it, and its rows stay"
REASONS_SHOWN = 10
NAMED = 1_000
"""Failed partitions that the failure of a step names one by one in its metadata; the others stand behind their reason,
which thousands of them share."""


@dataclass(frozen=True)
class Slices:
    """Rows for the partitions of a run, with what is to be said of single partitions.

    Parameters
    ----------
    frame : rows of the run's partitions, columns as of `SliceStore.write`.
    failed : partition key → why it must not be written: its stored rows stay as they are, the other partitions land,
        and the step fails with the reasons.
    outcomes : partition key → words for its metadata.
    warnings : said in the run's log.
    elsewhere : rows outside the run's partitions that replace stored ones of the same key, in the same transaction.
    causes : instrument → why stored values may differ, else SOURCE_CHANGED: every partition whose stored rows changed
        says so (see `restated`), and those of `elsewhere` are materialized as well. None compares nothing.
    metadata : partition key → further entries of its metadata.
    of_the_run : entries that the asset's page is to show.
    fetch : number of the reading they were made of (`ledger.next_fetch`, drawn before it began; None: now). A partition
        that a later reading has written keeps that one's rows.
    code : version of what computed them.
    reads : partition key → sum of the digests it was computed from.
    """

    frame: pd.DataFrame
    failed: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    elsewhere: pd.DataFrame | None = None
    causes: Mapping[str, Cause] | None = None
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    of_the_run: Mapping[str, Any] = field(default_factory=dict)
    fetch: int | None = None
    code: str | None = None
    reads: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeRows:
    """Rows of one episode table for all episodes of a run.

    Parameters
    ----------
    frame : the rows.
    counts : partition key → rows; once they are recorded, those the table holds.
    digests : partition key → digest of what the table holds, once recorded.
    written : what there is to say of the writing, once recorded.
    metadata : partition key → further entries of its metadata.
    of_the_run : entries that the asset's page is to show.
    """

    frame: pd.DataFrame
    counts: Mapping[str, int]
    digests: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    of_the_run: Mapping[str, Any] = field(default_factory=dict)


def with_pictures(
    per_cell: Mapping[str, Mapping[str, Any]],
    metadata: Mapping[str, Mapping[str, Any]],
    of_the_run: Mapping[str, Any],
    last: str,
) -> dict[str, dict[str, Any]]:
    """Metadata of partitions with what is to be shown in front.

    An asset's page shows the event that came last, of whatever partition; copying what is said of a run into all its
    partitions would swell the event log.

    Parameters
    ----------
    per_cell : partition key → what is said of each.
    metadata : partition key → entries that stand in front of it.
    of_the_run : entries that stand in front on one partition.
    last : key of the one whose event comes last.

    Returns
    -------
    Of the keys of `per_cell`.
    """
    first = {**metadata, last: {**of_the_run, **metadata.get(last, {})}}
    return {key: {**first.get(key, {}), **own} for key, own in per_cell.items()}


def refused_cells(selection: Selection, findings: Sequence[Finding]) -> dict[str, str]:
    """The partitions of a selection that hold a refused value.

    Parameters
    ----------
    selection : what is about to be written.
    findings : of any instruments and sessions; those of no cell are left out.

    Returns
    -------
    Partition key → all that is wrong with it.
    """
    names = pd.Series([finding.instrument for finding in findings], dtype=object)
    sessions = pd.Series([finding.session for finding in findings], dtype="datetime64[ns]")
    failed: dict[str, str] = {}
    for cell, finding in zip(selection.cell_of(names, sessions).tolist(), findings, strict=True):
        if cell >= 0:
            key = selection.keys[cell]
            failed[key] = f"{failed[key]}; {finding.message}" if key in failed else finding.message
    return failed


class PartitionsFailed(dg.Failure):
    """The failure of a step some of whose partitions could not be made; it names them and why.

    Parameters
    ----------
    failed : partition key → reason.
    description : for people.
    """

    def __init__(self, failed: Mapping[str, str], description: str) -> None:
        ordered = sorted(failed.items())
        metadata: dict[str, dg.MetadataValue] = {FAILED: dg.MetadataValue.json(dict(ordered[:NAMED]))}
        if len(ordered) > NAMED:
            by_reason: dict[str, list[str]] = {}
            for key, reason in ordered[NAMED:]:
                by_reason.setdefault(reason, []).append(key)
            metadata[FAILED_TOO] = dg.MetadataValue.json(by_reason)
        super().__init__(description, metadata=metadata, allow_retries=False)
        self.failed = failed


def refuse(table: str, failed: Mapping[str, str], total: int) -> PartitionsFailed:
    """What to raise where some of the partitions of a step could not be made.

    Parameters
    ----------
    table : of the step.
    failed : partition key → reason.
    total : partitions that were asked for.
    """
    reasons: dict[str, list[str]] = {}
    for key, reason in sorted(failed.items()):
        reasons.setdefault(reason, []).append(key)
    shown = "; ".join(
        f"{keys[0]}{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}: {reason}"
        for reason, keys in list(reasons.items())[:REASONS_SHOWN]
    )
    more = f"; and {len(reasons) - REASONS_SHOWN} further reasons" if len(reasons) > REASONS_SHOWN else ""
    return PartitionsFailed(
        failed, f"{table}: {len(failed)} of {total} partitions failed, the others landed. {shown}{more}"
    )


class SliceIOManager(dg.ConfigurableIOManager):
    """Persists `tt_prices`, `tt_features`, `tt_signal_scores` and `tt_policy`, slice by slice."""

    database: dg.ResourceDependency[Database]
    preview_up_to: int = Field(
        default=20, description="Runs of at most this many partitions show a table of their first rows."
    )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Have the run's sessions named after it, before the first of them is opened."""
        name_after_run(context)

    def _store(self, context: dg.OutputContext | dg.InputContext) -> SliceStore:
        table = TABLES[context.asset_key.path[-1]]
        return SliceStore(self.database, table, DATE_COLUMN.get(table.name, "timestamp"))

    def handle_output(  # type: ignore[override]  # Dagster runs a generator too
        self, context: dg.OutputContext, obj: pd.DataFrame | Slices
    ) -> Iterator[Any]:
        """Replace the run's slice; the partitions in `Slices.failed` keep their rows and fail the step afterwards."""
        slices = obj if isinstance(obj, Slices) else Slices(obj)
        store = self._store(context)
        keys = context.asset_partition_keys
        selection = selection_of(context.asset_partitions_def, keys).without(slices.failed)
        beyond, frame = _with_elsewhere(store, context.asset_partitions_def, slices)
        everything = selection.joined(beyond.cells)
        run = context.step_context.dagster_run
        provenance = Provenance(
            run_id=run.run_id,
            fetch=slices.fetch,
            code=slices.code,
            source=run.tags.get(SOURCE_TAG),
            reads=slices.reads,
            outcomes=slices.outcomes,
            causes=slices.causes,
        )
        written = store.write(everything, frame, provenance)
        outcomes = {**slices.outcomes, **dict.fromkeys(written.overtaken, OVERTAKEN)}
        per_cell: dict[str, dict[str, Any]] = {
            key: {"dagster/row_count": rows, "digest": digest, **_outcome(outcomes.get(key), rows)}
            for key, rows, digest in zip(everything.keys, written.rows, written.digests, strict=True)
        }
        if written.overtaken:
            words = f"{store.table.name}: {named(written.overtaken)} overtaken by a later reading, whose rows stay"
            context.log.warning(words)
            progress.report(f"{words}.")
        metadata = self._describe(store.table.name, selection, written.total, written.seconds)
        context.log.info(
            f"{store.table.name}: {written.total:,} rows in {len(everything):,} partitions, {written.seconds:.2f} s"
        )
        restated = written.restated
        for key, said in restated.items():
            per_cell[key][RESTATED] = dg.MetadataValue.json(dict(said))
        if restated:
            metadata[RESTATEMENTS] = words = describe(restated, everything)
            context.log.warning(f"{store.table.name}: {words}")
            progress.report(f"{words}. {remedy(restated)}")
        others = {key: per_cell.pop(key) for key in beyond.cells.keys}
        changed = {key: own for key, own in others.items() if key in restated and key in beyond.partitions}
        yield from landed(context.step_context, context.asset_key, changed)
        plan_by_name(context.step_context, context.asset_key, per_cell)
        last = next(reversed(per_cell), "") if slices.failed else keys[-1]
        # A table of rows says less than a picture, so it stands behind them.
        shown = whole_table(store.database, store.table.name)
        if len(selection) <= self.preview_up_to:
            shown |= preview(store.table.name, slices.frame)
        per_cell = with_pictures(per_cell, slices.metadata, {**slices.of_the_run, **shown, **metadata}, last)
        if slices.failed:
            yield from landed(context.step_context, context.asset_key, per_cell)
            raise refuse(store.table.name, slices.failed, len(keys))
        add_metadata(context.step_context, context.asset_key, per_cell)
        if len(selection) == 1:
            digest = written.digests[everything.keys.index(selection.keys[0])]
            context.step_context.set_data_version(context.asset_key, dg.DataVersion(digest))

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        """The rows of the upstream partitions, sorted by the table's key; no partitions give an empty frame.

        The frame carries what the ledger is to say of what is made of it (see `runs.slices_read`).
        """
        store = self._store(context)
        fetch = next_fetch(store.database)
        selection = selection_of(context.asset_partitions_def, context.asset_partition_keys)
        rows, slices = store.read_with_digests(selection)
        return noted(rows, SlicesRead(fetch, slices))

    def _describe(self, table: str, selection: Selection, rows: int, seconds: float) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "dagster/table_name": table,
            "seconds": round(seconds, 3),
            "rows_per_second": round(rows / seconds) if seconds else rows,
        }
        if len(selection):
            instruments = sorted(set(selection.instruments))
            metadata["slice"] = (
                f"{str(selection.starts.min())[:10]} to {str(selection.ends.max())[:10]} (excluded), "
                f"{instruments[0] if len(instruments) == 1 else f'{len(instruments)} instruments'}"
            )
        return metadata


class EpisodeIOManager(dg.ConfigurableIOManager):
    """Persists the nine episode tables. The asset opens the episodes before its first output; `tt_episode` is last."""

    database: dg.ResourceDependency[Database]
    preview_up_to: int = Field(
        default=20, description="Runs of at most this many partitions show a table of their first rows."
    )

    def episodes(self) -> EpisodeStore:
        """The store behind this manager, for the asset that opens the episodes."""
        return EpisodeStore(self.database)

    def record(
        self,
        tables: Mapping[str, EpisodeRows],
        windows: Selection,
        provenance: Provenance,
        left_open: Mapping[str, str],
    ) -> dict[str, EpisodeRows]:
        """Write the rows of the opened episodes, table by table, and close them.

        Parameters
        ----------
        tables : table → its rows, in the order they are written, `tt_episode` last.
        windows : the partitions of the run; without any nothing is written.
        provenance : where the rows come from.
        left_open : partition key → why one of its episodes is not to be closed.

        Returns
        -------
        The tables with what they hold then.
        """
        if not len(windows):
            return {}
        store, written = self.episodes(), {}
        closed: Mapping[str, Sequence[Entry]] = {}
        for table, rows in tables.items():
            started = time.perf_counter()
            if table == "tt_episode":
                summaries = [_summary(row) for row in rows.frame.to_dict("records")]
                closed = store.finalize(summaries, windows, provenance, left_open)
            else:
                store.add(table, rows.frame)
            seconds = time.perf_counter() - started
            written[table] = {
                "dagster/table_name": table,
                "seconds": round(seconds, 3),
                "rows_per_second": round(len(rows.frame) / seconds) if seconds else len(rows.frame),
            }
        return {
            table: replace(
                rows,
                counts={entry.key: entry.rows for entry in closed[table]},
                digests={entry.key: entry.digest for entry in closed[table]},
                written=written[table],
            )
            for table, rows in tables.items()
        }

    def cells(self, table: str, rows: EpisodeRows, last: str) -> dict[str, dict[str, Any]]:
        """The metadata of each partition of a table.

        Parameters
        ----------
        table : one of the nine.
        rows : as `record` gives them.
        last : key of the partition whose event comes last.

        Returns
        -------
        Partition key → row count, digest and what is to be shown.
        """
        counts = {key: {"dagster/row_count": count, "digest": rows.digests[key]} for key, count in rows.counts.items()}
        shown = whole_table(self.database, table)
        if len(counts) <= self.preview_up_to:
            shown |= preview(table, rows.frame)
        return with_pictures(counts, rows.metadata, {**rows.of_the_run, **shown, **rows.written}, last)

    def handle_output(self, context: dg.OutputContext, obj: EpisodeRows) -> None:
        """Say of each partition what was recorded of it; the rows are stored by then, all nine tables of them."""
        table = context.asset_key.path[-1]
        plan_by_name(context.step_context, context.asset_key, obj.counts)
        add_metadata(context.step_context, context.asset_key, self.cells(table, obj, context.asset_partition_keys[-1]))

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        """Rows of the finished episodes of the upstream partitions, with `window_start` and `traded` in front."""
        selection = selection_of(context.asset_partitions_def, context.asset_partition_keys)
        return finished_rows(self.database, context.asset_key.path[-1], selection)


def _with_elsewhere(
    store: SliceStore, grid: dg.PartitionsDefinition, slices: Slices
) -> tuple[OutsideRun, pd.DataFrame]:
    """The cells that `slices.elsewhere` falls in, and all rows to write: those of the run, and of these cells.

    A cell wider than a session keeps its other stored rows.
    """
    rows = slices.elsewhere
    if rows is None or rows.empty:
        return OutsideRun.nothing(), slices.frame
    beyond = cells_around(grid, rows)
    stored = store.read(beyond.cells)
    named = pd.MultiIndex.from_frame(rows[["instrument", "timestamp"]])
    kept = stored[~pd.MultiIndex.from_frame(stored[["instrument", "timestamp"]]).isin(named)]
    columns = list(content_columns(store.table))
    frames = [part[columns] for part in (slices.frame, rows, kept) if len(part)]
    return beyond, pd.concat(frames, ignore_index=True)


def landed(
    step: dg.StepExecutionContext, asset_key: dg.AssetKey, per_cell: Mapping[str, Mapping[str, Any]]
) -> Iterator[dg.DagsterEvent]:
    """Materialization events of partitions that Dagster reports none of by itself, stored in a batch.

    Those are what a step that is about to fail has written, and partitions outside the run's.

    Parameters
    ----------
    step, asset_key : that they are of.
    per_cell : partition key → its entries.
    """
    yield from materialized(
        step,
        [
            dg.AssetMaterialization(asset_key, partition=key, metadata=own, tags=CellKey.parse(key).event_tags())
            for key, own in per_cell.items()
        ],
    )


def _outcome(said: str | None, rows: int) -> dict[str, str]:
    return {"outcome": said or ("loaded" if rows else "no rows")}


def _summary(row: Mapping[Any, Any]) -> EpisodeSummary:
    sharpe = row["sharpe_ratio"]
    return EpisodeSummary(
        episode_id=int(row["id"]),
        end_time=row["end_time"],
        stop_reason=str(row["stop_reason"]),
        max_drawdown=float(row["max_drawdown"]),
        sharpe_ratio=None if sharpe is None or pd.isna(sharpe) else float(sharpe),
        turnover=float(row["turnover"]),
    )
