"""The page of an episode: what the agent saw, wanted, did and held, session by session, and why."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from tt_assets.market.watchlist_format import CASH
from tt_assets.report.charts import Chart, Marker, Series
from tt_assets.report.labels import fixed, percent
from tt_assets.report.palette import AGENT_COLOUR, FALLING, RISING, weight_colours
from tt_assets.trading.episodes.record import BOUGHT
from tt_assets.web.equity import label_of
from tt_assets.web.marks import MARK, MARKED_HOLDINGS
from tt_assets.web.site import Choice, Look, NotThere, Page, address

LARGEST_ID = 2**63 - 1
SEEN_SHOWN = 40


def page(look: Look) -> Page:
    """One episode: of `id`, or the latest one of an agent."""
    header = _header(look)
    number = header["id"]
    names = [
        str(name)
        for (name,) in look.rows(
            "SELECT DISTINCT instrument FROM tt_target_weights WHERE episode_id = %s AND instrument <> %s ORDER BY 1",
            number,
            CASH,
        )
    ]
    most = look.rows(
        "SELECT instrument FROM tt_order WHERE episode_id = %s GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1", number
    )
    instrument = look.one_of("instrument", names, str(most[0][0]) if most else None) if names else ""
    steps = _steps(look, number, instrument)
    step = look.one_of("step", [row["day"] for row in steps]) if steps else ""
    charts = [_candles(look, header, instrument), _worth(look, number), *_held(look, number)] if names else []
    others = look.rows(
        "SELECT id, window_start, seed FROM tt_episode WHERE instrument = %s AND strategy = %s "
        "AND end_time IS NOT NULL ORDER BY window_start DESC, seed LIMIT 400",
        header["instrument"],
        header["strategy"],
    )
    here = address("/tt/episode", id=number, instrument=instrument, step=step)
    return Page(
        "episode.html",
        f"{header['instrument']} {header['window_start']}, seed {header['seed']}",
        {
            "header": header,
            "what": label_of(header["strategy"]),
            "here_address": here,
            "choices": [
                Choice(
                    "id", "Episode", str(number), [(str(own), f"{start}, seed {seed}") for own, start, seed in others]
                ),
                Choice("instrument", "Instrument", instrument, [(own, own) for own in names]),
            ],
            "tiles": _tiles(header),
            "steps": [
                {**row, "address": address("/tt/episode", id=number, instrument=instrument, step=row["day"]) + "#seen"}
                for row in steps
            ],
            "step": step,
            "seen": _seen(look, number, instrument, step),
            "instrument": instrument,
            "orders": _orders(look, number),
            "portfolio": address("/tt/portfolio", of=header["instrument"]),
            "by_key": {chart.key: chart for chart in charts},
        },
        charts,
    )


def _header(look: Look) -> dict[str, Any]:
    columns = (
        "id",
        "instrument",
        "window_start",
        "strategy",
        "seed",
        "start_time",
        "end_time",
        "stop_reason",
        "sharpe",
        "drawdown",
        "turnover",
    )
    shown = "SELECT id, instrument, window_start, strategy, seed, start_time, end_time, stop_reason, sharpe_ratio, max_drawdown, turnover FROM tt_episode "  # noqa: E501
    given = look.text("id")
    if given and not (given.isascii() and given.isdigit() and int(given) <= LARGEST_ID):
        raise NotThere(f'"{given}" is no number of an episode.')
    if given:
        rows = look.rows(shown + "WHERE id = %s", int(given))
    else:
        rows = look.rows(
            shown + "WHERE strategy = 'agent' AND end_time IS NOT NULL ORDER BY window_start DESC, seed LIMIT 1"
        )
    if not rows:
        raise NotThere(
            "There is no such episode; one that was rolled again has a new number."
            if given
            else "No episode is finished yet: run `tt train`."
        )
    return dict(zip(columns, rows[0], strict=True))


def _tiles(header: dict[str, Any]) -> list[dict[str, str]]:
    def number(key: str) -> float:
        return float(header[key]) if header[key] is not None else float("nan")

    return [
        {"label": "Sharpe ratio, a year", "value": fixed(number("sharpe"), 2)},
        {"label": "Largest drawdown", "value": f"{percent(number('drawdown'))} %"},
        {"label": "Turnover", "value": f"{percent(number('turnover'), 2)} %"},
        {"label": "Ended", "value": str(header["stop_reason"] or "not yet").replace("_", " ")},
    ]


def _candles(look: Look, header: dict[str, Any], instrument: str) -> Chart:
    rows = look.rows(
        "SELECT timestamp, open, high, low, close FROM tt_prices WHERE instrument = %s AND timestamp >= %s "
        "AND timestamp <= coalesce(%s, timestamp) ORDER BY 1 LIMIT 2000",
        instrument,
        header["start_time"],
        header["end_time"],
    )
    bars = pd.DataFrame(rows, columns=["timestamp", "open", "high", "low", "close"])
    shown = {f"{at:%Y-%m-%d}" for at in bars["timestamp"]}
    fills = look.rows(
        "SELECT timestamp, order_type, size, price FROM tt_order WHERE episode_id = %s AND instrument = %s ORDER BY 1",
        header["id"],
        instrument,
    )
    markers = [
        Marker(
            f"{at:%Y-%m-%d}",
            f"{kind.replace('_', ' ')} {size:.4g} shares",
            RISING if kind in BOUGHT else FALLING,
            above=kind not in BOUGHT,
        )
        for at, kind, size, _ in fills
        if f"{at:%Y-%m-%d}" in shown
    ]
    times = [f"{at:%Y-%m-%d}" for at in bars["timestamp"]]
    series = [Series(instrument, bars[["open", "high", "low", "close"]].to_numpy(dtype=float), RISING, kind="candles")]
    return Chart(
        "trades",
        f"{instrument} and its trades",
        look.site.settings.currency,
        times,
        series,
        markers=markers,
        note=f"{len(fills)} orders; ▲ bought, ▼ sold: point at a session for the shares.",
    )


def _worth(look: Look, number: int) -> Chart:
    rows = look.rows("SELECT timestamp, net_worth FROM tt_equity_curve WHERE episode_id = %s ORDER BY 1", number)
    times = [f"{at:%Y-%m-%d}" for at, _ in rows]
    return Chart(
        "worth",
        "Net worth",
        look.site.settings.currency,
        times,
        [Series("Net worth", [v for _, v in rows], AGENT_COLOUR)],
    )


def _held(look: Look, number: int) -> list[Chart]:
    rows = look.rows(
        f"SELECT p.timestamp, h.instrument, h.quantity * {MARK} FROM tt_portfolio AS p {MARKED_HOLDINGS} "
        "WHERE p.episode_id = %s UNION ALL SELECT timestamp, %s, cash_balance FROM tt_portfolio WHERE episode_id = %s",
        number,
        CASH,
        number,
    )
    if not rows:
        return []
    wide = (
        pd.DataFrame(rows, columns=["timestamp", "name", "worth"])
        .pivot_table(values="worth", index="timestamp", columns="name")
        .fillna(0.0)
    )
    order = sorted((str(name) for name in wide if name != CASH), key=lambda name: -float(wide[name].mean()))[:20]
    order += [CASH] if CASH in wide else []
    series = [
        Series(name, wide[name].clip(lower=0.0), colour, kind="area")
        for name, colour in zip(order, weight_colours(order), strict=True)
    ]
    times = [f"{at:%Y-%m-%d}" for at in wide.index]
    return [
        Chart("held", "Holdings", f"{look.site.settings.currency} at the close", times, series, digits=0, stacked=True)
    ]


def _steps(look: Look, number: int, instrument: str) -> list[dict[str, Any]]:
    """What was decided on `instrument` at each close, newest first, and the order that came of it."""
    rows = look.rows(
        """
        SELECT t.timestamp, a.action_value, t.target_weight, t.rationale, r.reward_value,
               (SELECT string_agg(concat_ws(' ', o.order_type, round(o.size::numeric, 3), 'at',
                                            round(o.price::numeric, 2)), ', ')
                FROM tt_order AS o WHERE o.episode_id = t.episode_id AND o.instrument = t.instrument AND o.timestamp =
                (SELECT min(p.timestamp) FROM tt_portfolio AS p
                 WHERE p.episode_id = t.episode_id AND p.timestamp > t.timestamp))
        FROM tt_target_weights AS t
        LEFT JOIN tt_action AS a
        ON a.episode_id = t.episode_id AND a.timestamp = t.timestamp AND a.instrument = t.instrument
        LEFT JOIN tt_reward AS r ON r.episode_id = t.episode_id AND r.timestamp = t.timestamp
        WHERE t.episode_id = %s AND t.instrument = %s ORDER BY t.timestamp DESC
        """,
        number,
        instrument,
    )
    return [
        {
            "day": f"{at:%Y-%m-%d}",
            "action": fixed(nan(action), 3, signed=True),
            "weight": percent(nan(weight)),
            "why": why or "",
            "reward": fixed(nan(reward), 3, signed=True),
            "order": order or "none",
        }
        for at, action, weight, why, reward, order in rows
    ]


def nan(value: float | None) -> float:
    """A number of a row, NaN where there is none."""
    return float("nan") if value is None else float(value)


def _seen(look: Look, number: int, instrument: str, day: str) -> list[tuple[str, str]]:
    """What the agent saw of `instrument` at the close of `day`, in standard deviations of its training span."""
    if not day:
        return []
    rows = look.rows("SELECT features FROM tt_observation WHERE episode_id = %s AND timestamp = %s::date", number, day)
    told: dict[str, float] = json.loads(rows[0][0]) if rows else {}
    own = {name: value for name, value in told.items() if name.startswith(f"{instrument} ")}
    rest = {name: value for name, value in told.items() if " " not in name or name.lower().startswith(CASH.lower())}
    ranked = sorted(own.items(), key=lambda item: -abs(item[1]))[:SEEN_SHOWN] + list(rest.items())[:5]
    return [(name.removeprefix(f"{instrument} "), fixed(float(value), 2, signed=True)) for name, value in ranked]


def _orders(look: Look, number: int) -> list[dict[str, str]]:
    rows = look.rows(
        "SELECT timestamp, instrument, order_type, size, price, commission FROM tt_order WHERE episode_id = %s "
        "ORDER BY timestamp DESC, instrument LIMIT 300",
        number,
    )
    return [
        {
            "day": f"{at:%Y-%m-%d}",
            "name": name,
            "kind": kind,
            "size": fixed(size, 4),
            "price": fixed(price, 2),
            "commission": fixed(nan(commission), 2),
        }
        for at, name, kind, size, price, commission in rows
    ]
