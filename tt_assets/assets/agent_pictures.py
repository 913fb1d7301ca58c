"""Pictures of what agents learned and did in the windows of a run.

The latest windows of a run are drawn, `TT_PICTURES` of them; the rest have their rows, and the report
chains them all.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import pandas as pd

from tt_assets.assets.pictures import Pictures, Shown, picture
from tt_assets.assets.rolling import RolledEpisode
from tt_assets.grid.partitions import Window
from tt_assets.trading.judging.judge import AGENT, ENSEMBLE

EPISODE_PICTURES = {
    "tt_equity_curve": ("equity", "drawdown"),
    "tt_portfolio": ("equity",),
    "tt_target_weights": ("weights",),
    "tt_episode": ("equity", "drawdown", "weights"),
}
"""Which pictures a table's pages show."""


def learning_pictures(configs: Mapping[str, Sequence[str]], most: int, log: dg.DagsterLogManager) -> Shown:
    """The learning curves of the agents of each window: partition key → config_json of its seeds."""

    def draw(key: str) -> Pictures:
        from tt_assets.report.recorded import LearningCurve, learning_plot

        curves = []
        for config in map(json.loads, configs[key]):
            training = config["training"]
            steps, reward, score = zip(*training["curve"], strict=True) if training["curve"] else ((), (), ())
            curves.append(LearningCurve(config["seed"], steps, reward, score, training["checkpoint_steps"]))
        return {"learning_curve": picture(f"Learning curve of {key}", learning_plot(curves))}

    return _latest(list(configs), most, draw, log)


def episode_pictures(
    windows: Sequence[Window], episodes: Sequence[RolledEpisode], most: int, log: dg.DagsterLogManager
) -> dict[str, Shown]:
    """Table → equity against the baselines, drawdown and weights of the latest of `windows`."""

    def draw(key: str) -> Pictures:
        from tt_assets.report.canvas import SCREEN
        from tt_assets.report.plots import drawdown_plot, equity_plot, weights_plot
        from tt_assets.report.recorded import recorded_judgement

        tall = SCREEN._replace(height=3.9)
        own = [episode for episode in episodes if episode.window.key() == key]
        equity = [episode.record.equity_curve.assign(strategy=episode.strategy, seed=episode.seed) for episode in own]
        judgement = recorded_judgement(pd.concat(equity, ignore_index=True))
        pictures: Pictures = {
            "equity": picture(f"Net worth of {key} against the baselines", equity_plot(judgement, tall)),
            "drawdown": picture(f"Drawdown of {key}", drawdown_plot(judgement, tall)),
        }
        acted = {episode.strategy: episode.record.target_weights for episode in own}
        weights = acted.get(ENSEMBLE, acted.get(AGENT))
        if weights is not None:
            pictures["weights"] = picture(f"Target weights of {key}", weights_plot(weights, SCREEN))
        return pictures

    shown = _latest([window.key() for window in windows], most, draw, log)
    return {
        table: Shown(
            {key: _only(names, pictures) for key, pictures in shown.metadata.items()},
            _only(names, shown.of_the_run),
        )
        for table, names in EPISODE_PICTURES.items()
    }


def _latest(keys: Sequence[str], most: int, draw: Callable[[str], Pictures], log: dg.DagsterLogManager) -> Shown:
    """Pictures of the last `most` of `keys` in order of time; one that cannot be drawn is said in the log."""
    found: dict[str, Pictures] = {}
    for key in sorted(keys)[-most:] if most else ():
        try:
            found[key] = draw(key)
        except Exception:  # noqa: BLE001 - a picture is no reason to lose a run
            log.warning(f"The pictures of {key} could not be drawn: {traceback.format_exc()}")
    return Shown(found, next(reversed(found.values()), {}))


def _only(names: Sequence[str], pictures: Pictures) -> Pictures:
    return {name: pictures[name] for name in names if name in pictures}
