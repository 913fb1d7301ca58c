"""`tt db`: the database."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, err, print_json, print_one, say
from tt_assets.errors import UserError
from tt_assets.settings import Settings, database_of

of_owner = click.option(
    "--owner", is_flag=True, help="As the superuser of the embedded server, who may do anything to it."
)


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


@db.command("upgrade", short_help="Create or upgrade the schema.")
@with_settings
def db_upgrade(settings: Settings) -> None:
    """Create or upgrade the tables and Dagster's storage, as their owner, and give the roles their rights."""
    from tt_assets.postgres.schema import current
    from tt_assets.runtime.platform import prepare_schema

    say(f"Schema is at revision {current(prepare_schema(settings).database)}.")


@db.command("url")
@click.option("--show-password", is_flag=True, help="Print the password too.")
@click.option("--read-only", is_flag=True, help="That of a login that only reads, for BI tools, its password in it.")
@of_owner
@with_settings
def db_url(settings: Settings, show_password: bool, read_only: bool, owner: bool) -> None:
    """Print the address of the tables."""
    if read_only:
        from tt_assets.commands.database import read_only_url

        say(read_only_url(settings))
        return
    database = database_of(settings, owner=owner)
    say(database.adbc_uri() if show_password else database.masked())


@db.command("dump", short_help="Both databases into one file.")
@click.argument("file", type=click.Path(path_type=Path))
@with_settings
def db_dump(settings: Settings, file: Path) -> None:
    """Write the tables and Dagster's storage to FILE, as of one moment, while work goes on; FILE is read back."""
    from tt_assets.commands.backup import dump

    manifest = dump(settings, file)
    say(
        f"{file}: {sum(manifest.rows.values()):,} rows of {len(manifest.rows)} tables and Dagster's storage, "
        f"{file.stat().st_size / 1e6:,.1f} MB, read back whole."
    )


@db.command("restore", short_help="An empty home or database out of such a file.")
@click.argument("file", type=click.Path(path_type=Path))
@with_settings
def db_restore(settings: Settings, file: Path) -> None:
    """Fill the empty databases of this home (or of TT_DATABASE_URL) from FILE, whole or not at all."""
    from tt_assets.commands.backup import restore
    from tt_assets.commands.grain_on_record import outweighing

    manifest, grain = restore(settings, file)
    say(f"Restored {sum(manifest.rows.values()):,} rows as of {manifest.taken_at}. `tt status` says what is there.")
    if grain != settings.date_grain:
        other = outweighing(settings, grain)
        as_recorded = f". {other}" if other else f", as {settings.home / '.env'} says now."
        say(f"One partition of the market tables is one {grain}{as_recorded}")


@db.command("prune", short_help="Remove old runs and events that nothing shows any more.")
@click.option("--older-than", help="Such as 90d, 12w or 2y; without it TT_PRUNE_AFTER days.")
@click.option("--vacuum", is_flag=True, help="Have the server reuse the space at once, not when autovacuum comes by.")
@with_settings
def db_prune(settings: Settings, older_than: str | None, vacuum: bool) -> None:
    """Remove old runs, what they printed, and events and results of checks that newer ones have taken the place of.

    The newest of every partition stays, and so does every status. Work may go on meanwhile; Ctrl-C leaves all whole.
    """
    from tt_assets.commands.prune import age, in_words, prune_history

    oldest = age(older_than or f"{settings.prune_after}d")
    with err().status("Looking for what nothing shows any more") as line:
        pruned = prune_history(
            settings, oldest, reuse=vacuum, tell=lambda so_far: line.update(f"Removed {in_words(so_far)}")
        )
    say(f"Removed {in_words(pruned)}, all older than {oldest.days} days.")
    if pruned.removed.events and not vacuum:
        say("The server reuses the space after its next autovacuum; `tt db prune --vacuum` does not wait for it.")


@db.command("grants", short_help="Give the roles their rights again.")
@with_settings
def db_grants(settings: Settings) -> None:
    """Give tt_owner, tt_writer and tt_reader their rights in both databases, after an administrator made them."""
    from tt_assets.postgres.grants import grant

    say(f"Rights given to {', '.join(grant(database_of(settings, start=True, owner=True)))}.")


@db.command("psql", context_settings={"ignore_unknown_options": True})
@of_owner
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_settings
def db_psql(settings: Settings, arguments: tuple[str, ...], owner: bool) -> None:
    """Open psql on the tables; ARGUMENTS go to psql."""
    from tt_assets.commands.database import psql

    sys.exit(psql(settings, arguments, owner=owner))
