"""One place that makes the platform ready for a command: server, schema, Dagster instance, partition keys.

Every process that touches Dagster gets its whole environment from here, so the webserver, the daemon and
the runs they start agree on the storage and on how events are batched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tt_assets.grid.bars_files import watchlist_of
from tt_assets.market.watchlist import Watchlist
from tt_assets.postgres.database import Database
from tt_assets.postgres.grants import GrantsError, grant
from tt_assets.postgres.patience import patiently
from tt_assets.runtime import in_use
from tt_assets.runtime.current import current_settings
from tt_assets.runtime.instance_file import dagster_home, decides, logs_folder, place_instance_file
from tt_assets.runtime.one_calendar import hold_calendar
from tt_assets.runtime.one_grain import hold_grain
from tt_assets.runtime.own_modules import find_own_modules, python_path
from tt_assets.settings import Settings, database_of

if TYPE_CHECKING:
    import dagster as dg

INSTRUMENTS = "instrument"
TRADED = "traded"


class DynamicKeys(Protocol):
    """What keeps the keys of a dynamic dimension: an instance of Dagster's, or the storage of its event log."""

    def get_dynamic_partitions(self, partitions_def_name: str, /) -> Sequence[str]:
        """The keys of the dimension."""
        ...

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str], /) -> None:
        """Add keys to the dimension; those it has stay as they are."""
        ...


@dataclass(frozen=True)
class Platform:
    """What a command works with once everything below it is ready."""

    settings: Settings
    database: Database
    watchlist: Watchlist


READY = "TT_READY"
"""Names the home whose database, schema and partition keys this process or an ancestor of it has seen to."""


def environment(settings: Settings) -> Mapping[str, str]:
    """The variables that Dagster's processes are to have. No secret is among them: addresses come from the settings."""
    home = dagster_home(settings)
    return {
        "DAGSTER_HOME": str(home),
        "TT_DAGSTER_LOGS": str(logs_folder(settings)),
        # Bookkeeping of a thousand partitions falls from a minute to a second.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1",
        "TT_HOME": str(settings.home),
        "PYTHONPATH": os.pathsep.join(python_path(settings)),
    }


def prepare(settings: Settings, *, sync: bool = True) -> Platform:
    """Start the embedded server if there is one, create the databases, upgrade the schema, sync the watchlist.

    With `sync` Dagster also hears what runs that are gone could not say any more (see `settle_dead_runs`). Raises a
    `UserError` naming what is wrong with the server, the schema or the watchlist; nothing is changed then beyond what
    was already done in that order.
    """
    platform = upgraded(settings)
    adopt(platform)
    if sync:
        instance = open_instance()
        patiently(platform.database, lambda: settle_dead_runs(instance, platform.database))
        if not settings.worker:
            add_keys(instance, platform.watchlist)
    return platform


def prepare_schema(settings: Settings) -> Platform:
    """As `prepare`, for whoever owns the tables: Dagster's storage is made too, and the roles get their rights.

    From then on a member of tt_writer is enough for all work. Where the user may not give rights, or the server has
    none of the roles, they stay as they are.
    """
    platform = prepare(settings, sync=False)
    open_instance().dispose()
    with suppress(GrantsError):
        grant(database_of(settings, owner=True))
    return platform


def settle_dead_runs(instance: dg.DagsterInstance, database: Database) -> None:
    """End the runs whose process is gone, and tell Dagster what they, or writers without a run, had committed."""
    from tt_assets.runs.owners import bury_dead_runs
    from tt_assets.runs.telling import tell

    bury_dead_runs(instance)
    tell(instance, database)


def upgraded(settings: Settings, *, any_grain: bool = False) -> Platform:
    """The platform with its server running and its schema at the revision of this package. Raises as `prepare`.

    A worker changes no schema: it is refused where that is another one's. With `any_grain` the stored partitions may be
    of another width than the settings say, for who moves them.
    """
    from tt_assets.postgres.schema import upgrade

    if settings.worker:
        return _checked(settings)
    watchlist = watchlist_of(settings)
    in_use.hold(settings)
    owner = database_of(settings, start=True, owner=True)
    owner.create_databases()
    upgrade(owner, grain=settings.date_grain)
    database = database_of(settings, start=True)
    hold_calendar(settings, database)
    if not any_grain:
        hold_grain(settings, database)
    return Platform(settings, database, watchlist)


def attach(settings: Settings) -> Platform:
    """As `prepare`, for commands that only look: the schema is checked, not changed, and no partition key is added."""
    platform = _checked(settings)
    adopt(platform)
    return platform


def _checked(settings: Settings) -> Platform:
    """The platform with its server running; what it holds is looked at and left as it is."""
    from tt_assets.postgres.schema import check

    watchlist = watchlist_of(settings)
    in_use.hold(settings)
    database = database_of(settings, start=True)
    check(database)
    hold_calendar(settings, database)
    hold_grain(settings, database)
    database.check_dagster()
    return Platform(settings, database, watchlist)


def adopt(platform: Platform) -> None:
    """Make this process's environment that of the platform, with the instance file in its place."""
    place_instance_file(platform.settings)
    os.environ.update({**environment(platform.settings), READY: str(platform.settings.home)})
    find_own_modules(platform.settings)


def sync_watchlist(platform: Platform) -> tuple[list[str], list[str]]:
    """Add the watchlist's instruments and portfolios as partition keys; returns the new ones. Nothing is removed."""
    return add_keys(open_instance(), platform.watchlist)


def add_keys(store: DynamicKeys, watchlist: Watchlist) -> tuple[list[str], list[str]]:
    """The instruments and portfolios of `watchlist` that `store` did not know; it knows them now."""

    def add(dimension: str, names: Sequence[str]) -> list[str]:
        known = set(store.get_dynamic_partitions(dimension))
        added = [name for name in names if name not in known]
        if added:
            store.add_dynamic_partitions(dimension, added)
        return added

    return add(INSTRUMENTS, watchlist.symbols), add(TRADED, watchlist.traded)


def open_instance() -> dg.DagsterInstance:
    """The Dagster instance of the platform for this process; pools have their limits. After `prepare` or `attach`.

    What a step prints stays on the terminal: Dagster would start two processes a step to copy it into files, which
    Ctrl-C then reaches too.
    """
    from tt_assets.runs._dagster import TERMINAL, instance_at

    instance = instance_at(Path(os.environ["DAGSTER_HOME"]), compute_logs=TERMINAL)
    limit_pools(instance.event_log_storage, current_settings())
    return instance


def limit_pools(storage: Any, settings: Settings) -> None:
    """Give the pools their limits, where this process decides over them. `storage` is the event log's; it has them."""
    if not decides(settings):
        return
    limits = {info.name: info.limit for info in storage.get_pool_limits()}
    for pool, limit in (("ibkr", 1), ("training", settings.train_slots)):
        if limits.get(pool) != limit:
            storage.set_concurrency_slots(pool, limit)
