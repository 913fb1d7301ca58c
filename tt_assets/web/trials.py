"""The page of trials: what was tried, two of them beside each other, and what was decided about promotion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tt_assets.report.charts import Chart, Series
from tt_assets.report.labels import fixed, percent
from tt_assets.report.palette import series_colours
from tt_assets.report.trials import flat, setting_text
from tt_assets.trading.metrics import sharpe_ratio
from tt_assets.web.site import Choice, Look, NotThere, Page, address

SHOWN = 300


def page(look: Look) -> Page:
    """The list of trials; with `a` and `b` two of them compared; the decisions on promotion."""
    rows = look.rows(
        "SELECT id, instrument, source, name, config_json, registered_at, judged_at, failure, windows, seeds, "
        "sessions, net_returns FROM tt_trial ORDER BY id DESC LIMIT %s",
        SHOWN,
    )
    trials = {str(row[0]): row for row in rows}
    first, second = (look.text(name) for name in ("a", "b"))
    for given in (first, second):
        if given and given not in trials:
            raise NotThere(f'There is no trial "{given}".')
    names = list(trials)
    first = first or (names[1] if len(names) > 1 else names[0] if names else "")
    second = second or (names[0] if names else "")
    two = first != second
    pair = [trials[first], trials[second]] if two else [trials[first]] if first else []
    charts = [_curves(pair)] if pair else []
    options = [(key, f"{key}: {row[1]}{f', {row[3]}' if row[3] else ''}") for key, row in trials.items()]
    return Page(
        "trials.html",
        "Trials",
        {
            "trials": [_row(row) for row in rows],
            "choices": [Choice("a", "Trial", first, options), Choice("b", "beside", second, options)]
            if len(names) > 1
            else [],
            "two": two,
            "a": first,
            "b": second,
            "differences": _differences(trials[first][4], trials[second][4]) if two else [],
            "promotions": _promotions(look),
            "here_address": address("/tt/trials", a=first, b=second),
            "by_key": {own.key: own for own in charts},
        },
        charts,
    )


def _row(row: tuple[Any, ...]) -> dict[str, str]:
    number, instrument, source, name, _, registered, judged, failure, windows, seeds, _, returns = row
    worth = np.cumprod(1.0 + np.array([0.0, *(returns or [])], dtype=float))
    sharpe = sharpe_ratio(worth) if len(worth) > 2 else None
    return {
        "id": str(number),
        "instrument": instrument,
        "source": source,
        "name": name,
        "registered": f"{registered:%Y-%m-%d %H:%M}",
        "state": "judged" if judged else (failure or "interrupted"),
        "windows": str(len([day for day in (windows or "").split(",") if day])),
        "seeds": seeds or "",
        "total": percent(worth[-1] - 1.0, signed=True) if returns else "–",
        "sharpe": fixed(sharpe if sharpe is not None else float("nan"), 2),
    }


def _curves(chosen: Sequence[tuple[Any, ...]]) -> Chart:
    colours = series_colours(2)
    parts = {}
    for row in chosen:
        index = pd.DatetimeIndex(row[10] or [])
        parts[f"Trial {row[0]}"] = pd.Series((1.0 + np.array(row[11] or [], dtype=float)).cumprod() - 1.0, index=index)
    wide = pd.DataFrame(parts).sort_index()
    series = [
        Series(str(name), wide[name].to_numpy() * 100.0, colour) for name, colour in zip(wide, colours, strict=False)
    ]
    return Chart(
        "curves",
        "Return of both trials" if len(chosen) > 1 else f"Return of trial {chosen[0][0]}",
        "% since the start, net",
        [f"{day:%Y-%m-%d}" for day in wide.index],
        series,
        zero=True,
    )


def _differences(first: str, second: str) -> list[tuple[str, str, str]]:
    """The settings in which two trials differ, as `tt trials compare` says them."""
    left, right = (dict(flat(json.loads(text))) for text in (first, second))
    return [
        (name, setting_text(left.get(name)), setting_text(right.get(name)))
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]


def _promotions(look: Look) -> list[dict[str, Any]]:
    rows = look.rows(
        "SELECT id, instrument, promoted, decided_at, expires, trial_id, rules_json FROM tt_promotion "
        "ORDER BY id DESC LIMIT 50"
    )
    found = []
    for _, instrument, promoted, decided, expires, trial, rules in rows:
        told = json.loads(rules)
        found.append(
            {
                "instrument": instrument,
                "promoted": promoted,
                "decided": f"{decided:%Y-%m-%d %H:%M}",
                "expires": f"{expires}" if promoted else "",
                "trial": str(trial or ""),
                "rules": [
                    {
                        "name": str(rule.get("name", "")),
                        "held": bool(rule.get("held")),
                        "figure": str(rule.get("figure", "")),
                        "threshold": str(rule.get("threshold", "")),
                        "words": str(rule.get("words", "")),
                    }
                    for rule in told.get("rules", [])
                ],
            }
        )
    return found
