"""The report as data: what `tt report --json` prints. A figure that is not defined is null, never 0."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tt_assets.report.verdict import verdict
from tt_assets.trading.judging.details import Details
from tt_assets.trading.judging.judge import Judgement


def report_json(title: str, judgement: Judgement, details: Details | None, notes: Sequence[str] = ()) -> str:
    """All figures of a report as one JSON object; the same arguments give the same characters.

    Parameters
    ----------
    title, judgement, details, notes : as in `Section`.

    Returns
    -------
    Fractions and USD as in the frames they come from, dates as 2012-05-18.
    """
    sessions = judgement.curves["timestamp"]
    told = {
        "traded": title,
        "first": sessions.min(),
        "last": sessions.max(),
        "subject": judgement.subject,
        "verdict": verdict(judgement),
        "notes": list(notes),
        "figures": _rows(judgement.table),
        "compared": _compared(judgement),
        **({} if details is None else _details(details)),
    }
    return json.dumps(_plain(told), indent=1, allow_nan=False) + "\n"


def _compared(judgement: Judgement) -> dict[str, Any]:
    found = judgement.compared
    if found.comparison is None:
        return {"silence": found.silence}
    paired = found.comparison
    columns = {"edge": paired.edge, "low": paired.low, "high": paired.high, "p": paired.p}
    return {
        "sessions": paired.sessions,
        "p_all": paired.p_all,
        "p_inferior": paired.p_inferior,
        "yardsticks": _rows(pd.DataFrame({"strategy": found.names, **columns, "visible_edge": paired.visible_edge})),
    }


def _details(details: Details) -> dict[str, Any]:
    months = [
        {"year": int(year), "months": list(own[:12]), "whole": own[12]}
        for year, own in zip(details.months.index, details.months.to_numpy(), strict=True)
    ]
    return {
        "drawdowns": _rows(details.drawdowns),
        "months": months,
        "rolling": {name: _rows(frame) for name, frame in details.rolling.items()},
        "contributions": _rows(details.contributions),
        "capacity": {"volume_limit": details.volume_limit, "curve": _rows(details.capacity)},
        "attribution": {"windows": details.attributed_windows, "channels": _rows(details.attribution)},
    }


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    """Numbers, text, lists and objects of JSON; None for what is not finite or no time."""
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return value.item() if isinstance(value, np.generic) else value
