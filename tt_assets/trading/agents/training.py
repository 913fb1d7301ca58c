"""Training one agent: what every learner shares, from the span it may learn from to the bytes that are stored.

Deterministic: the same panel, config, seed and library versions give the same bytes. One torch thread: more are slower
on networks of this size and change the order of sums.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from typing import Any

import numpy as np

from tt_assets.trading.agents.learner import Learned, Lesson, Report
from tt_assets.trading.agents.learners import learner_of
from tt_assets.trading.agents.policy import FORMAT, TrainedPolicy, seal
from tt_assets.trading.agents.walk_forward import MIN_TRAINING_SESSIONS, not_enough, split_span
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.errors import ConfigError, NotFinite
from tt_assets.trading.panel import MarketPanel
from tt_assets.trading.rules.registry import action_scheme, cost_model, reward_scheme, stoppers
from tt_assets.trading.rules.schemes import scale_while_listed


def train_policy(
    panel: MarketPanel, config: TradingConfig, seed: int, *, report: Report | None = None
) -> TrainedPolicy:
    """Train an agent on the panel's span with the learner that the config names.

    Parameters
    ----------
    panel : bars and channels; the span from `panel.start` on ends with the session before the traded window. Its last
        sessions may be kept out of training and of the scaler: the embargo, and before it the validation sessions on
        which the checkpoint is chosen.
    config : how it trades, by which learner it is trained and how long.
    seed : of the weights, the starts and the minibatches.
    report : called as the training goes on with steps done, steps in all, and a note.

    Returns
    -------
    The weights, with everything needed to rebuild the agent.

    Raises
    ------
    NotEnoughHistory
        Fewer than `MIN_TRAINING_SESSIONS` sessions can be trained on.
    ConfigError
        A learner, scheme, reward, cost model or stopper is unknown, or one does not go with another.
    NotFinite
        A weight or reward is not a number.
    """
    learner = learner_of(config)
    _refuse_unknown_rules(config)
    split = split_span(panel, config)
    if not panel.feature_names:
        raise ConfigError("an agent needs at least one feature or signal; materialize tt_features for its sessions.")
    lesson = Lesson(split, Scaler.fit(split.training), first_trained_session(panel, config), config, seed, report)
    with one_thread() if learner.uses_torch else nullcontext():
        learned = learner.train(lesson)
    for name, tensor in learned.tensors.items():
        if not np.isfinite(tensor).all():
            raise NotFinite(f"training ended with a weight that is no number in {name}; lower TT_LEARNING_RATE.")
    return seal(_safetensors(learned.tensors), _config_json(panel, lesson, learned))


def _refuse_unknown_rules(config: TradingConfig) -> None:
    """ConfigError for an unknown rule before anything heavy is loaded; of stoppers too, which no training has."""
    action_scheme(config)
    reward_scheme(config, 1)
    cost_model(config)
    stoppers(config)


def first_trained_session(panel: MarketPanel, config: TradingConfig) -> int:
    """Row of the first session of the span at which an instrument can be held.

    Parameters
    ----------
    panel, config : as of `train_policy`.

    Raises
    ------
    NotEnoughHistory : too few such sessions are left for training besides validation and embargo.
    """
    training = split_span(panel, config).training
    scale = scale_while_listed(action_scheme(config), training, config)
    usable = np.flatnonzero((scale[training.start : -1] > 0.0).any(axis=1))
    if len(usable) < MIN_TRAINING_SESSIONS:
        raise not_enough(panel, config, len(usable))
    return training.start + int(usable[0])


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread, deterministic kernels and torch's own random state put back afterwards."""
    import torch

    # Training in the caller's process must leave it as it was: its own draws and threads are not ours.
    threads, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    numpy_state = np.random.get_state()
    torch.set_num_threads(1)
    # As `use_deterministic_algorithms`, which loads torch's compiler to tell it too.
    torch.set_deterministic_debug_mode("error")
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(deterministic)
        np.random.set_state(numpy_state)


def _safetensors(tensors: Any) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in sorted(tensors.items())})


def _day(panel: MarketPanel, row: int) -> str:
    return str(panel.sessions[row])[:10]


def _training(panel: MarketPanel, lesson: Lesson, learned: Learned) -> dict[str, Any]:
    """What config_json says of the training: the span, what was kept out of it, and what the learner tells."""
    split, config = lesson.split, lesson.config
    return {
        "span": config.training_span,
        "first_session": _day(panel, panel.start),
        "first_start": _day(panel, lesson.first),
        "last_session": _day(split.training, -1),
        "sessions": len(split.training.sessions) - panel.start,
        "validation_sessions": config.validation_sessions,
        "validation_last_session": _day(split.validation, -1) if split.validation else None,
        "embargo_sessions": split.embargo,
        "embargo_last_session": _day(panel, -1) if split.embargo else None,
        "steps": learned.steps,
        "checkpoint_steps": learned.checkpoint_steps,
        "checkpoint_score": learned.checkpoint_score,
        "checkpoints_tried": learned.checkpoints_tried,
        "curve": list(learned.curve),
        "notes": dict(learned.notes),
    }


def _config_json(panel: MarketPanel, lesson: Lesson, learned: Learned) -> str:
    """Everything needed to rebuild the agent. Floats are written shortest-exact, keys sorted: same run, same bytes."""
    return json.dumps(
        {
            "format": FORMAT,
            "agent": lesson.config.agent,
            "trading": lesson.config.model_dump(),
            "network": learned.network.to_mapping(),
            "channels": panel.feature_names,
            "instruments": panel.instruments,
            "scaler": {"mean": lesson.scaler.mean.tolist(), "std": lesson.scaler.std.tolist()},
            "seed": lesson.seed,
            "training": _training(panel, lesson, learned),
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("numpy", "torch", "stable_baselines3", "gymnasium")},
            },
        },
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
