"""`tt env`: the variables that make another shell, an IDE or a service work on the same home."""

from __future__ import annotations

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, print_json, say
from tt_assets.settings import Settings


@click.command("env", short_help="Variables for a shell, an IDE or a service.")
@click.option("--no-export", is_flag=True, help="NAME=value lines, for a service's EnvironmentFile or an IDE.")
@click.option("--show-password", is_flag=True, help="Print passwords too.")
@as_json
@with_settings
def env(settings: Settings, no_export: bool, show_password: bool, json_: bool) -> None:
    """Print what a shell needs for Dagster's own commands to work on this home from any folder.

    `eval "$(tt env)"` sets it. In a checkout Dagster's commands need none of it. A line whose password is left out is a
    comment, so that evaluating it changes nothing.
    """
    from tt_assets.runtime.instance_file import place_instance_file
    from tt_assets.runtime.shell_environment import shell_line, variables

    place_instance_file(settings)
    found = variables(settings, show_secrets=show_password)
    if json_:
        print_json({variable.name: variable.value for variable in found})
        return
    for variable in found:
        say(shell_line(variable, export=not no_export))
