"""What to hold as people read it, on the terminal and on the page of `tt_target_weights`: the same rows and words."""

from __future__ import annotations

from datetime import date
from typing import Any

from tt_assets.errors import counted
from tt_assets.market.calendar import sessions
from tt_assets.market.watchlist_format import CASH
from tt_assets.trading.episodes.holdings import Holdings


def holding_rows(found: Holdings, currency: str = "USD") -> list[dict[str, Any]]:
    """What to hold as rows for people: a share in percent, shares and USD rounded, the age of a bar where it is old."""
    rows = []
    for own in found.positions:
        old = own.bar is not None and own.bar != found.session
        age = (
            f" (last bar {own.bar}, {len(sessions(own.bar, found.session)) - 1} sessions old)"
            if old and own.bar
            else ""
        )
        rows.append(
            {
                "instrument": own.instrument,
                "weight %": f"{own.weight:.2%}".rstrip("%"),
                "before %": f"{own.weight_before:.2%}".rstrip("%"),
                f"close {currency}": "" if own.close is None else f"{own.close:,.2f}",
                "shares": "" if own.shares is None else _quantity(own.shares, own.instrument, currency),
                "change": "" if own.change is None else _quantity(own.change, own.instrument, currency, signed=True),
                "reason": own.reason + age,
            }
        )
    return rows


def _quantity(value: float, name: str, currency: str, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return (
        f"{value + 0.0:{sign},.2f} {currency}" if name == CASH else f"{value + 0.0:{sign},.4f}".rstrip("0").rstrip(".")
    )


def held_by(found: Holdings) -> str:
    """Whose positions these are, in words."""
    if len(found.seeds) == 1:
        return "one agent"
    return f"{'mean action' if found.together else 'mean'} of {counted(len(found.seeds), 'agent')}"


def summary(found: Holdings, latest: date, currency: str = "USD") -> list[str]:
    """Who decided, on which bars and how old they are, and of how much capital the shares are: lines for people."""
    age = len(sessions(found.session, latest)) - 1
    agents = ", ".join(f"{seed} {sha256[:12]}" for seed, sha256 in found.seeds.items())
    lines = [
        f"{found.traded} after the close of {found.session}, "
        + ("the latest session" if age == 0 else f"{counted(age, 'session')} before the latest ({latest})")
        + f"; {found.capital:,.2f} {currency}.",
        f"Held by: {held_by(found)} of the window {found.window}, seed and sha256: {agents}.",
    ]
    if found.stopped:
        lines.append(f"Stopped, and in cash since: seed {', '.join(map(str, found.stopped))}.")
    return lines
