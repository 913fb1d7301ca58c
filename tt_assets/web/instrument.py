"""The page of an instrument: its bars with gaps and restatements, features, scores, what the scores were worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tt_assets.grid.bars_files import followed
from tt_assets.report.charts import Chart, Marker, Series
from tt_assets.report.labels import fixed
from tt_assets.report.palette import INK, MISSING, RISING, series_colours
from tt_assets.tables import LEDGER
from tt_assets.web.due import DAY, due_sessions, names_with_bars
from tt_assets.web.equity import traded_names
from tt_assets.web.site import Choice, Look, NotThere, Page, address

SPANS = {"1y": 252, "3y": 756, "all": 100_000}
"""What is shown, in sessions with a bar."""
SESSIONS_AHEAD = (1, 5, 20)


def page(look: Look) -> Page:
    """Bars, features, scores and information coefficients of one instrument, and who trades it."""
    names = names_with_bars(look)
    if not names:
        raise NotThere("No bars are stored yet: run `tt backfill market`.")
    name = look.one_of("of", names, what="instrument")
    span = look.one_of("span", list(SPANS), "1y")
    bars = _bars(look, name, SPANS[span])
    first = bars.index[0]
    features, feature = _series(look, "tt_features", "feature", "value", name, first, "return_1")
    signals, signal = _series(look, "tt_signal_scores", "signal_name", "score", name, first, "")
    missing = _without_bar(look, name, bars)
    charts = [_candles(look, name, bars, missing)]
    if feature is not None:
        charts.append(_line("feature", feature, f"Feature {feature.name}", "", 4))
    if signal is not None:
        charts.append(_line("signal", signal, f"Score {signal.name}", "-1 to 1", 2))
    traded_by = [own for own in traded_names(look) if name in _members(look, own)]
    return Page(
        "instrument.html",
        name,
        {
            "name": name,
            "here_address": address(
                "/tt/instrument",
                of=name,
                span=span,
                feature=feature.name if feature is not None else None,
                signal=signal.name if signal is not None else None,
            ),
            "choices": [
                Choice("of", "Instrument", name, [(own, own) for own in names]),
                Choice("span", "Span", span, [("1y", "a year"), ("3y", "three years"), ("all", "all")]),
                *(
                    [Choice("feature", "Feature", str(feature.name), [(own, own) for own in features])]
                    if feature is not None
                    else []
                ),
                *(
                    [Choice("signal", "Signal", str(signal.name), [(own, own) for own in signals])]
                    if signal is not None
                    else []
                ),
            ],
            "facts": _facts(bars, missing),
            "missing": missing[-20:],
            "missing_count": len(missing),
            "restated": _restated(look, name),
            "traded_by": traded_by,
            "coefficients": _coefficients(look, name),
            "by_key": {chart.key: chart for chart in charts},
            "partitions": address("/tt/partitions", table="tt_prices"),
        },
        charts,
    )


def _bars(look: Look, name: str, count: int) -> pd.DataFrame:
    rows = look.rows(
        "SELECT timestamp, open, high, low, close, volume FROM tt_prices WHERE instrument = %s "
        "ORDER BY timestamp DESC LIMIT %s",
        name,
        count,
    )
    columns = ["timestamp", "open", "high", "low", "close", "volume"]
    return pd.DataFrame(rows, columns=columns).set_index("timestamp").sort_index()


def _without_bar(look: Look, name: str, bars: pd.DataFrame) -> list[str]:
    """Sessions from the first of `bars` on that stored partitions span, and of which there is no bar."""
    days = bars.index.to_numpy().astype(DAY)
    return [str(day) for day in due_sessions(look, [name]).lacking(name, days, since=days[0])]


def _candles(look: Look, name: str, bars: pd.DataFrame, missing: list[str]) -> Chart:
    gaps = pd.DataFrame(index=pd.DatetimeIndex([day for day in missing if pd.Timestamp(day) not in bars.index]))
    whole = pd.concat([bars, gaps]).sort_index() if len(gaps) else bars
    times = [f"{day:%Y-%m-%d}" for day in whole.index]
    shown = set(times)
    markers = [Marker(day, "no bar", MISSING, above=True) for day in missing if day in shown]
    markers += [Marker(day, "restated", INK, above=True) for day, _ in _restatements(look, name) if day in shown]
    series = [
        Series(name, whole[["open", "high", "low", "close"]].to_numpy(dtype=float), RISING, kind="candles"),
        Series("Volume", whole["volume"].to_numpy(dtype=float), INK, kind="histogram", pane=1),
    ]
    gap = f"{len(missing)} sessions without a bar are marked." if missing else ""
    currency = look.site.settings.currency
    return Chart(
        "bars",
        "Daily bars",
        f"{currency}, split-adjusted; volume in shares",
        times,
        series,
        markers=sorted(markers, key=lambda own: own.time),
        note=gap,
    )


def _restatements(look: Look, name: str) -> list[tuple[str, Any]]:
    return look.rows(
        f"SELECT date::text, changed FROM {LEDGER.name} WHERE table_name = 'tt_prices' AND instrument = %s "
        "AND changed IS NOT NULL ORDER BY date DESC LIMIT 200",
        name,
    )


def _restated(look: Look, name: str) -> list[dict[str, str]]:
    rows = []
    for day, changed in _restatements(look, name)[:12]:
        told = changed if isinstance(changed, dict) else {}
        was, now = (told.get(key) or {} for key in ("was", "now"))
        differ = [f"{key} {was[key]:g} → {now[key]:g}" for key in was if key in now and was[key] != now[key]][:3]
        rows.append({"day": day, "cause": str(told.get("cause", "")), "what": ", ".join(differ)})
    return rows


def _series(
    look: Look, table: str, kind: str, value: str, name: str, first: pd.Timestamp, preferred: str
) -> tuple[list[str], pd.Series | None]:
    """The names of a long table for `name`, and the values of the one that is asked for."""
    names = [
        str(own)
        for (own,) in look.rows(
            f"SELECT DISTINCT {kind} FROM {table} WHERE instrument = %s AND timestamp = "
            f"(SELECT max(timestamp) FROM {table} WHERE instrument = %s) ORDER BY 1",
            name,
            name,
        )
    ]
    if not names:
        return [], None
    chosen = look.one_of("feature" if kind == "feature" else "signal", names, preferred if preferred in names else None)
    rows = look.rows(
        f"SELECT timestamp, {value} FROM {table} WHERE instrument = %s AND {kind} = %s AND timestamp >= %s ORDER BY 1",
        name,
        chosen,
        first,
    )
    index = pd.DatetimeIndex([at for at, _ in rows])
    return names, pd.Series([float(own) for _, own in rows], index=index, name=chosen, dtype=float)


def _line(key: str, values: pd.Series, title: str, unit: str, digits: int) -> Chart:
    times = [f"{day:%Y-%m-%d}" for day in values.index]
    colour = series_colours(4)[0 if key == "feature" else 2]
    return Chart(
        key, title, unit, times, [Series(str(values.name), values.to_numpy(), colour)], digits=digits, zero=True
    )


def _facts(bars: pd.DataFrame, missing: list[str]) -> list[dict[str, str]]:
    close = bars["close"].to_numpy(dtype=float)
    returns = close[1:] / close[:-1] - 1.0
    change = returns[-1] if len(returns) else float("nan")
    return [
        {"label": "Last close", "value": fixed(close[-1], 2), "below": f"{bars.index[-1]:%Y-%m-%d}", "tone": ""},
        {
            "label": "Change",
            "value": f"{fixed(change * 100, 2, signed=True)} %",
            "below": "on the session before",
            "tone": "up" if change > 0 else "down",
        },
        {
            "label": "Volatility, a year",
            "value": f"{fixed(returns.std(ddof=1) * np.sqrt(252) * 100 if len(returns) > 1 else float('nan'), 1)} %",
            "below": f"of {len(returns)} returns",
            "tone": "",
        },
        {
            "label": "Sessions without a bar",
            "value": str(len(missing)),
            "below": f"of {len(bars) + len(missing)}",
            "tone": "",
        },
    ]


def _coefficients(look: Look, name: str) -> list[dict[str, Any]]:
    """Spearman's rank correlation over time of each score with the return after it, of this instrument alone."""
    ((closes,),) = look.rows("SELECT array_agg(close ORDER BY timestamp) FROM tt_prices WHERE instrument = %s", name)
    # A row a score, with arrays: ten thousand rows would cost a page a tenth of a second.
    rows = look.rows(
        "WITH bar AS (SELECT timestamp, row_number() OVER (ORDER BY timestamp) - 1 AS place FROM tt_prices "
        "WHERE instrument = %s) SELECT s.signal_name, array_agg(bar.place::int), array_agg(s.score::float) "
        "FROM tt_signal_scores AS s JOIN bar USING (timestamp) WHERE s.instrument = %s GROUP BY 1 ORDER BY 1",
        name,
        name,
    )
    close = np.array(closes or [], dtype=float)
    found = []
    for signal, places, scores in rows:
        place, score = np.array(places), np.array(scores, dtype=float)
        cells = []
        for ahead in SESSIONS_AHEAD:
            after = np.full(len(close), np.nan)
            after[:-ahead] = close[ahead:] / close[: max(len(close) - ahead, 0)] - 1.0
            earned = after[place]
            both = np.isfinite(score) & np.isfinite(earned)
            count = int(both.sum())
            value = _rank_correlation(score[both], earned[both]) if count > 3 * ahead else float("nan")
            error = 1.0 / np.sqrt(count / ahead) if count else float("nan")
            cells.append(
                {"text": f"{fixed(value, 3, signed=True)} ± {fixed(error, 3)}", "strong": abs(value) > 2 * error}
            )
        found.append({"name": str(signal), "cells": cells})
    return found


def _rank_correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Spearman's, ties at their mean rank; NaN where one does not vary."""
    return float(pd.Series(one).rank().corr(pd.Series(other).rank()))


def _members(look: Look, traded: str) -> tuple[str, ...]:
    listed = followed(look.site.settings).watchlist
    return tuple(listed.members(traded)) if traded in listed.traded else ()
