"""The command line, `tt`. Declares the commands; `tt_assets.commands` does what they say.

A mistake of the user's is one line on standard error and exit code 2, work that failed is exit code 1.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from tt_assets import __version__
from tt_assets.commands.bars_group import bars
from tt_assets.commands.cluster_group import cluster
from tt_assets.commands.completion import complete_instruments, complete_tables
from tt_assets.commands.db_group import db
from tt_assets.commands.doctor_command import doctor
from tt_assets.commands.env_command import env
from tt_assets.commands.grain_command import grain
from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.holdings_command import holdings
from tt_assets.commands.mistakes import describe_database, describe_setting, describe_usage
from tt_assets.commands.policies_group import policies
from tt_assets.commands.printing import (
    as_json,
    complain,
    err,
    keep_logs_printable,
    out,
    paragraph,
    print_json,
    say,
    show,
    width,
)
from tt_assets.commands.promote import promote
from tt_assets.commands.signals_group import signals
from tt_assets.commands.sweep import sweep
from tt_assets.commands.trials_group import trials
from tt_assets.commands.watchlist_group import watchlist
from tt_assets.errors import UserError
from tt_assets.runtime.own_modules import find_own_modules
from tt_assets.settings import Settings
from tt_assets.settings.variables import misspelt_once

INTERRUPTED = 130
PREPARING = "Preparing the database …"
QUEUED = "Leave the runs to the queue that `tt up` works off, TT_MAX_RUNS at once, and follow them."


def main() -> None:
    """Entry point of the console script."""
    keep_logs_printable()
    try:
        # click gives the code of `--help` and of an explicit exit back instead of leaving with it.
        sys.exit(commands(prog_name="tt", standalone_mode=False) or 0)
    except UserError as error:
        _fail(str(error))
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        _fail(describe_setting(error))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(describe_usage(error))
    except (click.Abort, KeyboardInterrupt):
        print("tt: stopped; running the same command again takes it up.", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left (`tt status | head`). The flush at exit would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if not (said := describe_database(error)):
            raise
        _fail(said, code=1)


def _fail(message: str, code: int = 2) -> None:
    complain(message)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
@click.pass_context
def commands(context: click.Context) -> None:
    """Daily bars to trained and judged portfolio agents, as Dagster assets in Postgres."""
    # libpq reads it, so whoever looks at the server's sessions sees which command each of them is.
    os.environ["PGAPPNAME"] = f"tt {context.invoked_subcommand}"
    logging.getLogger("alembic").setLevel(logging.WARNING)
    context.obj = Settings
    for line in misspelt_once():
        complain(line)
    with suppress(ValidationError):  # the command itself says which setting is wrong; its help needs none
        find_own_modules(Settings())


@commands.command(short_help="Fill all thirteen tables from the bars at hand.")
@as_json
@with_settings
def demo(settings: Settings, json_: bool) -> None:
    """Fill all thirteen tables from the bars at hand, then show what is in them."""
    from tt_assets.commands.backfill import check_bars, check_trading
    from tt_assets.commands.demo import demo as run_demo
    from tt_assets.runtime.platform import open_instance, prepare

    check_bars(settings)
    check_trading(settings)
    err().print(PREPARING)
    platform = prepare(settings)
    outcome, reports = run_demo(platform, open_instance())
    _print_status(platform, json_=json_)
    for written in reports:
        # With --json standard output is the JSON alone.
        print(f"\n{written.traded}:\n{paragraph(written.verdict)}\n", file=sys.stderr if json_ else sys.stdout)
        err().print(f"Agents against baselines: {written.path}", highlight=False, soft_wrap=True)
    err().print("Look around: `tt up` (or `make up`) serves the UI, `tt db psql` opens the tables.")
    _finish(outcome)


@commands.command(short_help="Serve the UI and run the daemon.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port of the UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address the UI listens on.")
@click.option("--read-only", is_flag=True, help="The UI changes nothing: no runs, no switches. The daemon works on.")
@with_settings
def up(settings: Settings, port: int, host: str, read_only: bool) -> None:
    """Serve the UI and run the daemon until Ctrl-C.

    The UI answers to its own pages only, and to no name but this machine's and those of TT_UI_HOSTS. On a --host that
    others reach it asks for TT_UI_TOKEN.

    A process of it that dies is started again, the embedded server too, and the runs it took along are made again
    once; five deaths within a minute end it. Runs that the UI or the daemon started are interrupted at the end. The
    embedded server is stopped too, unless another command (a `tt backfill`, say) works on it.
    """
    from tt_assets.commands.partition_count import beyond_comfort, of_a_market_table
    from tt_assets.grid.bars_files import watchlist_of
    from tt_assets.runtime.addresses import Address, refuse_open_door
    from tt_assets.runtime.in_use import stop_if_unused
    from tt_assets.runtime.platform import open_instance, prepare, settle_dead_runs
    from tt_assets.runtime.pools import free_slots_of_ended_runs
    from tt_assets.runtime.up import Stopping, end_abandoned_runs, serve
    from tt_assets.runtime.up_record import ownership

    refuse_open_door(settings, host)
    stopping = Stopping()
    with stopping.listening(), ownership(settings, host, port) as record:
        try:
            platform = prepare(settings)
            if said := beyond_comfort(of_a_market_table(settings, watchlist_of(settings)), settings.date_grain):
                err().print(said)
            with open_instance() as instance:
                end_abandoned_runs(settings, instance)
                settle_dead_runs(instance, platform.database)
                free_slots_of_ended_runs(instance)
            serve(platform, record, Address(host, port, read_only=read_only), stopping, say)
        finally:
            if message := stop_if_unused(settings):
                say(message)


@commands.command(short_help="Stop `tt up` and the embedded server.")
@with_settings
def down(settings: Settings) -> None:
    """Stop `tt up`, and the embedded server unless another command works on it."""
    from tt_assets.runtime.in_use import stop_if_unused
    from tt_assets.runtime.up_record import down as stop

    served = stop(settings)
    say(f"Stopped {served}." if served else "No `tt up` was running.")
    if message := stop_if_unused(settings):
        say(message)


@commands.command(short_help="Materialize tables for a span of sessions, in bulk.")
@click.argument("tables", nargs=-1, required=True, shell_complete=complete_tables)
@click.option("--from", "first", metavar="D", help="First session, as 2012-05-18. Default: the first there is.")
@click.option("--to", "last", metavar="D", help="Last session, included. Default: the last closed one.")
@click.option(
    "--instruments",
    metavar="A,B",
    help="Symbols; also portfolios, for agent tables. Default: all.",
    shell_complete=complete_instruments,
)
@click.option("--plan", is_flag=True, help="Only say how many requests it takes and how long; change nothing.")
@click.option("--allow-deletions", is_flag=True, help="Delete stored bars that the source no longer has.")
@click.option("--queue", is_flag=True, help=QUEUED)
@with_settings
def backfill(
    settings: Settings,
    tables: tuple[str, ...],
    first: str | None,
    last: str | None,
    instruments: str | None,
    plan: bool,
    allow_deletions: bool,
    queue: bool,
) -> None:
    """Materialize TABLES for a span of sessions, in bulk.

    TABLES are names (tt_prices, or just prices), or `market`, `agents`, `all`. Market tables come first, then the
    agents of every walk-forward window that the span touches; a portfolio stands for its symbols in a market table.

    A stored bar that the source no longer has stays, and its partition fails saying so, unless --allow-deletions.
    """
    from tt_assets.commands.backfill import check_bars, check_trading, request_tables, symbols_of
    from tt_assets.commands.load_plan import load_plan
    from tt_assets.commands.result_line import Result
    from tt_assets.grid.bars_files import watchlist_of
    from tt_assets.runtime.platform import open_instance, prepare
    from tt_assets.runtime.selection import known_instruments, known_tables
    from tt_assets.tables import MARKET_TABLES, TABLES

    sets = {"market": MARKET_TABLES, "agents": [n for n in TABLES if n not in MARKET_TABLES], "all": list(TABLES)}
    chosen = known_tables([name for given in tables for name in sets.get(given, [given])], also=tuple(sets))
    listed = watchlist_of(settings)
    of_agents = not set(chosen) <= set(MARKET_TABLES)
    names = known_instruments(
        instruments,
        listed.traded if of_agents else listed.symbols,
        "instrument or portfolio" if of_agents else "instrument",
    )
    check_bars(settings)
    if of_agents:
        check_trading(settings)
    span = _span(settings, first, last)
    if plan:
        for line in load_plan(settings, listed, chosen, span, symbols_of(listed, names if instruments else None)):
            say(line)
        return
    err().print(PREPARING)
    platform = prepare(settings)
    instance = open_instance()
    if queue:
        _warn_of_no_daemon(instance)
    result, began = Result(), time.monotonic()
    outcome = request_tables(
        platform,
        instance,
        chosen,
        span,
        names if instruments else None,
        allow_deletions=allow_deletions,
        queue=queue,
        result=result,
    )
    _finish(outcome, result.line(time.monotonic() - began))


@commands.command(short_help="Train agents for walk-forward windows and roll them.")
@click.option("--from", "first", metavar="D", help="First session of the windows to train for.")
@click.option("--to", "last", metavar="D", help="Last session of the windows to train for.")
@click.option(
    "--instruments",
    metavar="P,Q",
    help="Symbols or portfolios to trade. Default: all.",
    shell_complete=complete_instruments,
)
@click.option("--queue", is_flag=True, help=QUEUED)
@with_settings
def train(settings: Settings, first: str | None, last: str | None, instruments: str | None, queue: bool) -> None:
    """Train agents for the walk-forward windows that touch a span, and roll their episodes."""
    from tt_assets.commands.backfill import check_bars, check_trading
    from tt_assets.commands.backfill import train as run_training
    from tt_assets.commands.result_line import Result
    from tt_assets.grid.bars_files import watchlist_of
    from tt_assets.runtime.platform import open_instance, prepare
    from tt_assets.runtime.selection import known_instruments

    traded = known_instruments(instruments, watchlist_of(settings).traded, "instrument or portfolio")
    check_bars(settings)
    check_trading(settings)
    span = _span(settings, first, last)
    err().print(PREPARING)
    platform = prepare(settings)
    instance = open_instance()
    if queue:
        _warn_of_no_daemon(instance)
    result, began = Result(), time.monotonic()
    outcome = run_training(platform, instance, span, traded, queue=queue, result=result)
    _finish(outcome, result.line(time.monotonic() - began))


@commands.command(short_help="Judge agents against baselines; writes HTML.")
@click.option(
    "--instruments",
    metavar="P,Q",
    help="Symbols or portfolios. Default: all that have episodes.",
    shell_complete=complete_instruments,
)
@as_json
@with_settings
def report(settings: Settings, instruments: str | None, json_: bool) -> None:
    """Judge the agents out of sample against the baselines, one self-contained HTML file per symbol or portfolio.

    The same plots and figures are in the page of the asset `report` in the UI. With --json every figure is printed,
    those of each symbol or portfolio as one object of a list; they also lie beside the HTML file.
    """
    from tt_assets.commands.backfill import check_trading
    from tt_assets.commands.report import reportable, write_reports
    from tt_assets.runtime.platform import open_instance, prepare
    from tt_assets.runtime.selection import known_instruments

    check_trading(settings)
    err().print(PREPARING)
    platform = prepare(settings)
    known = reportable(platform)
    if not known:
        raise UserError("No agent has a finished episode yet; run `tt train` (or `tt demo`) first.")
    chosen = known_instruments(instruments, known, "instrument or portfolio with episodes")
    outcome, written = write_reports(platform, open_instance(), chosen)
    if json_:
        files = [(own.path, own.path.with_suffix(".json").read_text(encoding="utf-8")) for own in written]
        print_json([{"html": str(html), **json.loads(figures)} for html, figures in files])
    for report_ in written if not json_ else ():
        say(str(report_.path))
        err().print(paragraph(report_.verdict), highlight=False, markup=False)
    _finish(outcome)


@commands.command(
    short_help="Rows, timestamps and partitions of every table.",
    context_settings={"token_normalize_func": lambda name: "partitions" if name == "cells" else name},
)
@click.option("--partitions", "partitions_", is_flag=True, help="Draw one table: a line per instrument, dates across.")
@click.option(
    "--table",
    default="tt_prices",
    show_default=True,
    help="With --partitions: the table.",
    shell_complete=complete_tables,
)
@click.option("--from", "first", metavar="D", help="With --partitions: first date. Default: the first there is.")
@click.option("--to", "last", metavar="D", help="With --partitions: last date, included. Default: the last there is.")
@click.option(
    "--instruments",
    metavar="A,B",
    help="With --partitions: symbols, or portfolios of agent tables. Default: all.",
    shell_complete=complete_instruments,
)
@as_json
@with_settings
def status(
    settings: Settings,
    partitions_: bool,
    table: str,
    first: str | None,
    last: str | None,
    instruments: str | None,
    json_: bool,
) -> None:
    """Rows, first and last timestamp, and partitions of every table.

    They are counted as the UI counts them, but for what was retired: of that none is missing.

    With --partitions: what became of every partition of one table, and why. A column is a session, or as much time
    as it takes for the span to fit the terminal.
    """
    from tt_assets.runtime.platform import attach

    if not partitions_:
        for option, given in (("--from", first), ("--to", last), ("--instruments", instruments)):
            if given is not None:
                meant = f"`tt status --partitions {option} {given}`"
                raise UserError(f"{option} goes with --partitions; did you mean {meant}?")
        _print_status(attach(settings), json_=json_)
        return
    from tt_assets.runtime.selection import known_tables, parse_date

    (name,) = known_tables([table])
    begin, end = (parse_date(d, option) if d else None for d, option in ((first, "--from"), (last, "--to")))
    _print_cells(attach(settings), name, begin, end, instruments, json_=json_)


@commands.command(short_help="Serve bars as a stand-in for IB Gateway.")
@click.option("--bars", "bars", type=click.Path(path_type=Path), help="CSV or parquet. Default: TT_BARS_PATH.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4002, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--latency", default=0.0, show_default=True, help="Delay of each answer, seconds.")
@with_settings
def gateway(settings: Settings, bars: Path | None, host: str, port: int, latency: float) -> None:
    """Serve a bars file over the TWS protocol, so that TT_PRICE_SOURCE=ibkr works without an account.

    It is a stand-in: it knows no account, no order and no live price. Ctrl-C stops it.
    """
    from tt_assets.gateway import BarBook, StandIn, serve

    serve(StandIn(BarBook.from_file(bars or settings.bars_path), latency=latency), host, port, say)


@commands.command("settings", short_help="Every setting: its value, where that comes from, its meaning.")
@as_json
@with_settings
def settings_(current: Settings, json_: bool) -> None:
    """Every setting: its variable, its value now, where that comes from, its meaning, and what an empty one means."""
    from tt_assets.commands.setting_rows import setting_rows

    show(
        setting_rows(current, empty_apart=json_),
        json_,
        title="settings (environment, else .env, else what an empty one means)",
    )


def _warn_of_no_daemon(instance: Any) -> None:
    """Say where nobody works off the queue."""
    from tt_assets.runs.queued import is_worked_off

    if not is_worked_off(instance):
        complain("nobody works off the queue at the moment: the runs wait until `tt up` runs on a machine.")


def _span(settings: Settings, first: str | None, last: str | None) -> Any:
    from tt_assets.grid.horizon import horizon, latest_session
    from tt_assets.runtime.selection import parse_date, session_span

    span = session_span(
        parse_date(first, "--from") if first else None,
        parse_date(last, "--to") if last else None,
        horizon(settings),
        latest_session(),
    )
    for note in span.notes:
        err().print(note, highlight=False)
    return span


def _print_status(platform: Any, *, json_: bool) -> None:
    from tt_assets.commands.status import status_grid, table_statuses
    from tt_assets.runtime.platform import open_instance

    statuses = table_statuses(platform.database, open_instance(), platform.settings)
    if json_:
        print_json([asdict(status) for status in statuses])
    else:
        out().print(status_grid(statuses, width()))


def _print_cells(
    platform: Any, table: str, first: date | None, last: date | None, instruments: str | None, *, json_: bool
) -> None:
    from tt_assets.commands.partition_list import read_matrix
    from tt_assets.runtime.platform import open_instance

    matrix = read_matrix(platform.database, open_instance(), platform.settings, table, first, last, instruments)
    if json_:
        print_json([asdict(cell) for cell in matrix.cells()])
        return
    from tt_assets.commands.partition_map import cells_grid

    for line in cells_grid(matrix, shutil.get_terminal_size().columns):
        out().print(line)


def _finish(outcome: Any, result: str = "") -> None:
    from tt_assets.commands.backfill import show_checks, show_failures

    show_checks(outcome, err())
    if not outcome.ok:
        show_failures(outcome, err())
    if result:
        say(result)
    if not outcome.ok:
        sys.exit(1)


commands.add_command(watchlist)
commands.add_command(bars)
commands.add_command(db)
commands.add_command(policies)
commands.add_command(holdings)
commands.add_command(signals)
commands.add_command(trials)
commands.add_command(promote)
commands.add_command(sweep)
commands.add_command(env)
commands.add_command(cluster)
commands.add_command(doctor)
commands.add_command(grain)

if __name__ == "__main__":
    main()
