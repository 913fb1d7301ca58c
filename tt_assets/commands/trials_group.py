"""`tt trials`: what was tried, and how two tries differ."""

from __future__ import annotations

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, say, show
from tt_assets.errors import counted
from tt_assets.settings import Settings


@click.group()
def trials() -> None:
    """What was tried, and what came of it."""


@trials.command("list", short_help="Print every trial.")
@click.option("--instruments", "traded", metavar="P", help="A symbol or portfolio. Default: all.")
@as_json
@with_settings
def trials_list(settings: Settings, traded: str | None, json_: bool) -> None:
    """Print every trial in the order registered, judged or not; all of them count.

    Trials of one configuration, code and set of seeds count once, however often they were judged on newer bars.
    """
    from tt_assets.postgres.trials import count, trials_of
    from tt_assets.report.trials import trial_rows
    from tt_assets.runtime.platform import attach

    found = trials_of(attach(settings).database, traded)
    show(trial_rows(found), json_, title="tt_trial")
    if not json_:
        say(f"{counted(count(found), 'configuration')} counted.")


@trials.command("show", short_help="Print one trial whole.")
@click.argument("trial", type=int)
@as_json
@with_settings
def trials_show(settings: Settings, trial: int, json_: bool) -> None:
    """Print everything of the trial with this number: state, figures, settings."""
    from tt_assets.postgres.trials import trial_of
    from tt_assets.report.trials import figure_label, trial_facts
    from tt_assets.runtime.platform import attach

    found = trial_of(attach(settings).database, trial)
    show(trial_facts(found, name_of=str if json_ else figure_label), json_, title=f"trial {trial}")


@trials.command("compare", short_help="Print how two trials differ.")
@click.argument("one", type=int)
@click.argument("other", type=int)
@as_json
@with_settings
def trials_compare(settings: Settings, one: int, other: int, json_: bool) -> None:
    """Print the settings in which the trials ONE and OTHER differ, and their figures side by side."""
    from tt_assets.postgres.trials import trial_of
    from tt_assets.report.trials import compared_rows, figure_label, no_difference
    from tt_assets.runtime.platform import attach

    database = attach(settings).database
    both = trial_of(database, one), trial_of(database, other)
    rows = compared_rows(*both, name_of=str if json_ else figure_label)
    show(rows, json_, title=f"trials {one} and {other}")
    if not json_ and (said := no_difference(*both)):
        say(said)
