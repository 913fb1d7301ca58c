"""`tt backfill` and `tt train`: history and agents in bulk, with progress."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tt_assets.commands.partition_count import beyond_comfort
from tt_assets.commands.printing import err, warn
from tt_assets.commands.result_line import Request, Result
from tt_assets.errors import UserError
from tt_assets.grid.bars_files import bars_files, bars_manifest, watchlist_of
from tt_assets.grid.blueprint import blueprint
from tt_assets.grid.keys import CellKey
from tt_assets.grid.partitions import quarter_of, window_grid
from tt_assets.grid.rectangles import most_cells
from tt_assets.market.watchlist import Watchlist
from tt_assets.runs import progress
from tt_assets.runs.bulk import CheckSaid, OnEvent, Outcome, Standing, materialize
from tt_assets.runs.queued import OnState, QueueState, agents_share, market_share, materialize_queued
from tt_assets.runtime.jobs_in_process import job_named
from tt_assets.runtime.platform import INSTRUMENTS, TRADED, Platform
from tt_assets.runtime.pools import free_slots_of_ended_runs, refuse_held
from tt_assets.runtime.selection import Span, date_keys, known_instruments
from tt_assets.settings import PriceSourceName, Settings
from tt_assets.tables import EPISODE_TABLES, MARKET_TABLES

TRAINING_POOL = "training"
PRICES = "tt_prices"
SAID_EVERY = 10.0
"""Least time between two lines about one step where there is no terminal, seconds."""
WORDS = 36
"""Characters beside the progress bar."""
INTERRUPTED = "DagsterExecutionInterruptedError"


def backfill(
    platform: Platform,
    instance: dg.DagsterInstance,
    tables: Sequence[str],
    span: Span,
    instruments: Sequence[str],
    *,
    allow_deletions: bool = False,
    queue: bool = False,
    result: Result | None = None,
) -> Outcome:
    """Materialize market `tables` for the sessions of `span` and `instruments`, one range run a chunk.

    With `allow_deletions` stored bars that the source no longer has are deleted; else their partitions fail. With
    `queue` the runs are made by whoever carries out those of the queue, several at once; `result` hears the result.
    """
    from tt_assets.automation import MARKET_JOB

    # A module of the user's that cannot be used says so now.
    keys = _date_keys(blueprint(platform.settings).market_partitions, instance)
    first, last = date_keys(span, platform.settings.date_grain)
    dates = [key for key in keys if first <= key <= last]
    order = list(instance.get_dynamic_partitions(INSTRUMENTS))
    cells = {(day, name) for day in dates for name in instruments}
    if said := beyond_comfort(len(keys) * len(order), platform.settings.date_grain):
        err().print(said)
    free_slots_of_ended_runs(instance)
    job = job_named(platform.settings, MARKET_JOB)
    config = {PRICES: {"allow_deletions": True}} if allow_deletions else None
    request = Request.begun(platform.database, tables, dates, instruments)
    if queue:
        most = market_share(len(cells), platform.settings)
        with queue_bar(len(cells) * len(tables)) as on_state:
            outcome = materialize_queued(
                instance,
                job,
                tables,
                cells,
                keys,
                order,
                most_cells=most,
                chained=True,
                on_state=on_state,
                config=config,
            )
    else:
        with progress_bar(len(cells) * len(tables), tables, among=cells) as on_event:
            most = most_cells(platform.settings.date_grain)
            outcome = materialize(
                instance, job, tables, cells, keys, order, on_event=on_event, most_cells=most, config=config
            )
    (result or Result()).add(request, outcome, platform.database)
    return outcome


def train(
    platform: Platform,
    instance: dg.DagsterInstance,
    span: Span,
    traded: Sequence[str],
    tables: Sequence[str] = ("tt_policy", *EPISODE_TABLES),
    *,
    queue: bool = False,
    result: Result | None = None,
) -> Outcome:
    """Materialize the agent `tables` for the windows that `span` touches: train, then roll; the rest as `backfill`."""
    from tt_assets.automation import AGENTS_JOB

    keys = _date_keys(window_grid(platform.settings), instance)
    windows = [key for key in keys if quarter_of(span.first).isoformat() <= key <= span.last.isoformat()]
    if not windows:
        raise UserError(
            f"No walk-forward window is between {span.first} and {span.last}; the first is "
            f"{keys[0] if keys else 'none'} (TT_TRAIN_WINDOWS={platform.settings.train_windows} quarters train it) and "
            f"the last is {keys[-1] if keys else 'none'}."
        )
    order = list(instance.get_dynamic_partitions(TRADED))
    cells = {(window, name) for window in windows for name in traded}
    free_slots_of_ended_runs(instance)
    job = job_named(platform.settings, AGENTS_JOB)
    request = Request.begun(platform.database, tables, windows, traded)
    if queue:
        most = agents_share(len(cells), platform.settings)
        with queue_bar(len(cells) * len(tables)) as on_state:
            outcome = materialize_queued(
                instance, job, tables, cells, keys, order, most_cells=most, chained=False, on_state=on_state
            )
    else:
        if "tt_policy" in tables:
            refuse_held(instance, TRAINING_POOL)
        with progress_bar(len(cells) * len(tables), tables) as on_event:
            outcome = materialize(instance, job, tables, cells, keys, order, on_event=on_event)
    (result or Result()).add(request, outcome, platform.database)
    return outcome


def request_tables(
    platform: Platform,
    instance: dg.DagsterInstance,
    tables: Sequence[str],
    span: Span,
    names: Sequence[str] | None,
    *,
    allow_deletions: bool = False,
    queue: bool = False,
    result: Result | None = None,
) -> Outcome:
    """Whatever tables a person named: market tables first, then the agents of the windows in the span."""
    outcome = Outcome()
    market = [table for table in tables if table in MARKET_TABLES]
    agents = [table for table in tables if table not in MARKET_TABLES]
    if any(table in EPISODE_TABLES for table in agents):
        # The nine are one materialization.
        agents = [table for table in agents if table not in EPISODE_TABLES] + list(EPISODE_TABLES)
    if market:
        symbols = symbols_of(platform.watchlist, names)
        outcome.add(
            backfill(
                *(platform, instance, market, span, symbols),
                allow_deletions=allow_deletions,
                queue=queue,
                result=result,
            )
        )
    if agents and not outcome.errors:
        chosen = [name for name in platform.watchlist.traded if names is None or name in names]
        outcome.add(train(platform, instance, span, chosen, agents, queue=queue, result=result))
    return outcome


def symbols_of(watchlist: Watchlist, names: Sequence[str] | None) -> list[str]:
    """The symbols that `names` (symbols and portfolios; None is all) stand for, in the order of the watchlist."""
    wanted = watchlist.symbols if names is None else [s for name in names for s in watchlist.members(name)]
    return [name for name in watchlist.symbols if name in wanted]


def check_bars(settings: Settings) -> None:
    """Check files or source before anything starts: raise their `UserError`, print what is odd, one line a kind."""
    if not isinstance(settings.price_source, PriceSourceName):
        from tt_assets.market.own_source import open_source  # brings pandas

        open_source(settings.price_source)
    if settings.price_source is not PriceSourceName.FILE or settings.is_sample:
        return
    bars_manifest(settings)
    for line in bars_files(settings).warnings():
        warn(line)


def check_trading(settings: Settings) -> None:
    """Raise a `UserError` for a learner or scheme that is unknown or trading settings that contradict each other."""
    from tt_assets.trading.agents.learners import learner_of
    from tt_assets.trading.episodes.baselines import BASELINES
    from tt_assets.trading.rules.registry import action_scheme, cost_model, named, reward_scheme, stoppers

    config = blueprint(settings).trading
    if settings.agents:
        known_instruments(",".join(settings.agents), watchlist_of(settings).traded, "TT_PORTFOLIO_AGENTS portfolio")
    for learner in dict.fromkeys((config.agent, *settings.agents.values())):
        own = config.replace(agent=learner)
        learner_of(own).check(own)
    action_scheme(config)
    reward_scheme(config, 1)
    cost_model(config)
    stoppers(config)
    for name in settings.baselines:
        named(BASELINES, name, "baseline")


def show_failures(outcome: Outcome, console: Console, most: int = 20) -> None:
    """The list of what failed, grouped by reason."""
    for table, reasons in outcome.failed.items():
        grouped: dict[str, list[str]] = {}
        for key, reason in reasons.items():
            grouped.setdefault(reason, []).append(key)
        many = "s" if len(reasons) > 1 else ""
        console.print(f"[bold red]{table}[/]: {len(reasons):,} partition{many} failed", highlight=False)
        for reason, keys in list(grouped.items())[:most]:
            named = f"{keys[0]} … {keys[-1]} ({len(keys)})" if len(keys) > 1 else keys[0]
            console.print(f"  {named}: {reason}", highlight=False, markup=False)
        if len(grouped) > most:
            console.print(f"  and {len(grouped) - most} further reasons: `tt status --partitions --table {table}`")
    for error in outcome.errors:
        console.print(f"failed: {error}", style="red", highlight=False, markup=False)


def show_checks(outcome: Outcome, console: Console) -> None:
    """What the checks of the runs said: one line for each that failed, warned or was not reached, with the remedy."""
    grouped: dict[tuple[str, str, Standing], list[CheckSaid]] = {}
    missed: dict[str, dict[str, dict[str, None]]] = {}
    for one in outcome.checks:
        if one.standing is not Standing.NOT_RUN:
            grouped.setdefault((one.table, one.check, one.standing), []).append(one)
        elif (one.table, one.check) not in outcome.held:
            missed.setdefault(one.said, {}).setdefault(one.table, {})[one.check] = None
    for (table, check, standing), all_said in grouped.items():
        first = all_said[0]
        words = "it stopped the run, see below" if first.blocking else first.said
        more = f" (and so in {len(all_said) - 1} further runs)" if len(all_said) > 1 else ""
        remedy = f" Remedy: {first.remedy}." if first.remedy else ""
        _print_plainly(
            console, f"{standing}: check {check} of {table}: {words}{more}.{remedy}", red=standing is Standing.FAILED
        )
    for why, tables in missed.items():
        named = "; ".join(f"{', '.join(checks)} of {table}" for table, checks in tables.items())
        _print_plainly(console, f"{Standing.NOT_RUN}: {why}: checks {named}", red=False)


def _print_plainly(console: Console, line: str, *, red: bool) -> None:
    console.print(line, style="red" if red else "yellow", highlight=False, markup=False)


def window_starts(settings: Settings, instance: dg.DagsterInstance) -> list[date]:
    """First days of the walk-forward windows there are, ascending."""
    return [date.fromisoformat(key) for key in _date_keys(window_grid(settings), instance)]


def _date_keys(grid: dg.MultiPartitionsDefinition, instance: dg.DagsterInstance) -> list[str]:
    return list(grid.get_partitions_def_for_dimension("date").get_partition_keys(dynamic_partitions_store=instance))


@dataclass
class _Lines:
    """Progress in plain lines, for whoever reads a log. Says nothing on a terminal, which has the bar."""

    console: Console
    last: float = 0.0

    def begins(self, step: str) -> None:
        """A step begins."""
        if not self.console.is_terminal:
            self._say(f"{step} …")

    def goes_on(self, line: str) -> None:
        """A long step is somewhere; said at most every `SAID_EVERY` seconds."""
        if not self.console.is_terminal and time.monotonic() - self.last >= SAID_EVERY:
            self._say(line)

    def _say(self, line: str) -> None:
        self.last = time.monotonic()
        self.console.print(line, highlight=False, markup=False)


def _words(step: str | None) -> str:
    """A step as people read it: its table, or whose checks they are."""
    name = step or ""
    return f"checks of {name.removesuffix('_checks')}" if name.endswith("_checks") else name


@contextmanager
def queue_bar(total: int) -> Iterator[OnState]:
    """A progress bar over partitions × tables of queued runs, with how the runs stand in its words.

    Without a terminal there is no bar: a line says when runs begin or end. Ctrl-C leaves the runs in the queue.
    """
    said = _Lines(Console(stderr=True, soft_wrap=True))
    before = ""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not said.console.is_terminal,
    ) as bars:
        task = bars.add_task("queued", total=total)

        def on_state(state: QueueState) -> None:
            nonlocal before
            bars.update(task, description=str(state), completed=min(state.partitions, total))
            if str(state) != before:
                before = str(state)
                said.begins(f"runs: {state}")

        try:
            yield on_state
        except KeyboardInterrupt:
            err().print("The queued runs go on without this command; the UI shows and ends them.", highlight=False)
            raise


@contextmanager
def progress_bar(
    total: int, tables: Sequence[str], among: Collection[tuple[str, str]] | None = None
) -> Iterator[OnEvent]:
    """A progress bar over cells × tables, with the pieces of long steps (trainings, rolls) in its words.

    With `among` (date key, instrument) cells that a run restates besides are not counted. Without a terminal there is
    no bar: a line says when a step begins, and how far a long one is every ten seconds.
    """
    said = _Lines(Console(stderr=True, soft_wrap=True))
    with Progress(
        TextColumn(f"{{task.description:<{WORDS}}}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not said.console.is_terminal,
    ) as bars:
        task = bars.add_task(tables[0], total=total)

        def on_report(line: str) -> None:
            bars.console.print(line, highlight=False, markup=False, soft_wrap=True)

        def on_event(event: dg.DagsterEvent) -> None:
            error = event.step_failure_data.error if event.is_step_failure else None
            if error is not None and error.cls_name == INTERRUPTED:
                raise KeyboardInterrupt  # Dagster has made a failed step of it and would go on with the next chunk
            if event.is_step_start:
                bars.update(task, description=_words(event.step_key))
                said.begins(_words(event.step_key))
            elif event.is_step_materialization and (among is None or CellKey.find(event.partition) in among):
                bars.advance(task)

        def on_piece(stage: str, done: int, of: int, note: str) -> None:
            bars.update(task, description=f"{stage} {done}/{of} {note}"[:WORDS])
            said.goes_on(f"{stage} {done}/{of} {note}".rstrip())

        with progress.listening(on_piece, on_report):
            yield on_event
