"""`tt db`: the database."""

from __future__ import annotations

import sys

import click

from tt_assets.commands.printing import as_json, print_json, print_one, say
from tt_assets.settings import Settings, database_of


@click.group()
def db() -> None:
    """The database."""


@db.command("start")
def db_start() -> None:
    """Start the embedded server."""
    from tt_assets.runtime.platform import prepare

    say(f"Running at {prepare(sync=False).database.masked()}")


@db.command("stop")
def db_stop() -> None:
    """Stop the embedded server, whoever uses it."""
    from tt_assets.runtime.in_use import stop_embedded

    say("Stopped the embedded server." if stop_embedded(Settings()) else "No embedded server was running.")


@db.command("status", short_help="Where the database is and whether it can be used.")
@as_json
def db_status(json_: bool) -> None:
    """Where the database is, whether it answers, and its schema; exit code 1 where it cannot be used as it is."""
    from tt_assets.commands.database import describe

    described = describe(Settings())
    if json_:
        print_json(described)
    else:
        print_one(described, title="database")
    sys.exit(0 if described["ready"] else 1)


@db.command("upgrade")
def db_upgrade() -> None:
    """Create or upgrade the schema."""
    from tt_assets.postgres.schema import current
    from tt_assets.runtime.platform import prepare

    say(f"Schema is at revision {current(prepare(sync=False).database)}.")


@db.command("url")
@click.option("--show-password", is_flag=True, help="Print the password too.")
def db_url(show_password: bool) -> None:
    """Print the address of the tables."""
    database = database_of(Settings())
    say(database.adbc_uri() if show_password else database.masked())


@db.command("psql", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def db_psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the tables; ARGUMENTS go to psql."""
    from tt_assets.commands.database import psql

    sys.exit(psql(Settings(), arguments))
