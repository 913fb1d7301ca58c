"""`tt cluster`: what other machines need to work for this one."""

from __future__ import annotations

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, print_json, say
from tt_assets.settings import Settings


@click.group(short_help="Several machines: what a worker needs.")
def cluster() -> None:
    """Several machines that carry out the runs of one queue (docs/scaling.md)."""


@cluster.command("env", short_help="Variables and versions of a worker.")
@click.option("--no-export", is_flag=True, help="NAME=value lines, for a service's EnvironmentFile.")
@click.option("--show-password", is_flag=True, help="Print passwords too.")
@as_json
@with_settings
def cluster_env(settings: Settings, no_export: bool, show_password: bool, json_: bool) -> None:
    """Print what another machine needs to carry out runs of this platform.

    Evaluate it there, in the environment that tt_assets is installed in, then start Ray in the same shell: the runs
    find `dagster` on its PATH and these variables in its environment. TT_HOME is the machine's own, by default
    ~/.tt_assets; bars and watchlist are copies under the same path, or change the two lines. A line whose password is
    left out is a comment.
    """
    from tt_assets.runtime.shell_environment import shell_line
    from tt_assets.runtime.worker_environment import leads_back, unshared, versions, worker_variables

    found, same = worker_variables(settings, show_secrets=show_password), versions()
    if json_:
        print_json({"variables": {each.name: each.value for each in found}, "versions": same})
        return
    say(f"# the same on every machine: {', '.join(f'{name} {number}' for name, number in same.items())}")
    for variable in found:
        say(shell_line(variable, export=not no_export))
    for said in (leads_back(settings), unshared(settings)):
        if said:
            say(f"# {said}")
    say("# then: ray start --address=HEAD:6379 --num-cpus=N    (on HEAD before: ray start --head --num-cpus=0)")
