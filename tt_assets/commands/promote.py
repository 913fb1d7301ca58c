"""`tt promote`: ask the gate about the agents of a portfolio, and write down what it says."""

from __future__ import annotations

import sys

import click

from tt_assets.commands.completion import complete_instruments
from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, err, paragraph, print_json, say, show
from tt_assets.settings import Settings


@click.command(short_help="Ask whether a portfolio's agents may be traded.")
@click.argument("portfolio", shell_complete=complete_instruments)
@as_json
@with_settings
def promote(settings: Settings, portfolio: str, json_: bool) -> None:
    """Judge the agents of PORTFOLIO and promote them if every rule of the gate holds; exit code 1 if one does not.

    Every rule is shown with its figure and its threshold (TT_GATE_…). A refusal says by how much, and how many sessions
    more would settle it. The decision is kept in tt_promotion; it lapses after TT_GATE_LIFETIME sessions, when a bar it
    rests on is restated, and when its agents are trained again.
    """
    from dataclasses import asdict

    from tt_assets.assets.gate import decide
    from tt_assets.commands.backfill import check_trading
    from tt_assets.grid.bars_files import watchlist_of
    from tt_assets.grid.blueprint import blueprint
    from tt_assets.runs.market_reader import MarketReader
    from tt_assets.runtime.platform import prepare
    from tt_assets.runtime.selection import known_instruments

    check_trading(settings)
    (traded,) = known_instruments(portfolio, watchlist_of(settings).traded, "instrument or portfolio")
    platform = prepare(settings)
    market = MarketReader(platform.database, settings.date_grain)
    decided = decide(market, traded, blueprint(settings))
    if json_:
        print_json({**asdict(decided), "rules": [asdict(rule) for rule in decided.rules]})
    else:
        rows = [
            {
                "rule": rule.name,
                "holds": "yes" if rule.held else "NO",
                "figure": rule.figure,
                "asked": rule.threshold,
                "sessions more": "" if rule.sessions_more is None else f"{rule.sessions_more:,}",
            }
            for rule in decided.rules
        ]
        show(rows, False, title=f"the gate over {traded}, decision {decided.number}")
        if decided.promoted:
            say(f"{traded} is promoted until {decided.until}.")
        else:
            err().print(paragraph(f"{traded} is not promoted. {decided.refusal}"), highlight=False, markup=False)
    if not decided.promoted:
        sys.exit(1)
