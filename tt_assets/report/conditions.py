"""What a judgement was made under, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from tt_assets.errors import counted
from tt_assets.trading.config import TradingConfig


def conditions_line(
    config: TradingConfig, *, total_return: bool, cash: str, benchmark: str, members: Sequence[str], chosen: str
) -> str:
    """Price or total return, cash, costs, execution, universe and when it was chosen.

    Parameters
    ----------
    config : how accounts trade.
    total_return : whether dividends are in the closes.
    cash : what cash earns, in words.
    benchmark : symbol of the benchmark; empty where there is none.
    members : everything that was held in any window.
    chosen : when the universe was chosen, in words.
    """
    kind = "Total return (dividends are in the adjusted closes)" if total_return else "Price return without dividends"
    costs = [f"commission {config.commission_bps:g} bps", f"slippage {config.slippage_bps:g} bps"]
    if config.commission_per_share or config.commission_minimum:
        costs.append(f"{config.commission_per_share:g} a share, at least {config.commission_minimum:g} an order")
    if config.cost_model != "proportional":
        costs.append(f"cost model {config.cost_model}")
    if config.allow_shorts:
        costs.append(f"borrow fee {config.borrow_bps:g} bps a year")
    held = ", ".join(members) if len(members) <= 8 else f"{len(members)} instruments"
    against = f"; benchmark {benchmark}, bought and held" if benchmark else ""
    where = config.execution.replace("_", " ")
    return f"{kind}; cash earns {cash}; {', '.join(costs)}; filled at the {where}; universe {held} ({chosen}){against}."


TODAY = "today's universe: survivorship bias"
"""What a universe is called whose members have no dates."""


def chosen_text(first: date | None, changes: int) -> str:
    """When a universe was chosen: from the dates of its members."""
    if first is None:
        return TODAY
    return f"by date since {first}, {counted(changes, 'change')}"
