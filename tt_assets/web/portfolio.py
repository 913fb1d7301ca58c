"""The page of a portfolio: what its agents made of it out of sample, with what risk, at what cost, holding what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tt_assets.market.watchlist_format import CASH
from tt_assets.report.charts import Chart, Series
from tt_assets.report.labels import fixed, percent
from tt_assets.report.palette import weight_colours
from tt_assets.trading.episodes.record import BOUGHT
from tt_assets.trading.judging.judge import AGENT
from tt_assets.trading.metrics import SESSIONS_PER_YEAR
from tt_assets.web.equity import Curves, colour_of, curves_of, figures_of, label_of, traded_names
from tt_assets.web.judged import RECORDED, judged_of
from tt_assets.web.marks import MARK, MARKED_HOLDINGS
from tt_assets.web.site import Choice, Look, Page, address

ROLLING = 63
"""Sessions of the rolling Sharpe ratio: a quarter."""
MOST_PARTS = 12
"""Instruments that the chart of weights names; the smallest of more are one part."""


@dataclass(frozen=True)
class _Books:
    """Which episodes a figure is taken from; `seed` None for all of the strategy's."""

    traded: str
    strategy: str
    window: str
    seed: int | None

    @property
    def parameters(self) -> tuple[Any, ...]:
        """As the statements below have them: window and seed twice, to be compared and to be left out."""
        return (self.traded, self.strategy, self.window, self.window, self.seed, self.seed)


def page(look: Look) -> Page:
    """Equity, excess, drawdown, rolling Sharpe, months, weights, contribution, costs and turnover of a portfolio."""
    names = traded_names(look)
    traded = look.one_of("of", names, what="portfolio")
    everything = curves_of(look, traded)
    window = look.one_of("window", ["all", *everything.windows])
    judged = judged_of(look, traded)
    scenario = look.one_of("scenario", [key for key, _ in judged.options] if judged else [RECORDED])
    only = None if window == "all" else window
    if judged and scenario != RECORDED:
        curves = judged.of(scenario, everything.windows, only)
    else:
        curves = everything if only is None else curves_of(look, traded, only)
    seeds = curves.seeds(AGENT)
    seed = look.one_of("seed", ["mean", *map(str, seeds)])
    chosen = None if seed == "mean" else int(seed)
    agent = curves.of(AGENT, chosen)
    books = _Books(traded, curves.subject if chosen is None else AGENT, window, chosen)
    yardstick = curves.yardstick
    shown = chosen if len(seeds) > 1 else None
    charts = [
        _equity(curves, chosen),
        *([_excess(curves, agent)] if yardstick else []),
        _drawdown(curves, agent, curves.label(AGENT, shown)),
        _rolling(curves, agent, curves.label(AGENT, shown)),
        *_weights(look, books),
    ]
    figures = figures_of(agent)
    held = figures_of(curves.of(yardstick)) if yardstick else None
    costs = _costs(look, books)
    return Page(
        "portfolio.html",
        traded,
        {
            "traded": traded,
            "here_address": address("/tt/portfolio", of=traded, window=window, seed=seed, scenario=scenario),
            "choices": [
                Choice("of", "Portfolio", traded, [(name, name) for name in names]),
                Choice(
                    "window",
                    "Window",
                    window,
                    [("all", "all, chained"), *((w, f"from {w}") for w in everything.windows)],
                ),
                Choice("seed", "Agent", seed, [("mean", curves.label(AGENT)), *((str(s), f"seed {s}") for s in seeds)]),
                *([Choice("scenario", "Scenario", scenario, judged.options)] if judged else []),
            ],
            "judged": judged.made if judged and scenario != RECORDED else "",
            "first": curves.times[0],
            "last": curves.times[-1],
            "tiles": _tiles(figures, held, label_of(yardstick) if yardstick else "", costs),
            "table": [_figures_row(curves, name, None) for name in curves.strategies]
            + [_figures_row(curves, AGENT, one) for one in seeds if len(seeds) > 1],
            "months": _months(agent),
            "contribution": _contribution(look, books),
            "costs": costs,
            "episodes": _episodes(look, traded, window),
            "by_key": {chart.key: chart for chart in charts},
        },
        charts,
    )


