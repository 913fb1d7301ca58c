"""Trials as rows for people: listed, one whole, two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tt_assets.postgres.trials import RegisteredTrial
from tt_assets.report.labels import UNDEFINED, fixed, percent

SHOWN = {"annual_return": "return (% a year)", "sharpe": "Sharpe ratio", "max_drawdown": "max drawdown (%)"}
"""Figures of a list, with their label."""


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


def trial_facts(trial: RegisteredTrial) -> list[dict[str, Any]]:
    """Everything of one trial: what, value."""
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
        **{f"figure {name}": value for name, value in trial.figures.items()},
        **{f"setting {name}": value for name, value in flat(trial.config)},
    }
    return [{"what": name, "value": setting_text(value)} for name, value in facts.items()]


def compared_rows(one: RegisteredTrial, other: RegisteredTrial) -> list[dict[str, Any]]:
    """What differs between two trials, settings first; then all figures of both."""
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
                rows.append({"what": kind + name, **dict(zip(names, map(setting_text, values), strict=True))})
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
