"""`tt grain`."""

from __future__ import annotations

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import say
from tt_assets.grain import DateGrain
from tt_assets.settings import Settings


@click.command(short_help="Move the home to partitions of another width.")
@click.argument("grain", type=click.Choice([grain.value for grain in DateGrain]))
@with_settings
def grain(settings: Settings, grain: str) -> None:
    """Have a date partition of the market tables be a session, a month or a year.

    Nothing is loaded again: the rows stay as they are, and what is known of their partitions is reckoned anew. The
    home's .env records it. Runs and `tt up` have to be ended first. Stopped half way, the same command takes it up.
    """
    from tt_assets.commands.grain import move

    moved = move(settings, DateGrain(grain))
    for line in moved.lines(DateGrain(grain)):
        say(line)
