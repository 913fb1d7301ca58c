"""`tt bars`: what a file or folder of bars is, without a database, and which layouts are known."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, print_json, print_one, print_rows, say, show
from tt_assets.errors import UserError, counted
from tt_assets.settings import Settings

if TYPE_CHECKING:
    from tt_assets.market.layouts.report import BarsReport

MOST_TABLES = 10


@click.group()
def bars() -> None:
    """Bars of your own: what they are, and known layouts."""


@bars.command("check", short_help="Say what a file, folder or glob of bars is, and what is wrong with it.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@as_json
@with_settings
def bars_check(settings: Settings, path: Path | None, json_: bool) -> None:
    """Say what PATH (a file, folder or glob; default: TT_BARS_PATH) is, without a database.

    The layout and how it was recognised, symbols, span, spacing, rows left out, splits that look unadjusted, and
    symbols of the watchlist without bars. Exit code 2 where it would be refused.
    """
    from tt_assets.grid.bars_files import bars_files
    from tt_assets.market.layouts.report import report_on

    found = report_on(bars_files(settings, path.absolute() if path else None))
    if json_:
        print_json(asdict(found))
    else:
        _print(found)
    if found.refusal:
        raise UserError(found.refusal)


@bars.command("list", short_help="The layouts of bars files that are recognised.")
@as_json
def bars_list(json_: bool) -> None:
    """Print the layouts of bars files that are recognised by name; others are read by their headers."""
    from tt_assets.market.layouts.recognise import ALL_KNOWN

    show([{"layout": known.name, "header": known.example, "note": known.note} for known in ALL_KNOWN], json_, "layouts")


def _print(found: BarsReport) -> None:
    tables = [
        {
            "file": Path(table.name).name,
            "layout": table.layout,
            "recognised": table.why,
            "dates": table.dates,
            "rows": table.rows,
        }
        for table in found.tables
    ]
    print_rows(tables[:MOST_TABLES], title=found.path)
    if len(tables) > MOST_TABLES:
        say(f"… and {counted(len(tables) - MOST_TABLES, 'more file')} (--json has all)")
    summary: dict[str, Any] = {
        "instruments": f"{len(found.symbols)}: {', '.join(found.symbols[:8])}{' …' if len(found.symbols) > 8 else ''}",
        "sessions": f"{found.first} to {found.last}" if found.first else "none",
        "spacing": found.spacing,
        "rows": f"{found.rows:,}",
        "bars": f"{found.bars:,}",
        "verdict": "refused" if found.refusal else "loads",
    }
    print_one(summary, title="bars")
    for left in found.left_out:
        say(f"left out: {left}")
    for line in found.warnings:
        say(f"warning: {line}")
