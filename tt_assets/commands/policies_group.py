"""`tt policies`: the agents in force, and the earlier ones that stay with their episodes until somebody prunes them."""

from __future__ import annotations

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, say, show
from tt_assets.postgres.database import Database
from tt_assets.settings import Settings


@click.group()
def policies() -> None:
    """Agents in force, and earlier ones."""


@policies.command("list", short_help="Print every agent and whether it is in force.")
@as_json
@with_settings
def policies_list(settings: Settings, json_: bool) -> None:
    """Print every agent: its window, whether it is in force, and its finished episodes."""
    from tt_assets.runtime.platform import attach

    show(stored_policies(attach(settings).database), json_, title="tt_policy")


@policies.command("prune", short_help="Delete earlier agents with their episodes.")
@click.option("--older-than", "days", type=click.IntRange(min=0), default=0, help="Days since they were superseded.")
@with_settings
def policies_prune(settings: Settings, days: int) -> None:
    """Delete the agents that others took the place of, and their episodes.

    An agent whose successor was not rolled yet stays: its episodes are all there is of its window.
    """
    from tt_assets.runtime.platform import prepare

    pruned, episodes = prune(prepare(settings).database, days)
    say(f"Deleted {pruned:,} earlier agents and {episodes:,} of their episodes.")


def stored_policies(database: Database) -> list[dict[str, object]]:
    """Every agent by window, what it trades and seed, the one in force first."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT p.id, p.window_start::text, p.instrument, p.seed, left(p.sha256, 12), p.superseded_at, "
            "(SELECT count(*) FROM tt_episode e WHERE e.policy_id = p.id AND e.end_time IS NOT NULL) "
            "FROM tt_policy p ORDER BY 2, 3, 4, p.superseded_at DESC NULLS FIRST, 1"
        ).fetchall()
    return [
        {
            "id": number,
            "window": window,
            "traded": traded,
            "seed": seed,
            "sha256": sha256,
            "in_force": superseded is None,
            "superseded_at": superseded.isoformat(timespec="seconds") if superseded else "",
            "episodes": episodes,
        }
        for number, window, traded, seed, sha256, superseded, episodes in rows
    ]


def prune(database: Database, days: int) -> tuple[int, int]:
    """Delete agents superseded at least `days` days ago; how many, and how many of their episodes."""
    with database.connect() as connection, connection.transaction():
        doomed = [
            number
            for (number,) in connection.execute(
                "SELECT id FROM tt_policy AS p WHERE superseded_at <= now() - make_interval(days => %s) AND NOT EXISTS "
                "(SELECT FROM tt_episode AS e WHERE e.policy_id = p.id AND e.strategy = 'agent') FOR UPDATE",
                [days],
            ).fetchall()
        ]
        ((episodes,),) = connection.execute(
            "SELECT count(*) FROM tt_episode WHERE policy_id = ANY(%s)", [doomed]
        ).fetchall()
        connection.execute("DELETE FROM tt_policy WHERE id = ANY(%s)", [doomed])
    return len(doomed), episodes
