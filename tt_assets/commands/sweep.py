"""`tt sweep`: look for better settings of a portfolio's agents, on sessions that nobody judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tt_assets.commands.completion import complete_traded
from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, err, print_json, print_rows, say
from tt_assets.errors import UserError
from tt_assets.settings import Settings

if TYPE_CHECKING:
    from tt_assets.assets.sweep import Swept
    from tt_assets.market.watchlist import Watchlist


@click.command(short_help="Look for better settings of agents.")
@click.option(
    "--portfolio", metavar="P", help="Portfolio or symbol. Default: the only portfolio.", shell_complete=complete_traded
)
@click.option("--trials", default=30, show_default=True, type=click.IntRange(1), help="Trials of the study in all.")
@click.option(
    "--before", metavar="D", help="Read no bar of this day or later. Default: the first window rolled or judged."
)
@click.option("--folds", default=4, show_default=True, type=click.IntRange(1), help="Quarters before it that validate.")
@click.option("--vary", metavar="A,B", help="Settings to vary. Default: all that shape what the learner learns.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of what is proposed.")
@click.option("--study", metavar="NAME", help="Name of the study. Default: made of the portfolio and all settings.")
@as_json
@with_settings
def sweep(
    settings: Settings,
    portfolio: str | None,
    trials: int,
    before: str | None,
    folds: int,
    vary: str | None,
    seed: int,
    study: str | None,
    json_: bool,
) -> None:
    """Try settings of a portfolio's agents, and print the best ones as TT_ settings.

    Agents are trained and validated on quarters before the first window that was rolled or judged, and no bar from
    there on is read: what a sweep chose on can judge nothing. What is compared is the Sharpe ratio of the mean action
    of the seeds, net of costs, over all these quarters; a trial that falls behind is given up early.

    Every trial is registered (`tt trials list`) and counted by the deflated Sharpe ratio. The same command again takes
    an interrupted sweep up; a larger --trials goes on where it ended.
    """
    from tt_assets.assets.sweep import sweep as run_sweep
    from tt_assets.assets.sweep_grounds import Request, grounds
    from tt_assets.commands.backfill import check_trading
    from tt_assets.grid.blueprint import blueprint
    from tt_assets.runs.market_reader import MarketReader
    from tt_assets.runtime.platform import prepare
    from tt_assets.runtime.selection import parse_date

    check_trading(settings)
    platform = prepare(settings)
    request = Request(
        traded=_traded(platform.watchlist, portfolio),
        trials=trials,
        folds=folds,
        before=parse_date(before, "--before") if before else None,
        vary=tuple(vary.split(",")) if vary else (),
        seed=seed,
        study=study or "",
    )
    market = MarketReader(platform.database, settings.date_grain)
    ground = grounds(request, market, platform.watchlist, blueprint(settings))
    quarters = ", ".join(map(str, ground.quarters))
    err().print(
        f"Study {ground.study}: validates on {quarters}; no bar from {ground.before} on is read.", highlight=False
    )

    def tell(done: int, of: int, note: str) -> None:
        err().print(f"trial {done + 1} of {of} {note}", highlight=False, markup=False)

    found = run_sweep(ground, market, tell)
    if json_:
        print_json(_whole(found))
        return
    print_rows([_row(found, one) for one in found.tried], title=f"study {found.study}")
    if found.best is None:
        raise UserError("No trial got through all quarters; `tt trials list` says why.")
    ratio = found.best.sharpe
    err().print(f"The best: trial {found.best.trial}, Sharpe ratio {ratio:.2f} in validation.", highlight=False)
    for line in found.lines:
        say(line)


def _traded(watchlist: Watchlist, name: str | None) -> str:
    """The portfolio meant: `name` checked, or the only one there is."""
    from tt_assets.runtime.selection import known_instruments

    if name is not None:
        return known_instruments(name, watchlist.traded, "instrument or portfolio")[0]
    chosen = list(watchlist.portfolios) or list(watchlist.traded)
    if len(chosen) > 1:
        raise UserError(f"There are {', '.join(chosen)}; say which with --portfolio.")
    return chosen[0]


def _row(found: Swept, one: Any) -> dict[str, Any]:
    return {
        "trial": one.trial,
        **{name: str(value) for name, value in one.settings.items()},
        "Sharpe ratio": "" if one.sharpe is None else f"{one.sharpe:.2f}",
        "state": "best" if found.best is one else one.state,
    }


def _whole(found: Swept) -> Mapping[str, Any]:
    from dataclasses import asdict

    return {
        "study": found.study,
        "before": found.before,
        "quarters": found.quarters,
        "trials": [asdict(one) for one in found.tried],
        "best": asdict(found.best) if found.best else None,
        "settings": found.lines,
    }
