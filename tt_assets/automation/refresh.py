"""`refresh_now`: everything that is missing, in order, in one run that is green when it is all there.

On one machine the range runs are made in this run's own process, one after the other, as `tt backfill` makes them; on
several they go to the queue, a table's worth at a time, and this run waits for them. Either way a person watches one
run, and windows are rolled on the bars that came before them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import dagster as dg
import numpy as np

from tt_assets.automation.agents import AgentState, read_agents, to_roll, to_train
from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB, REFRESH_JOB
from tt_assets.automation.market import FEATURES_TABLE, SCORES, MarketState, read_market
from tt_assets.automation.partition_states import Axes, Mask
from tt_assets.automation.tries import Tries
from tt_assets.automation.watchlist import add_keys
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.rectangles import MOST_CELLS, most_cells
from tt_assets.grid.run_tags import WAITS
from tt_assets.postgres.database import Database
from tt_assets.runs.bulk import Outcome, materialize
from tt_assets.runs.database_resource import OpenDatabase
from tt_assets.runs.failures import in_few_words
from tt_assets.runs.owners import bury_dead_runs
from tt_assets.runs.queued import QueueState, agents_share, market_share, materialize_queued
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

Jobs = Callable[[str], dg.JobDefinition]
"""A job of the code location by its name."""

Say = Callable[[str], None]

TRAINED_AND_ROLLED, ROLLED = ("tt_policy", *EPISODE_TABLES), tuple(EPISODE_TABLES)


def refresh_job(plan: Blueprint, open_database: OpenDatabase) -> dg.JobDefinition:
    """The job `refresh_now`."""

    # Nothing is handed on but the order, so nothing is stored between the two.
    @dg.op(
        description="Loads the missing and failed partitions of the market tables, up to the last session.",
        out=dg.Out(dg.Nothing),
    )
    def load_what_is_missing(context: dg.OpExecutionContext) -> dg.Output[None]:
        """The market tables; fails at its end with what did not land."""
        return _ended(
            refresh_market(context.instance, plan, open_database(), context.repository_def.get_job, context.log.info)
        )

    @dg.op(
        description="Trains the agents of new windows and rolls again what its bars have outrun.",
        ins={"loaded": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
    )
    def roll_what_is_behind(context: dg.OpExecutionContext) -> dg.Output[None]:
        """The agents and their episodes, after the bars."""
        jobs = context.repository_def.get_job
        return _ended(refresh_agents(context.instance, plan, open_database(), jobs, context.log.info))

    @dg.job(
        name=REFRESH_JOB,
        tags={WAITS: "yes"},
        description="Bring every table up to the last session: what is missing or failed is loaded, the agents of a "
        "new window are trained, windows with new bars are rolled again. Nothing to choose.",
    )
    def refresh_now() -> None:
        """Bars first, then what trades on them."""
        roll_what_is_behind(load_what_is_missing())

    return refresh_now


def refresh_market(instance: dg.DagsterInstance, plan: Blueprint, database: Database, jobs: Jobs, say: Say) -> Outcome:
    """Make the cells of the market tables that are missing or failed and that nobody else is making.

    Raises `dg.Failure` where the source cannot be read.
    """
    bury_dead_runs(instance)
    state = read_market(instance, plan, database)
    if add_keys(instance, state.listed.watchlist):
        state = read_market(instance, plan, database)
    if state.source.trouble:
        raise dg.Failure(state.source.trouble, allow_retries=False)
    outcome = Outcome()
    for tables, cells in lacking(state):
        say(f"{', '.join(tables)}: {int(cells.sum()):,} partitions")
        outcome.add(_made(instance, plan, jobs(MARKET_JOB), tables, state.axes, cells, say))
    for table in (FEATURES_TABLE, SCORES):
        # What was made above may be what others look back over, and so may a bar that changed.
        state = read_market(instance, plan, database)
        cells = state.stale(table) & ~state.cells[table].in_flight
        if cells.any():
            say(f"{table}: {int(cells.sum()):,} partitions are out of date")
            outcome.add(_made(instance, plan, jobs(MARKET_JOB), (table,), state.axes, cells, say))
    return outcome


def refresh_agents(instance: dg.DagsterInstance, plan: Blueprint, database: Database, jobs: Jobs, say: Say) -> Outcome:
    """Train and roll the windows that are behind; each is tried once, whatever became of earlier tries."""
    outcome = Outcome()
    tried: dict[tuple[str, ...], Mask] = {}
    while True:
        state = _untried(read_agents(instance, read_market(instance, plan, database), database))
        axes = state.cells.axes
        behind = {TRAINED_AND_ROLLED: to_train(state), ROLLED: to_roll(state)}
        left = {tables: cells & ~tried.get(tables, axes.none()) for tables, cells in behind.items()}
        if not any(cells.any() for cells in left.values()):
            return outcome
        for tables, cells in left.items():
            if cells.any():
                say(f"{'agents and episodes' if 'tt_policy' in tables else 'episodes'}: {int(cells.sum()):,} windows")
                outcome.add(_made(instance, plan, jobs(AGENTS_JOB), tables, axes, cells, say))
                tried[tables] = tried.get(tables, axes.none()) | cells


def lacking(state: MarketState) -> Iterator[tuple[tuple[str, ...], Mask]]:
    """Tables and the cells to make of them, in the order in which they must be made; nothing where there is none."""
    seen = state.axes.none()
    for first, table in enumerate(MARKET_TABLES):
        own = state.cells[table]
        cells = state.wished & (~own.done | own.failed) & ~own.in_flight
        if state.source.latest is not None:
            cells |= state.grown(state.source.latest) & ~own.in_flight
        if (cells & ~seen).any():
            yield tuple(MARKET_TABLES[first:]), cells & ~seen
        seen |= cells


def _made(
    instance: dg.DagsterInstance,
    plan: Blueprint,
    job: dg.JobDefinition,
    tables: tuple[str, ...],
    axes: Axes,
    cells: Mask,
    say: Say,
) -> Outcome:
    pairs, settings = axes.pairs(cells), plan.settings
    of_market = tables[0] in MARKET_TABLES
    if not settings.several_machines:
        most = most_cells(settings.date_grain) if of_market else MOST_CELLS
        return materialize(instance, job, tables, pairs, axes.dates, axes.instruments, most_cells=most)
    share = market_share if of_market else agents_share
    before = ""

    def on_state(state: QueueState) -> None:
        nonlocal before
        if str(state) != before:
            before = str(state)
            say(f"{tables[0]}: {state}, {state.partitions:,} partitions landed")

    return materialize_queued(
        instance,
        job,
        tables,
        pairs,
        axes.dates,
        axes.instruments,
        most_cells=share(len(pairs), settings),
        chained=of_market,
        on_state=on_state,
    )


def _untried(state: AgentState) -> AgentState:
    """The state without memory of tries: a person asks now, and what cannot land is not waited for."""
    market = state.market
    shape = market.wished.shape
    hopeless = Tries(np.full(shape, market.settings.gap_tries, dtype=np.int64), np.zeros(shape))
    market = replace(market, tries=dict.fromkeys(market.tries, hopeless))
    none = state.cells.axes.none().astype(np.int64)
    fresh = Tries(none, none.astype(np.float64))
    return replace(state, market=market, tries=dict.fromkeys(state.tries, fresh))


def _ended(outcome: Outcome) -> dg.Output[None]:
    """The runs as metadata; raises a `dg.Failure` that names what did not land."""
    told = {"runs": dg.MetadataValue.json(outcome.runs)}
    if outcome.ok:
        return dg.Output(None, metadata=told)
    said = [f"{table}: {in_few_words(reasons)}" for table, reasons in outcome.failed.items()] + outcome.errors
    raise dg.Failure("; ".join(said), metadata=told, allow_retries=False)
