"""`tt db dump` and `tt db restore`: both databases in one file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tt_assets import __version__
from tt_assets.commands.grain_on_record import record_grain
from tt_assets.errors import UserError
from tt_assets.grain import DateGrain
from tt_assets.postgres import backup, grants
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.binaries import find_binaries
from tt_assets.postgres.stored_grain import grain_of
from tt_assets.runtime import in_use
from tt_assets.runtime.up_record import owner
from tt_assets.settings import Settings, database_of


def dump(settings: Settings, file: Path) -> backup.Manifest:
    """Write both databases to `file`; the work of others goes on meanwhile. Raises BackupError."""
    in_use.hold(settings)
    database = database_of(settings, start=True, owner=True)
    database.check_dagster()
    return backup.dump(database, find_binaries(settings.pg_bin), file, version=__version__, grain=settings.date_grain)


def restore(settings: Settings, file: Path) -> tuple[backup.Manifest, DateGrain]:
    """Fill the empty databases of this home from `file`, and give the roles that are there their rights.

    Returns what was restored, and the grain of its partitions, which the home's `.env` names where the settings do not.
    Raises BackupError, and UserError while `tt up` serves this home.
    """
    if up := owner(settings):
        raise UserError(f"tt up (process {up.pid}) works on this home: `tt down`, then restore.")
    backup.read_manifest(file)  # before a server is made for it
    in_use.hold(settings)
    database = database_of(settings, start=True, owner=True)
    manifest = backup.restore(database, find_binaries(settings.pg_bin), file)
    with suppress(grants.GrantsError):  # without the roles the tables work for whoever restored them
        grants.grant(database)
    database.let_platform_in()
    grain = _grain_of(manifest, database, settings)
    if grain != settings.date_grain:
        record_grain(settings, grain)
    return manifest, grain


def _grain_of(manifest: backup.Manifest, database: Database, settings: Settings) -> DateGrain:
    """What the file says, else what its slices show: a year of one January reads as a month there."""
    if manifest.grain in set(DateGrain):
        return DateGrain(manifest.grain)
    with database.connect() as connection:
        return grain_of(connection, (settings.date_grain, *DateGrain)) or settings.date_grain
