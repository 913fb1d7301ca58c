"""What an episode's run says of its targets: what to hold at the next open, and whether earlier targets were confirmed.

A window is rolled again as its sessions come. What was decided at a close before its fill was known must be decided
again when it is, to the last bit; where it is not, bars or settings have changed since, and the run says so.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd

from tt_assets.assets.rolling import Rolled, RolledEpisode
from tt_assets.grid.partitions import Window
from tt_assets.trading.episodes.holdings import Decision, what_to_hold
from tt_assets.trading.episodes.record import StopReason
from tt_assets.trading.judging.judge import AGENT, ENSEMBLE

KEYS = ["window_start", "traded", "seed", "sha256", "timestamp", "instrument"]


def confirmed(before: pd.DataFrame, episodes: Sequence[RolledEpisode], log: dg.DagsterLogManager) -> dict[str, str]:
    """How many targets that were recorded before were set again bit for bit; the first that was not is in the log.

    `before` are the targets recorded for the windows (see `recorded_targets`). Only those of the same agents compare.
    """
    frames = [
        episode.record.target_weights[["timestamp", "instrument", "target_weight"]].assign(
            window_start=pd.Timestamp(episode.window.start),
            traded=episode.window.traded,
            seed=episode.seed,
            sha256=episode.sha256,
        )
        for episode in episodes
        if episode.strategy == AGENT
    ]
    if before.empty or not frames:
        return {}
    told = before.assign(window_start=pd.to_datetime(before["window_start"]))
    both = told.merge(pd.concat(frames, ignore_index=True), on=KEYS, suffixes=("_before", ""))
    if both.empty:
        return {}
    same = both["target_weight_before"].to_numpy() == both["target_weight"].to_numpy()
    if not same.all():
        first = both[~same].sort_values("timestamp").iloc[0]
        log.warning(
            f"{int((~same).sum())} targets are other than they were recorded, the first {first['traded']} "
            f"{first['instrument']} {first['timestamp']:%Y-%m-%d}, seed {first['seed']}: "
            f"{first['target_weight_before']:.6f} is {first['target_weight']:.6f} now. Bars or settings have changed."
        )
    return {"targets_confirmed": f"{int(same.sum()):,} of {len(same):,} recorded before"}


def shown_holdings(
    rolled: Rolled,
    windows: Sequence[Window],
    capital: float,
    latest: date,
    *,
    currency: str,
    whole_shares: bool,
    log: dg.DagsterLogManager,
) -> dict[str, dg.MetadataValue]:
    """What the latest of `windows` says to hold, for the page of `tt_target_weights`; none where no agent acted."""
    if not windows:
        return {}
    newest = max(windows, key=lambda window: window.start)
    acted = [episode for episode in rolled.episodes if episode.window == newest]
    own = [episode for episode in acted if episode.strategy == AGENT]
    if not own:
        return {}
    try:
        from tt_assets.report.holdings import holding_rows, summary

        session = max(episode.record.end_time for episode in own)
        decisions = [_decision(episode, session) for episode in own]
        found = what_to_hold(
            newest.traded,
            newest.start,
            session.date(),
            decisions,
            rolled.bars[newest.key()],
            capital,
            together=next((_decision(episode, session) for episode in acted if episode.strategy == ENSEMBLE), None),
            whole_shares=whole_shares,
        )
        words = "\n\n".join(summary(found, latest, currency))
        table = pd.DataFrame(holding_rows(found, currency)).to_markdown(index=False)
        return {"what_to_hold": dg.MetadataValue.md(f"{words}\n\n{table}")}
    except Exception:  # noqa: BLE001 - what is shown is no reason to lose a run
        log.warning(f"What to hold of {newest.key()} could not be shown: {traceback.format_exc()}")
        return {}


def _decision(episode: RolledEpisode, session: pd.Timestamp) -> Decision:
    record = episode.record
    rows = record.target_weights
    now = rows[rows["timestamp"] == session]
    sessions = np.sort(rows.loc[rows["timestamp"] < session, "timestamp"].unique())
    before = rows[rows["timestamp"] == sessions[-1]] if len(sessions) else rows.iloc[:0]
    stopped = record.stop_reason == StopReason.TERMINATED
    return Decision(
        seed=episode.seed,
        sha256=episode.sha256,
        weights=None if stopped else dict(zip(now["instrument"], now["target_weight"], strict=True)),
        before=dict(zip(before["instrument"], before["target_weight"], strict=True)),
        reasons=dict(zip(now["instrument"], now["rationale"], strict=True)),
    )
