"""The command line, `tt`. Declares the commands; `tt_assets.commands` does what they say.

One decision: a mistake of the user's is one line on standard error and exit code 2, work that failed is exit code 1.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table as Grid

from tt_assets.errors import UserError
from tt_assets.settings import Settings

WIDTH_OF_A_FILE = 200
out = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, soft_wrap=True)
err = Console(width=None if sys.stderr.isatty() else WIDTH_OF_A_FILE, stderr=True, soft_wrap=True)
as_json = click.option("--json", "json_", is_flag=True, help="Print JSON instead of a table.")


def main() -> None:
    """Entry point of the console script."""
    try:
        commands(standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except ValidationError as error:
        first = error.errors()[0]
        name = "TT_" + "_".join(map(str, first["loc"])).upper() if first["loc"] else "settings"
        _fail(f"{name}: {first['msg'].removeprefix('Value error, ')}. See `tt settings`.")
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        err.print("Stopped.")
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"tt: {message}", file=sys.stderr)  # noqa: T201 - plain text, so that nothing is wrapped or coloured
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tt_assets")
def commands() -> None:
    """Daily bars to trained and judged portfolio agents, as Dagster assets in Postgres."""
    logging.getLogger("alembic").setLevel(logging.WARNING)


@commands.command()
def demo() -> None:
    """Fill all thirteen tables from the bars at hand, then show what is in them."""
    from tt_assets.commands.demo import demo as run_demo
    from tt_assets.commands.platform import open_instance, prepare

    err.print("Preparing the database …")
    platform = prepare()
    outcome = run_demo(platform, open_instance())
    _print_status(platform, json_=False)
    out.print("Look around:  `make up` (or `tt up`) serves the UI at http://127.0.0.1:3000; `tt db psql` opens the tables.")
    _finish(outcome)


@commands.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address the UI listens on.")
def up(port: int, host: str) -> None:
    """Serve the UI and run the daemon until Ctrl-C."""
    from tt_assets.commands.platform import open_instance, prepare
    from tt_assets.commands.runs import bury_dead_runs
    from tt_assets.commands.up import up as serve

    platform = prepare()
    bury_dead_runs(open_instance())
    code = serve(platform, host, port, lambda line: out.print(line, highlight=False))
    _stop_server(platform.settings)
    sys.exit(code)


@commands.command()
def down() -> None:
    """Stop `tt up` and the embedded server."""
    from tt_assets.commands.up import down as stop

    settings = Settings()
    served = stop(settings)
    out.print(f"Stopped {served}." if served else "No `tt up` was running.")
    _stop_server(settings)


@commands.command()
@click.argument("tables", nargs=-1, required=True)
@click.option("--from", "first", metavar="D", help="First session, as 2012-05-18. Default: the first there is.")
@click.option("--to", "last", metavar="D", help="Last session, included. Default: the last closed one.")
@click.option("--instruments", metavar="A,B", help="Symbols (or portfolios, for agent tables). Default: all.")
def backfill(tables: tuple[str, ...], first: str | None, last: str | None, instruments: str | None) -> None:
    """Materialize TABLES (names, or `market`, `agents`, `all`) for a span of sessions, in bulk."""
    from tt_assets.commands.backfill import request_tables
    from tt_assets.commands.platform import open_instance, prepare
    from tt_assets.commands.selection import known_instruments, known_tables
    from tt_assets.tables import MARKET_TABLES, TABLES

    sets = {"market": MARKET_TABLES, "agents": [n for n in TABLES if n not in MARKET_TABLES], "all": list(TABLES)}
    chosen = known_tables([name for given in tables for name in sets.get(given, [given])])
    platform = prepare()
    allowed = platform.watchlist.symbols if set(chosen) <= set(MARKET_TABLES) else platform.watchlist.traded
    names = known_instruments(instruments, allowed)
    outcome = request_tables(
        platform, open_instance(), chosen, _span(platform.settings, first, last), names if instruments else None
    )
    _finish(outcome)


@commands.command()
@click.option("--from", "first", metavar="D", help="First session of the windows to train for.")
@click.option("--to", "last", metavar="D", help="Last session of the windows to train for.")
@click.option("--instruments", metavar="P,Q", help="Symbols or portfolios to trade. Default: all.")
def train(first: str | None, last: str | None, instruments: str | None) -> None:
    """Train agents for the walk-forward windows that touch a span, and roll their episodes."""
    from tt_assets.commands.backfill import train as run_training
    from tt_assets.commands.platform import open_instance, prepare
    from tt_assets.commands.selection import known_instruments

    platform = prepare()
    traded = known_instruments(instruments, platform.watchlist.traded, "instrument or portfolio")
    _finish(run_training(platform, open_instance(), _span(platform.settings, first, last), traded))


@commands.command()
@as_json
def status(json_: bool) -> None:
    """Rows, first and last timestamp and partitions of every table."""
    from tt_assets.commands.platform import attach

    _print_status(attach(), json_=json_)


@commands.group()
def watchlist() -> None:
    """The instruments and portfolios."""


@watchlist.command("list")
@as_json
def watchlist_list(json_: bool) -> None:
    """Print the instruments of the watchlist file."""
    from tt_assets.market.watchlist import read_watchlist

    settings = Settings()
    listed = read_watchlist(settings.watchlist)
    rows = [
        {
            "symbol": item.symbol,
            "description": item.description,
            "exchange": item.exchange,
            "currency": item.currency,
            "portfolios": [name for name, symbols in listed.portfolios.items() if item.symbol in symbols],
        }
        for item in listed.instruments
    ]
    _print_rows(rows, json_, title=str(settings.watchlist))


@watchlist.command("sync")
def watchlist_sync() -> None:
    """Add what is new on the watchlist to Dagster's partition keys."""
    from tt_assets.commands.platform import prepare, sync_watchlist

    instruments, traded = sync_watchlist(prepare(sync=False))
    out.print(f"Added instruments: {', '.join(instruments) or 'none'}. Added to trade: {', '.join(traded) or 'none'}.")


