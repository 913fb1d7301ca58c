"""Trials as rows for people: listed, one whole, two side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tt_assets.postgres.trials import RegisteredTrial
from tt_assets.report.labels import COVERAGE_TEXT, UNDEFINED, fixed, percent

SHOWN = {"annual_return": "return (% a year)", "sharpe": "Sharpe ratio", "max_drawdown": "max drawdown (%)"}
"""Figures of a list, with their label."""


_FIGURES = {
    "total_return": "total return",
    "annual_return": "return a year",
    "volatility": "volatility a year",
    "sharpe": "Sharpe ratio a year",
    "sharpe_low": f"Sharpe ratio, low end of the {COVERAGE_TEXT} interval",
    "sharpe_high": f"Sharpe ratio, high end of the {COVERAGE_TEXT} interval",
    "sortino": "Sortino ratio a year",
    "calmar": "Calmar ratio",
    "max_drawdown": "max drawdown",
    "tracking_error": "tracking error a year",
    "information_ratio": "information ratio a year",
    "turnover": "turnover, mean change of a weight",
    "traded": "traded one way a session",
    "p_all": "p over all yardsticks",
}
"""Figures whose name alone does not say what they are; shares and returns are fractions."""


def figure_label(name: str) -> str:
    """A figure of a trial as people call it."""
    return _FIGURES.get(name, name.replace("_", " "))


def trial_rows(trials: Sequence[RegisteredTrial]) -> list[dict[str, Any]]:
    """One row a trial, in the order given."""
    return [
        {
            "trial": trial.id,
            "traded": trial.instrument,
            "source": trial.source,
            "name": trial.name,
            "registered": f"{trial.registered_at:%Y-%m-%d %H:%M}",
            "windows": len(trial.windows),
            "seeds": ",".join(map(str, trial.seeds)),
            "configuration": trial.configuration[:12],
            "sessions": len(trial.sessions),
            **{label: _figure(trial, name) for name, label in SHOWN.items()},
            "state": trial.state,
        }
        for trial in trials
    ]


def trial_facts(trial: RegisteredTrial, name_of: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """Everything of one trial: what, value; figures as `name_of` calls them."""
    facts: dict[str, Any] = {
        "trial": trial.id,
        "traded": trial.instrument,
        "source": trial.source,
        "name": trial.name,
        "state": trial.state,
        "registered": trial.registered_at.isoformat(timespec="seconds"),
        "judged": trial.judged_at.isoformat(timespec="seconds") if trial.judged_at else UNDEFINED,
        "windows": ", ".join(map(str, trial.windows)),
        "seeds": ", ".join(map(str, trial.seeds)),
        "sessions": len(trial.sessions),
        "configuration": trial.configuration,
        "code": trial.code,
        "bars": trial.bars,
        **{f"figure {name_of(name)}": value for name, value in trial.figures.items()},
        **{f"setting {name}": value for name, value in flat(trial.config)},
    }
    return [{"what": name, "value": setting_text(value)} for name, value in facts.items()]


def no_difference(one: RegisteredTrial, other: RegisteredTrial) -> str:
    """What is to be said of two trials that do not differ; empty where they do."""
    if one.id == other.id:
        return f"Both are trial {one.id}: they are the same."
    if all(row["what"].startswith("figure ") for row in compared_rows(one, other)):
        return f"Trials {one.id} and {other.id} are the same: no setting, code, bars, windows or seeds differ."
    return ""


def compared_rows(
    one: RegisteredTrial, other: RegisteredTrial, name_of: Callable[[str], str] = str
) -> list[dict[str, Any]]:
    """What differs between two trials, settings first; then all figures of both, as `name_of` calls them."""
    names = f"trial {one.id}", f"trial {other.id}"
    rows = []
    about = (
        {"traded": one.instrument, "code": one.code, "bars": one.bars, "windows": one.windows, "seeds": one.seeds},
        {
            "traded": other.instrument,
            "code": other.code,
            "bars": other.bars,
            "windows": other.windows,
            "seeds": other.seeds,
        },
    )
    settings = [dict(flat(trial.config)) for trial in (one, other)]
    for kind, (left, right), only_different in (
        ("", about, True),
        ("setting ", settings, True),
        ("figure ", (one.figures, other.figures), False),
    ):
        for name in dict.fromkeys((*left, *right)):
            values = left.get(name), right.get(name)
            if values[0] != values[1] or not only_different:
                what = kind + (name_of(name) if kind == "figure " else name)
                rows.append({"what": what, **dict(zip(names, map(setting_text, values), strict=True))})
    return rows


def flat(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Settings below one another under dotted names; a list of one is its entry."""
    if isinstance(config, list) and len(config) == 1:
        config = config[0]
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(config, list) and any(isinstance(value, Mapping) for value in config):
        for place, value in enumerate(config):
            yield from flat(value, f"{name}[{place}]")
    else:
        yield name, config


def _figure(trial: RegisteredTrial, name: str) -> str:
    value = trial.figures.get(name)
    if value is None:
        return UNDEFINED
    return fixed(float(value), 2) if name == "sharpe" else percent(float(value), signed=name != "max_drawdown")


def setting_text(value: Any) -> str:
    """A setting or a figure as people read it."""
    if value is None:
        return UNDEFINED
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_text, value)) or "none"
    return str(value)