def _equity(curves: Curves, chosen: int | None) -> Chart:
    series = []
    for name in curves.strategies:
        colour, style = colour_of(name)
        whole = curves.of(name, chosen if name == AGENT else None)
        several = len(curves.seeds(name)) > 1
        label = curves.label(name, chosen if name == AGENT and several else None)
        series.append(
            Series(
                label,
                (whole - 1.0) * 100.0,
                colour,
                style=style,
                width=3 if name == AGENT else 2,
                shown=name in (AGENT, curves.yardstick),
            )
        )
    others = [seed for seed in curves.seeds(AGENT) if seed != chosen]
    for place, seed in enumerate(others if len(curves.seeds(AGENT)) > 1 else []):
        series.append(
            Series(
                label_of(AGENT, seed),
                (curves.of(AGENT, seed) - 1.0) * 100.0,
                colour_of(AGENT)[0],
                style=1 + place % 2,
                width=1,
                shown=False,
            )
        )
    return Chart(
        "equity",
        "Return out of sample",
        "% since the start, after costs",
        curves.times,
        series,
        zero=True,
        note="Click a name to show or hide its line.",
    )


def _excess(curves: Curves, agent: pd.Series) -> Chart:
    assert curves.yardstick is not None  # noqa: S101 - asked before
    other = curves.of(curves.yardstick)
    values = (agent / other - 1.0) * 100.0
    return Chart(
        "excess",
        f"Excess over {label_of(curves.yardstick).lower()}",
        "%",
        curves.times,
        [Series("Excess", values, colour_of(AGENT)[0])],
        zero=True,
    )


def _drawdown(curves: Curves, agent: pd.Series, name: str) -> Chart:
    series = [Series(name, -(1.0 - agent / agent.cummax()) * 100.0, colour_of(AGENT)[0], kind="area")]
    if curves.yardstick:
        other = curves.of(curves.yardstick)
        colour, style = colour_of(curves.yardstick)
        fall = -(1.0 - other / other.cummax()) * 100.0
        series.append(Series(label_of(curves.yardstick), fall, colour, style=style, width=1))
    return Chart("drawdown", "Drawdown", "% of the peak", curves.times, series)


def _rolling(curves: Curves, agent: pd.Series, name: str) -> Chart:
    def ratio(curve: pd.Series) -> Any:
        returns = curve.pct_change()
        rolled = returns.rolling(ROLLING)
        return rolled.mean() / rolled.std().where(lambda sigma: sigma > 0) * np.sqrt(SESSIONS_PER_YEAR)

    series = [Series(name, ratio(agent), colour_of(AGENT)[0])]
    if curves.yardstick:
        colour, style = colour_of(curves.yardstick)
        series.append(
            Series(label_of(curves.yardstick), ratio(curves.of(curves.yardstick)), colour, style=style, width=1)
        )
    return Chart("rolling", f"Sharpe ratio over {ROLLING} sessions", "a year", curves.times, series, zero=True)


def _weights(look: Look, books: _Books) -> list[Chart]:
    rows = look.rows(
        "SELECT t.timestamp, t.instrument, avg(t.target_weight) FROM tt_target_weights AS t JOIN tt_episode AS e "
        "ON e.id = t.episode_id WHERE e.instrument = %s AND e.strategy = %s AND e.end_time IS NOT NULL "
        "AND (%s = 'all' OR e.window_start::text = %s) AND (%s::int IS NULL OR e.seed = %s) GROUP BY 1, 2",
        *books.parameters,
    )
    if not rows:
        return []
    wide = pd.DataFrame(rows, columns=["timestamp", "instrument", "weight"]).pivot_table(
        values="weight", index="timestamp", columns="instrument"
    )
    order = sorted((str(name) for name in wide if name != CASH), key=lambda name: -float(wide[name].mean()))
    if len(order) > MOST_PARTS:
        rest = order[MOST_PARTS - 1 :]
        wide = wide.assign(others=wide[rest].sum(axis=1))
        order = [*order[: MOST_PARTS - 1], "others"]
    order += [CASH] if CASH in wide else []
    times = [f"{day:%Y-%m-%d}" for day in wide.index]
    series = [
        Series(name, wide[name].fillna(0.0).clip(lower=0.0) * 100.0, colour, kind="area")
        for name, colour in zip(order, weight_colours(order), strict=True)
    ]
    return [
        Chart(
            "weights", "Target weights", "% of net worth, decided at the close", times, series, digits=1, stacked=True
        )
    ]


