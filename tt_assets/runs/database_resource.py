"""The `tt` database as a Dagster resource.

The database is opened from the settings the code location was loaded with, when a step first asks for it. It has no
config: nothing of it, least of all a password, is in what Dagster stores or shows.
"""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from tt_assets.postgres.database import Database

OpenDatabase = Callable[[], Database]
"""Gives the database when it is needed: the embedded server may be made after the definitions were loaded."""


def database_resource(open_database: OpenDatabase) -> dg.ResourceDefinition:
    """The resource `database`, whose value is the `Database` that `open_database` gives."""
    return dg.ResourceDefinition(
        lambda context: open_database(), description="The PostgreSQL database with the thirteen tables."
    )
