"""Recorded episodes of one portfolio as chained curves: what its agents and the baselines made of a unit of money."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tt_assets.report.labels import strategy_label
from tt_assets.report.palette import LINES, OTHER_LINE
from tt_assets.report.verdict import YARDSTICK
from tt_assets.tables import HAND, OLD_AGENT
from tt_assets.trading.judging.judge import AGENT, ENSEMBLE
from tt_assets.trading.metrics import SESSIONS_PER_YEAR, max_drawdown, sharpe_ratio
from tt_assets.web.site import Look, NotThere

STYLES = {"-": 0, ":": 1, "--": 2, "-.": 2}
MEAN = -1
"""The seed of the curve of all seeds together: their mean action where it was rolled, else equal parts with each."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Wealth by session of every strategy and seed, 1 before the first window; an account starts each window in cash.

    wealth : sessions × (strategy, seed), all agents together as seed MEAN.
    windows : first days of the windows, ascending.
    subject : the strategy whose books are those of all agents together: their mean action where every window has it.
    """

    wealth: pd.DataFrame
    windows: tuple[str, ...]
    subject: str = AGENT

    @property
    def times(self) -> list[str]:
        """The sessions as text."""
        return [f"{day:%Y-%m-%d}" for day in self.wealth.index]

    @property
    def columns(self) -> list[tuple[str, int]]:
        """Strategy and seed of each curve."""
        return [(str(name), int(seed)) for name, seed in list(self.wealth.columns)]  # type: ignore[str-unpack] # pairs

    def seeds(self, strategy: str) -> list[int]:
        """The seeds of `strategy`, without the mean."""
        return [seed for name, seed in self.columns if name == strategy and seed != MEAN]

    def of(self, strategy: str, seed: int | None = None) -> pd.Series:
        """One curve; without `seed` all agents together, and of another strategy its first account."""
        own = self.seeds(strategy)
        together = strategy == AGENT and len(own) > 1
        return self.wealth[(strategy, seed if seed is not None else MEAN if together else own[0])]

    def label(self, strategy: str, seed: int | None = None) -> str:
        """What the curve `of` them is called: as the report calls it where both have it."""
        if seed is None and strategy == AGENT and len(self.seeds(AGENT)) > 1:
            whole = self.subject == ENSEMBLE
            return label_of(ENSEMBLE) if whole else f"{label_of(AGENT)}, mean of {len(self.seeds(AGENT))} seeds"
        return label_of(strategy, seed)

    @property
    def strategies(self) -> list[str]:
        """Agent first, then the yardstick, then the others by name."""
        known = {name for name, _ in self.columns}
        return sorted(known, key=lambda name: (name != AGENT, name != YARDSTICK, name))

    @property
    def yardstick(self) -> str | None:
        """What the agent is held against, None without baselines."""
        return next((name for name in self.strategies if name not in (AGENT, ENSEMBLE)), None)


def traded_names(look: Look) -> list[str]:
    """What agents have finished episodes of; portfolios of several instruments first."""
    names = [
        str(name)
        for (name,) in look.rows(
            "SELECT DISTINCT instrument FROM tt_episode WHERE strategy = %s AND end_time IS NOT NULL", AGENT
        )
    ]
    return sorted(names, key=lambda name: (name.isupper(), name))


def curves_of(look: Look, traded: str, window: str | None = None) -> Curves:
    """The curves of finished episodes of `traded`, of all windows or of the one that begins with `window`.

    Raises NotThere where there are none.
    """
    rows = look.rows(
        "SELECT e.window_start::text, e.strategy, e.seed, c.timestamp, c.net_worth FROM tt_equity_curve AS c "
        "JOIN tt_episode AS e ON e.id = c.episode_id WHERE e.instrument = %s AND e.end_time IS NOT NULL "
        "AND e.strategy <> ALL(%s) AND (%s::text IS NULL OR e.window_start::text = %s) "
        "ORDER BY c.timestamp",
        traded,
        [HAND, OLD_AGENT],
        window,
        window,
    )
    if not rows:
        raise NotThere(f'No episode of "{traded}" is finished yet: run `tt train --instruments {traded}`.')
    frame = pd.DataFrame(rows, columns=["window", "strategy", "seed", "timestamp", "worth"])
    level: pd.Series | None = None
    parts = []
    for _, own in frame.groupby("window", sort=True):
        wide = own.pivot_table(values="worth", index="timestamp", columns=["strategy", "seed"], sort=True).ffill()
        wide = wide / wide.bfill().iloc[0]
        if level is not None:
            wide = wide * level.reindex(wide.columns).fillna(1.0)
        last = wide.iloc[-1]
        level = last if level is None else last.combine_first(level)
        parts.append(wide)
    wealth = pd.concat(parts).sort_index()
    wealth = wealth[~wealth.index.duplicated(keep="last")].ffill().fillna(1.0)
    windows = tuple(sorted(frame["window"].unique()))
    # The mean action stands for all seeds only where every window has it.
    whole = set(frame.loc[frame["strategy"] == ENSEMBLE, "window"]) == set(windows)
    return with_subject(wealth, windows, ensemble=whole)


def with_subject(wealth: pd.DataFrame, windows: tuple[str, ...], *, ensemble: bool = True) -> Curves:
    """Curves of `wealth` (sessions × (strategy, seed)), and of the agents together.

    That is their mean action where `ensemble` holds and it was rolled, else equal parts with each.
    """
    agents = wealth.loc[:, [column for column in wealth.columns if column[0] == AGENT]]
    wealth = wealth.copy()
    if agents.shape[1] > 1:
        wealth[(AGENT, MEAN)] = (1.0 + agents.pct_change().fillna(0.0).mean(axis=1)).cumprod()
    own = [column for column in wealth.columns if column[0] == ENSEMBLE]
    if not own or not ensemble:
        return Curves(wealth, windows)
    wealth[(AGENT, MEAN)] = wealth[own[0]]
    return Curves(wealth.drop(columns=[ENSEMBLE], level=0), windows, ENSEMBLE)


def figures_of(curve: pd.Series) -> dict[str, float]:
    """Total return, return and volatility a year, Sharpe ratio a year, largest drawdown: fractions or NaN."""
    worth = curve.to_numpy(dtype=float)
    returns = np.diff(worth) / worth[:-1]
    years = len(returns) / SESSIONS_PER_YEAR
    return {
        "total": worth[-1] / worth[0] - 1.0,
        "year": (worth[-1] / worth[0]) ** (1.0 / years) - 1.0 if years and worth[-1] > 0 else float("nan"),
        "volatility": returns.std(ddof=1) * np.sqrt(SESSIONS_PER_YEAR) if len(returns) > 1 else float("nan"),
        "sharpe": sharpe_ratio(worth) or float("nan"),
        "drawdown": max_drawdown(worth),
    }


def colour_of(strategy: str) -> tuple[str, int]:
    """Colour and line style of a strategy."""
    colour, style = LINES.get(strategy, OTHER_LINE)
    return colour, STYLES[style]


def label_of(strategy: str, seed: int | None = None) -> str:
    """What a curve is called."""
    return strategy_label(strategy, seed)