OWN = """
    own AS (SELECT id, seed, config_json::json AS told FROM tt_episode
            WHERE instrument = %s AND strategy = %s AND end_time IS NOT NULL
            AND (%s = 'all' OR window_start::text = %s) AND (%s::int IS NULL OR seed = %s)),
    worth AS (SELECT c.episode_id, c.timestamp,
                     lag(c.net_worth) OVER (PARTITION BY c.episode_id ORDER BY c.timestamp) AS before
              FROM tt_equity_curve AS c JOIN own ON own.id = c.episode_id)
"""
"""Episodes of some books, and the net worth at the close before each of their sessions: NULL in the first."""

BORROW_RATE = f"""(coalesce((own.told #>> '{{trading,cost_multiple}}')::float, 1)
                              * coalesce((own.told #>> '{{trading,borrow_bps}}')::float, 0)
                              / {10_000 * SESSIONS_PER_YEAR})"""
"""What a session costs whose close finds shares short, fraction of their worth; an episode records no fee a session."""


def _contribution(look: Look, books: _Books) -> list[dict[str, Any]]:
    """The part of each instrument in the summed session returns, its costs taken off, %; mean over the seeds.

    As the report has it: what is held at a close, less what was held at the one before, plus sales, less purchases,
    commission and what borrowing cost that is short at the close, over the net worth before.
    """
    rows = look.rows(
        f"""
        WITH {OWN},
        held AS (SELECT p.episode_id, p.timestamp, p.next, h.instrument, h.quantity * {MARK} AS worth, p.fee
                 FROM (SELECT p.id, p.episode_id, p.timestamp, {BORROW_RATE} AS fee,
                              lead(p.timestamp) OVER (PARTITION BY p.episode_id ORDER BY p.timestamp) AS next
                       FROM tt_portfolio AS p JOIN own ON own.id = p.episode_id) AS p
                 {MARKED_HOLDINGS}),
        moved AS (SELECT episode_id, timestamp, instrument, worth + fee * least(worth, 0) AS gain FROM held
                  UNION ALL SELECT episode_id, next, instrument, -worth FROM held
                  UNION ALL SELECT o.episode_id, o.timestamp, o.instrument,
                                   CASE WHEN o.order_type = ANY(%s) THEN -1 ELSE 1 END * o.size * o.price
                                   - coalesce(o.commission, 0)
                            FROM tt_order AS o JOIN own ON own.id = o.episode_id)
        SELECT m.instrument, sum(m.gain / w.before) / (SELECT count(DISTINCT seed) FROM own)
        FROM moved AS m JOIN worth AS w USING (episode_id, timestamp) WHERE w.before IS NOT NULL
        GROUP BY 1 ORDER BY 2 DESC
        """,
        *books.parameters,
        list(BOUGHT),
    )
    return bars([(name, float(share) * 100.0) for name, share in rows if name is not None])


def bars(values: Sequence[tuple[str, float]], digits: int = 2) -> list[dict[str, Any]]:
    """Rows of a bar chart: where each bar begins and how long it is, in thousandths of the room there is."""
    low, high = min([0.0, *(v for _, v in values)]), max([0.0, *(v for _, v in values)])
    room = (high - low) or 1.0
    return [
        {
            "name": name,
            "x": round((min(value, 0.0) - low) / room * 1000),
            "width": max(round(abs(value) / room * 1000), 1),
            "text": fixed(value, digits, signed=True),
            "positive": value >= 0,
        }
        for name, value in values
    ]


def _costs(look: Look, books: _Books) -> dict[str, Any]:
    """What trading cost and how much was traded, in percent of the net worth of the time; means over the seeds.

    As the report has them; borrowing alone is on record as one sum a window, which is held against its starting cash.
    """
    ((commission, notional, orders, fees, sessions, seeds),) = look.rows(
        f"""
        WITH {OWN},
        paid AS (SELECT sum(o.commission / w.before) AS commission, sum(o.size * o.price / w.before) AS notional,
                        count(*) AS n
                 FROM tt_order AS o JOIN worth AS w USING (episode_id, timestamp))
        SELECT paid.commission, paid.notional, paid.n,
               (SELECT sum((told ->> 'borrow_fees_usd')::float / (told -> 'trading' ->> 'initial_cash')::float)
                FROM own),
               (SELECT count(before) FROM worth), (SELECT count(DISTINCT seed) FROM own)
        FROM paid
        """,
        *books.parameters,
    )
    count = max(int(seeds or 0), 1)
    return {
        "commission": percent(float(commission or 0.0) / count, 2),
        "borrowed": percent(float(fees or 0.0) / count, 2),
        "notional": percent(float(notional or 0.0) / count, 0),
        "turnover": percent(float(notional or 0.0) / 2 / float(sessions or 1.0)),
        "orders": f"{float(orders or 0) / count:,.0f}",
    }


