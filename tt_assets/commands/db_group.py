"""`tt db`: the database."""

from __future__ import annotations

import sys

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, print_json, print_one, say
from tt_assets.errors import UserError
from tt_assets.settings import Settings, database_of


@click.group()
def db() -> None:
    """The database."""


@db.command("start")
@with_settings
def db_start(settings: Settings) -> None:
    """Start the embedded server."""
    from tt_assets.runtime.platform import prepare

    say(f"Running at {prepare(settings, sync=False).database.masked()}")


@db.command("stop", short_help="Stop the embedded server.")
@with_settings
def db_stop(settings: Settings) -> None:
    """Stop the embedded server, whoever uses it but `tt up`, which would start it again."""
    from tt_assets.runtime.in_use import stop_embedded
    from tt_assets.runtime.up_record import owner

    if settings.database_url is None and (up := owner(settings)):
        raise UserError(f"tt up (process {up.pid}) starts the embedded server again when it stops; use `tt down`.")
    say("Stopped the embedded server." if stop_embedded(settings) else "No embedded server was running.")


@db.command("status", short_help="Where the database is and whether it can be used.")
@as_json
@with_settings
def db_status(settings: Settings, json_: bool) -> None:
    """Where the database is, whether it answers, and its schema; exit code 1 where it cannot be used as it is."""
    from tt_assets.commands.database import describe

    described = describe(settings)
    if json_:
        print_json(described)
    else:
        print_one(described, title="database")
    sys.exit(0 if described["ready"] else 1)


@db.command("upgrade")
@with_settings
def db_upgrade(settings: Settings) -> None:
    """Create or upgrade the schema."""
    from tt_assets.postgres.schema import current
    from tt_assets.runtime.platform import prepare

    say(f"Schema is at revision {current(prepare(settings, sync=False).database)}.")


@db.command("url")
@click.option("--show-password", is_flag=True, help="Print the password too.")
@with_settings
def db_url(settings: Settings, show_password: bool) -> None:
    """Print the address of the tables."""
    database = database_of(settings)
    say(database.adbc_uri() if show_password else database.masked())


@db.command("psql", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_settings
def db_psql(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Open psql on the tables; ARGUMENTS go to psql."""
    from tt_assets.commands.database import psql

    sys.exit(psql(settings, arguments))