@watchlist.command("add")
@click.argument("symbol")
@click.option("--portfolio", "portfolios", multiple=True, help="Portfolio to put it in; may be given several times.")
@click.option("--description", default="", help="Name of the company.")
def watchlist_add(symbol: str, portfolios: Sequence[str], description: str) -> None:
    """Add SYMBOL to the watchlist file."""
    from tt_assets.market.watchlist import add

    path = _own_watchlist()
    add(path, symbol, portfolios=portfolios, description=description)
    out.print(f"Added {symbol} to {path}. `tt watchlist sync` makes it a partition; `tt backfill market` loads it.")


@watchlist.command("retire")
@click.argument("symbol")
def watchlist_retire(symbol: str) -> None:
    """Take SYMBOL off the watchlist file; its rows and its partitions stay."""
    from tt_assets.market.watchlist import retire

    path = _own_watchlist()
    retire(path, symbol)
    out.print(f"Retired {symbol} from {path}. Its history stays.")


@commands.group()
def db() -> None:
    """The database."""


@db.command("start")
def db_start() -> None:
    """Start the embedded server."""
    from tt_assets.commands.platform import prepare

    out.print(f"Running at {prepare(sync=False).database.masked()}", highlight=False)


@db.command("stop")
def db_stop() -> None:
    """Stop the embedded server."""
    if not _stop_server(Settings()):
        out.print("No embedded server was running.")


@db.command("status")
@as_json
def db_status(json_: bool) -> None:
    """Where the database is, whether it answers, and its schema."""
    from tt_assets.commands.database import describe

    _print_rows([describe(Settings())], json_, title="database")


@db.command("upgrade")
def db_upgrade() -> None:
    """Create or upgrade the schema."""
    from tt_assets.commands.platform import prepare
    from tt_assets.storage.schema import current

    out.print(f"Schema is at revision {current(prepare(sync=False).database)}.")


@db.command("url")
@click.option("--show-password", is_flag=True, help="Print the password too.")
def db_url(show_password: bool) -> None:
    """Print the address of the tables."""
    from tt_assets.storage.database import Database

    database = Database.from_settings(Settings())
    print(database.adbc_uri() if show_password else database.masked())  # noqa: T201 - to be piped


@db.command("psql", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def db_psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the tables; ARGUMENTS go to psql."""
    from tt_assets.commands.database import psql

    sys.exit(psql(Settings(), arguments))


@commands.command("settings")
@as_json
def settings_(json_: bool) -> None:
    """Every setting: its variable, its value now and its meaning."""
    current = Settings()
    rows = [
        {"variable": f"TT_{name.upper()}", "value": str(getattr(current, name)), "meaning": field.description}
        for name, field in Settings.model_fields.items()
    ]
    _print_rows(rows, json_, title="settings (environment or .env)")


@commands.command()
@click.argument("name", required=False)
def bench(name: str | None) -> None:
    """Run the benchmark NAME; prints JSON lines. Without a name: list them."""
    from tt_assets.bench import BENCHMARKS, run

    if name is None:
        _print_rows([{"benchmark": key, "measures": meaning} for key, meaning in BENCHMARKS.items()], False, "bench")
        return
    for line in run(name):
        print(json.dumps(line))  # noqa: T201


def _span(settings: Settings, first: str | None, last: str | None) -> Any:
    from tt_assets.commands.selection import latest_session, parse_date, session_span
    from tt_assets.horizon import horizon

    return session_span(
        parse_date(first, "--from") if first else None,
        parse_date(last, "--to") if last else None,
        horizon(settings),
        latest_session(),
    )


def _own_watchlist() -> Any:
    """The watchlist file to edit; the bundled sample is not the user's to change."""
    from tt_assets.settings import SAMPLE_WATCHLIST

    path = Settings().watchlist
    if path == SAMPLE_WATCHLIST:
        raise UserError(f"{path} is the bundled sample; copy it, set TT_WATCHLIST to the copy and edit that.")
    return path


def _stop_server(settings: Settings) -> bool:
    from tt_assets.commands.database import stop_embedded

    stopped = stop_embedded(settings)
    if stopped:
        out.print("Stopped the embedded server.")
    return stopped


def _print_status(platform: Any, *, json_: bool) -> None:
    from tt_assets.commands.platform import open_instance
    from tt_assets.commands.status import status_grid, table_statuses

    statuses = table_statuses(platform.database, open_instance())
    if json_:
        print(json.dumps([asdict(status) for status in statuses], indent=2))  # noqa: T201
    else:
        out.print(status_grid(statuses))


def _print_rows(rows: Sequence[dict[str, Any]], json_: bool, title: str) -> None:
    if json_:
        print(json.dumps(rows, indent=2, default=str))  # noqa: T201
        return
    grid = Grid(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        grid.add_column(column)
    for row in rows:
        grid.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()))
    out.print(grid)


def _finish(outcome: Any) -> None:
    from tt_assets.commands.backfill import show_failures

    if not outcome.ok:
        show_failures(outcome, err)
        sys.exit(1)


if __name__ == "__main__":
    main()
