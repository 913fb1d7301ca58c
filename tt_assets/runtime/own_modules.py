"""Where modules of the user's own (features, signals, schemes, price sources) are found.

They are found before a command imports any asset, because an asset loads them when it is imported.
"""

from __future__ import annotations

import os
import sys

from tt_assets.settings import Settings


def find_own_modules(settings: Settings) -> None:
    """Let this process import the user's modules of features and signals from the folder it was started in.

    A console script has its own folder at the head of `sys.path`, where `python -m` has the current one.
    """
    for folder in python_path(settings):
        if folder not in sys.path:
            sys.path.append(folder)


def python_path(settings: Settings) -> list[str]:
    """Folders that every process of the platform imports from: those of PYTHONPATH, then the one it was started in."""
    given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    own = [os.getcwd()] if _own_modules(settings) else []  # noqa: PTH109 - as given
    return [*given, *(folder for folder in own if folder not in given)]


def _own_modules(settings: Settings) -> tuple[str, ...]:
    trading, source = settings.trading, str(settings.price_source)
    own_source = (source,) if ":" in source else ()
    return (
        *own_source,
        *settings.feature_modules,
        *settings.signal_modules,
        *trading.trading_modules,
        *trading.learner_modules,
    )
