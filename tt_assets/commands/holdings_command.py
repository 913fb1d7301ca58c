"""`tt holdings` on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from tt_assets.commands.completion import complete_traded
from tt_assets.commands.handed_settings import with_settings
from tt_assets.commands.printing import as_json, err, print_json, print_rows
from tt_assets.errors import UserError
from tt_assets.settings import Settings

WIDEST = 80
"""Characters of a column: the reasons of several agents are sentences."""


@click.command(short_help="What to hold at the next open.")
@click.option(
    "--portfolio", metavar="P", help="Portfolio or symbol. Default: the only one.", shell_complete=complete_traded
)
@click.option("--capital", metavar="USD", type=float, help="What is to be invested. Default: TT_INITIAL_CASH.")
@click.option(
    "--positions",
    metavar="CSV",
    type=click.Path(path_type=Path),
    help="What is held: symbol, quantity; CASH in USD. The change is against it, and it is the capital.",
)
@click.option("--session", metavar="D", help="What was said at the close of an earlier session.")
@click.option("--csv", "as_csv", is_flag=True, help="Print an order ticket of the change as CSV.")
@click.option("--unpromoted", is_flag=True, help="With --csv: print the ticket although the gate did not promote.")
@as_json
@with_settings
def holdings(
    settings: Settings,
    portfolio: str | None,
    capital: float | None,
    positions: Path | None,
    session: str | None,
    as_csv: bool,
    unpromoted: bool,
    json_: bool,
) -> None:
    """What the agents decided on the newest close: weight and shares of each instrument, the change, and why.

    What is judged is held: the mean action of the window's seeds. Refused where bars of a closed session are missing
    or the agents have not seen them. Nothing is sent anywhere.
    """
    from tt_assets.commands.holdings import as_json as whole
    from tt_assets.commands.holdings import current_holdings, portfolio_of, ticket
    from tt_assets.grid.horizon import horizon
    from tt_assets.postgres.promotions import promotion_status
    from tt_assets.report.holdings import holding_rows, summary
    from tt_assets.runtime.platform import attach, open_instance
    from tt_assets.runtime.selection import parse_date

    if as_csv and json_:
        raise UserError("--csv and --json are two forms of one answer; give one of them.")
    if capital is not None and not 0.0 < capital < float("inf"):
        raise UserError(f"--capital {capital:g} is not above 0; give it in USD.")
    asked = parse_date(session, "--session") if session else None
    platform = attach(settings)
    found = current_holdings(
        platform,
        open_instance(),
        portfolio_of(platform, portfolio),
        session=asked,
        capital=capital,
        positions=positions,
    )
    latest = horizon(settings).latest_session()
    status = promotion_status(platform.database, found.traded, found.session, grain=settings.date_grain)
    if json_:
        told = {"promoted": status.promoted, "promotion": str(status)}
        print_json({**whole(found, latest), **told})
        return
    lines = [*summary(found, latest, settings.currency), f"{found.traded} is {status}"]
    if as_csv:
        if not status.promoted and not unpromoted:
            raise UserError(f"{found.traded} is {status} An order ticket of it is printed with --unpromoted only.")
        print(ticket(platform, found), end="")  # noqa: T201
        for line in lines:
            err().print(line, highlight=False, markup=False)
        return
    print_rows(holding_rows(found, settings.currency), title="\n".join(lines), widest=WIDEST)
