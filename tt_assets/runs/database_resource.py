"""The `tt` database as a Dagster resource.

The database is opened from the settings the code location was loaded with, when a step first asks for it. It has no
config: nothing of it, least of all a password, is in what Dagster stores or shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dagster as dg

from tt_assets.postgres.database import Database

Refuse = Callable[[Mapping[str, str]], None]
"""Raises where this machine must not make a run with these tags."""

OpenDatabase = Callable[[], Database]
"""Gives the database when it is needed: the embedded server may be made after the definitions were loaded."""


def database_resource(open_database: OpenDatabase, refuse: Refuse = lambda tags: None) -> dg.ResourceDefinition:
    """The resource `database`, whose value is the `Database` that `open_database` gives.

    Every run asks for it before its first step: what `refuse` raises of the tags of a run ends it there.
    """

    def opened(context: dg.InitResourceContext) -> Database:
        if context.run is not None:
            refuse(context.run.tags)
        return open_database()

    return dg.ResourceDefinition(opened, description="The PostgreSQL database with the thirteen tables.")
