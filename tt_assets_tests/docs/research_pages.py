"""The page of the built-in features and signals, out of their registry."""

from __future__ import annotations

from tt_assets.research.registry import load_features, load_signals
from tt_assets_tests.docs.markdown import code, page, table

INTRODUCTION = """\
Declared in `tt_assets/research/features.py` and `tt_assets/research/signals.py`. Everything is known at the close of
its session; the look-back counts the sessions before it. [Your own](../extending.md#a-feature) stand beside them."""


def research_page() -> str:
    """Every built-in feature and signal with its look-back and what it is."""
    features = table(
        ("feature", "look-back", "unit", "meaning"),
        ((code(item.name), str(item.lookback), item.unit, item.description) for item in load_features()),
    )
    signals = table(
        ("signal", "look-back", "reads", "method"),
        (
            (code(item.name), str(item.lookback), ", ".join(map(code, item.inputs)), item.method)
            for item in load_signals()
        ),
    )
    return page("Features and signals", INTRODUCTION, "## Features", features, "## Signals", signals)