def _tiles(
    figures: dict[str, float], held: dict[str, float] | None, name: str, costs: dict[str, Any]
) -> list[dict[str, str]]:
    def tile(label: str, key: str, *, signed: bool = False, plain: bool = False) -> dict[str, str]:
        def words(value: float) -> str:
            return fixed(value, 2) if plain else f"{percent(value, signed=signed)} %"

        value = figures[key]
        below = f"{words(held[key])} {name.lower()}" if held else ""
        return {
            "label": label,
            "value": words(value),
            "below": below,
            "tone": "up" if signed and value > 0 else "down" if signed and value < 0 else "",
        }

    return [
        tile("Return", "total", signed=True),
        tile("Sharpe ratio, a year", "sharpe", plain=True),
        tile("Volatility, a year", "volatility"),
        tile("Largest drawdown", "drawdown"),
        {"label": "Commission", "value": f"{costs['commission']} %", "below": "of net worth, all sessions", "tone": ""},
        {
            "label": "Traded one way",
            "value": f"{costs['turnover']} %",
            "below": "of net worth a session",
            "tone": "",
        },
    ]


def _figures_row(curves: Curves, name: str, seed: int | None) -> dict[str, Any]:
    figures = figures_of(curves.of(name, seed))
    return {
        "name": curves.label(name, seed),
        "strong": name == AGENT and seed is None,
        "cells": [
            percent(figures["total"], signed=True),
            percent(figures["year"], signed=True),
            percent(figures["volatility"]),
            fixed(figures["sharpe"], 2),
            percent(figures["drawdown"]),
        ],
    }


def _months(curve: pd.Series) -> list[dict[str, Any]]:
    """A row a year, newest first: the return of each month and of the year, with a shade of its size."""
    before = pd.concat([pd.Series([1.0], index=[curve.index[0] - pd.Timedelta(days=1)]), curve])
    ends = before.groupby([before.index.year, before.index.month]).last()
    returns = ends.pct_change()
    if len(ends) and (before.index[0].month, before.index[0].year) == (curve.index[0].month, curve.index[0].year):
        returns.iloc[0] = ends.iloc[0] - 1.0
    rows = []
    for year in sorted({year for year, _ in returns.dropna().index}, reverse=True):
        own = {month: float(value) for (at, month), value in returns.items() if at == year and np.isfinite(value)}
        whole = float(np.prod([1.0 + value for value in own.values()]) - 1.0)
        cells = [
            (percent(own[month], signed=True), _shade(own[month])) if month in own else ("", "")
            for month in range(1, 13)
        ]
        rows.append({"year": year, "cells": cells, "whole": (percent(whole, signed=True), _shade(whole / 3.0))})
    return rows


def _shade(value: float) -> str:
    size = min(3, int(abs(value) / 0.02) + 1) if abs(value) >= 0.0005 else 0
    return f"{'p' if value > 0 else 'n'}{size}" if size else ""


def _episodes(look: Look, traded: str, window: str) -> list[dict[str, Any]]:
    rows = look.rows(
        "SELECT id, window_start, seed, start_time, end_time, stop_reason, sharpe_ratio, max_drawdown FROM tt_episode "
        "WHERE instrument = %s AND strategy = %s AND end_time IS NOT NULL AND (%s = 'all' OR window_start::text = %s) "
        "ORDER BY window_start DESC, seed LIMIT 200",
        traded,
        AGENT,
        window,
        window,
    )
    return [
        {
            "address": address("/tt/episode", id=number),
            "window": f"{start}",
            "seed": seed,
            "span": f"{begun:%Y-%m-%d} to {ended:%Y-%m-%d}",
            "stop": str(reason).replace("_", " "),
            "sharpe": fixed(sharpe if sharpe is not None else float("nan"), 2),
            "drawdown": percent(fall if fall is not None else float("nan")),
        }
        for number, start, seed, begun, ended, reason, sharpe, fall in rows
    ]
