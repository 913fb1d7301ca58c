"""`tt doctor` on the command line."""

from __future__ import annotations

import sys

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, print_json, print_one
from tt_assets.settings import Settings


@click.command(short_help="What is there, and what is missing.")
@as_json
@with_settings
def doctor(settings: Settings, json_: bool) -> None:
    """Versions, database, home, free disk, the processes of `tt up` and their last deaths, and what is wrong.

    Starts and changes nothing; exit code 1 where something is wrong.
    """
    from tt_assets.commands.doctor import examine, rows

    found = examine(settings)
    if json_:
        print_json(found)
    else:
        print_one(rows(found), title="doctor")
    sys.exit(1 if found["wrong"] else 0)
