"""`tt signals`: the signals that have scores, scores from elsewhere, and taking them away again."""

from __future__ import annotations

from pathlib import Path

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, say, show
from tt_assets.errors import UserError
from tt_assets.postgres.database import Database
from tt_assets.settings import Settings


@click.group()
def signals() -> None:
    """Signal scores."""


@signals.command("import", short_help="Import scores from a CSV or parquet file.")
@click.argument("file", type=click.Path(path_type=Path))
@with_settings
def signals_import(settings: Settings, file: Path) -> None:
    """Import FILE: instrument, timestamp, signal_name, score in [-1, 1], and perhaps meta_json.

    The file lands whole or not at all. Its partitions are reported to Dagster, so lineage stays true. Agents are
    judged on the signals they were trained with: a new one is seen by agents that are trained after it.
    """
    from tt_assets.commands.signals_import import import_scores
    from tt_assets.runtime.platform import prepare

    database = prepare(settings).database
    before = {str(row["signal"]) for row in stored_signals(database)}
    done = import_scores(file)
    say(
        f"Imported {done.rows:,} scores into {done.cells:,} partitions of tt_signal_scores: {done.inserted:,} new, "
        f"{done.changed:,} changed, {done.deleted:,} deleted."
    )
    new = [str(row["signal"]) for row in stored_signals(database) if row["signal"] not in before]
    if new:
        say(
            f"{', '.join(new)}: seen by agents trained from now on (`tt train`). Those there are were trained without, "
            "and go on as they were; their windows are rolled again on the changed scores."
        )


@signals.command("list", short_help="Print every signal with scores.")
@as_json
@with_settings
def signals_list(settings: Settings, json_: bool) -> None:
    """Print every signal with scores: how many, of how many instruments, from when to when."""
    from tt_assets.runtime.platform import attach

    show(stored_signals(attach(settings).database), json_, title="tt_signal_scores")


@signals.command("remove", short_help="Delete every score of one signal.")
@click.argument("name")
@with_settings
def signals_remove(settings: Settings, name: str) -> None:
    """Delete every score of the signal NAME; agents trained with it cannot act without it."""
    from tt_assets.notebook.engines import get_engine
    from tt_assets.notebook.market_writes import remove_signal
    from tt_assets.runtime.platform import prepare

    database = prepare(settings).database
    known = [str(row["signal"]) for row in stored_signals(database)]
    if name not in known:
        raise UserError(f'No score of "{name}" is stored; there are scores of {", ".join(known) or "no signal"}.')
    done = remove_signal(get_engine(), name)
    say(f"Deleted {done.deleted:,} scores of {name} from {done.cells:,} partitions of tt_signal_scores.")


def stored_signals(database: Database) -> list[dict[str, object]]:
    """The signals in `tt_signal_scores` by name."""
    with database.connect() as connection:
        rows = connection.execute(
            # Bars with the same signals are counted together before their names are looked at.
            "SELECT n.signal_name, sum(g.bars)::bigint, count(DISTINCT g.instrument), min(g.first)::date::text, "
            "max(g.last)::date::text FROM (SELECT instrument, names, count(*) AS bars, min(timestamp) AS first, "
            "max(timestamp) AS last FROM tt_signal_bar GROUP BY 1, 2) AS g, unnest(g.names) AS v(name) "
            "JOIN tt_signal_name AS n ON n.id = v.name GROUP BY 1 ORDER BY 1"
        ).fetchall()
    names = ("signal", "scores", "instruments", "first", "last")
    return [dict(zip(names, row, strict=True)) for row in rows]
