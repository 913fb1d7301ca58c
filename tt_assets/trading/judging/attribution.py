"""What each channel is worth to agents: what they lose where its sessions are shuffled.

Permutation importance (Breiman, "Random forests", Machine Learning 45, 2001) on the window itself, out of sample: the
values of one channel are dealt to other sessions, the same for all instruments, and the agents are rolled again. The
channel keeps its distribution and its order across instruments; only its timing is gone. Channels that say the same
cover for one another, so small effects of both do not mean that neither is used.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tt_assets.trading.judging.cash import CashRate
from tt_assets.trading.judging.judge import JudgedWindow, Scenario, account_of
from tt_assets.trading.metrics import SESSIONS_PER_YEAR

DRAWS = 3


def attribution(
    windows: Sequence[JudgedWindow], strategy: str, *, draws: int = DRAWS, seed: int = 0, cash: CashRate | None = None
) -> pd.DataFrame:
    """The effect of each channel, largest first.

    Parameters
    ----------
    windows : with the channels the agents of each were trained on; a window without a channel loses nothing by it.
    strategy : whose; of agents the ensemble or the only one.
    draws : shuffles of each window; the same ones for all channels.
    seed : of the shuffles; equal arguments give equal figures.
    cash : what cash earns.

    Returns
    -------
    channel, effect : mean loss of log growth a year (252 sessions) through shuffling, a fraction; low, high : the least
    and the largest of the draws. Empty where agents see no channel.
    """
    years = sum(len(window.panel.sessions) - window.panel.start - 1 for window in windows) / SESSIONS_PER_YEAR
    channels = sorted({name for window in windows for name in window.panel.feature_names})
    losses = np.zeros((len(channels), draws))
    for place, window in enumerate(windows):
        whole = _log_growth(strategy, window, cash)
        for draw in range(draws):
            # Seeded by draw and window, so that channels differ by what they are and not by how they were shuffled.
            shuffle = np.random.default_rng([seed, draw, place]).permutation
            rows = np.arange(len(window.panel.sessions))
            # Whole sessions: what instruments have in common at a session is kept, when it was is not.
            rows[window.panel.start :] = shuffle(rows[window.panel.start :])
            for row, channel in enumerate(channels):
                if channel in window.panel.feature_names:
                    losses[row, draw] += whole - _log_growth(strategy, _shuffled(window, channel, rows), cash)
    losses /= years
    found = pd.DataFrame(
        {"channel": channels, "effect": losses.mean(axis=1), "low": losses.min(axis=1), "high": losses.max(axis=1)}
    )
    return found.sort_values("effect", ascending=False, kind="stable").reset_index(drop=True)


def _shuffled(window: JudgedWindow, channel: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> JudgedWindow:
    """The window with the values of `channel` taken from `rows`."""
    layer = window.panel.feature_names.index(channel)
    features = window.panel.features.copy()
    features[:, :, layer] = features[rows, :, layer]
    return dataclasses.replace(window, panel=dataclasses.replace(window.panel, features=features))


def _log_growth(strategy: str, window: JudgedWindow, cash: CashRate | None) -> float:
    return math.log(max(float(account_of(strategy, 0, window, Scenario(), cash).growth[-1]), 1e-12))
