"""Training one agent with PPO on the vectorised simulator, top to bottom.

Deterministic: the same panel, config, seed and library versions give the same bytes. One torch thread: more are slower
on networks of this size and change the order of sums.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from tt_assets.trading.config import SIGMA_SESSIONS, TradingConfig
from tt_assets.trading.errors import NotEnoughHistory
from tt_assets.trading.observation import Scaler
from tt_assets.trading.panel import MarketPanel
from tt_assets.trading.policy import FORMAT, Network, TrainedPolicy, seal
from tt_assets.trading.schemes import action_scheme
from tt_assets.trading.simulator import Simulator

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.policies import ActorCriticPolicy

Report = Callable[[int, int, str], None]
"""Called with what is done, the total, and a note."""

MIN_TRAINING_SESSIONS = 42
"""Sessions at whose close at least one instrument can be held: two months, the shortest span worth learning from."""

HIDDEN = (64, 64)
ACCOUNTS = 32
ROLLOUT_SESSIONS = 32
MINIBATCH = 256
EPOCHS = 10
LEARNING_RATE = 3e-4
DISCOUNT = 0.95
FIRST_SIGMA = math.exp(-1.0)
"""Standard deviation of the actions tried at the start; the mean starts in the middle of the action space."""


def train_policy(
    panel: MarketPanel, config: TradingConfig, seed: int, *, report: Report | None = None
) -> TrainedPolicy:
    """Train an agent on the panel's span (from `panel.start`; what lies before is look-back).

    `report` is called with (steps done, steps in all, note) after each rollout. Raises NotEnoughHistory when fewer than
    `MIN_TRAINING_SESSIONS` sessions of the span can be traded, ConfigError for an unknown scheme and NotFinite when a
    weight or reward is not a number.
    """
    first = first_trained_session(panel, config)

    import torch
    from stable_baselines3 import PPO

    from tt_assets.trading.vec_env import SimulatorVecEnv

    scaler = Scaler.fit(panel)
    simulator = Simulator(panel, config, scaler, ACCOUNTS)
    rollout = min(ROLLOUT_SESSIONS, math.ceil(config.train_steps / ACCOUNTS))
    with one_thread():
        model = PPO(
            "MlpPolicy",
            SimulatorVecEnv(simulator, first),
            learning_rate=LEARNING_RATE,
            n_steps=max(rollout, 2),
            batch_size=min(MINIBATCH, ACCOUNTS * max(rollout, 2)),
            n_epochs=EPOCHS,
            gamma=DISCOUNT,
            policy_kwargs={"net_arch": list(HIDDEN), "log_std_init": math.log(FIRST_SIGMA)},
            seed=seed,
            device="cpu",
        )
        # The first mean action is the middle of the action space, so that the agent starts half invested.
        torch.nn.init.constant_(model.policy.get_parameter("action_net.bias"), (simulator.scheme.lowest + 1.0) / 2.0)
        model.learn(total_timesteps=config.train_steps, callback=_reporting(report, config.train_steps))
        weights = _weights(model)
    network = Network(inputs=simulator.observations.size, hidden=HIDDEN, outputs=len(panel.instruments))
    return seal(weights, _config_json(panel, config, seed, scaler, network, model.num_timesteps, first))


def first_trained_session(panel: MarketPanel, config: TradingConfig) -> int:
    """Row of the first session of the span at which an instrument can be held; NotEnoughHistory if too few remain."""
    scale = action_scheme(config).scale(panel)
    usable = np.flatnonzero((scale[panel.start : -1] > 0.0).any(axis=1))
    if len(usable) < MIN_TRAINING_SESSIONS:
        priced = int(np.isfinite(panel.close[panel.start :]).any(axis=1).sum())
        raise NotEnoughHistory(
            f"training {', '.join(panel.instruments)} on {panel.span_text()}: {priced} sessions have prices and "
            f"{len(usable)} can be traded after the {SIGMA_SESSIONS} that the volatility needs; training needs "
            f"{MIN_TRAINING_SESSIONS}. Start the history earlier or choose a later window."
        )
    return panel.start + int(usable[0])


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread, deterministic kernels and torch's own random state put back afterwards."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    numpy_state = np.random.get_state()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        np.random.set_state(numpy_state)


def rebuild_network(policy: TrainedPolicy) -> ActorCriticPolicy:
    """The Stable-Baselines3 network of a stored policy, loaded with strict=True, for inspecting or training on."""
    import torch
    from gymnasium import spaces
    from stable_baselines3.common.policies import ActorCriticPolicy

    rebuilt = ActorCriticPolicy(
        spaces.Box(-np.inf, np.inf, (policy.network.inputs,), np.float32),
        action_scheme(policy.config).space(policy.network.outputs),
        lr_schedule=lambda _: LEARNING_RATE,
        net_arch=list(policy.network.hidden),
    )
    rebuilt.load_state_dict({name: torch.from_numpy(t.copy()) for name, t in policy.tensors.items()}, strict=True)
    return rebuilt.eval()


def _weights(model: PPO) -> bytes:
    from safetensors.numpy import save

    state = model.policy.state_dict()
    return save({name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in sorted(state.items())})


def _config_json(
    panel: MarketPanel,
    config: TradingConfig,
    seed: int,
    scaler: Scaler,
    network: Network,
    steps: int,
    first: int,
) -> str:
    """Everything needed to rebuild the agent. Floats are written shortest-exact, keys sorted: same run, same bytes."""
    return json.dumps(
        {
            "format": FORMAT,
            "trading": dataclasses.asdict(config),
            "network": dataclasses.asdict(network),
            "channels": panel.feature_names,
            "instruments": panel.instruments,
            "scaler": {"mean": scaler.mean.tolist(), "std": scaler.std.tolist()},
            "seed": seed,
            "reward": config.reward_scheme,
            "training": {
                "first_session": str(panel.sessions[panel.start])[:10],
                "first_start": str(panel.sessions[first])[:10],
                "last_session": str(panel.sessions[-1])[:10],
                "sessions": len(panel.sessions) - panel.start,
                "steps": steps,
                "accounts": ACCOUNTS,
                "minibatch": MINIBATCH,
                "epochs": EPOCHS,
                "learning_rate": LEARNING_RATE,
                "discount": DISCOUNT,
            },
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("numpy", "torch", "stable_baselines3", "gymnasium")},
            },
        },
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )


def _reporting(report: Report | None, total: int) -> Callable[[dict, dict], bool]:
    """A Stable-Baselines3 callback that reports each finished rollout."""
    reported = 0

    def after_step(scope: dict, _: dict) -> bool:
        nonlocal reported
        steps = scope["self"].num_timesteps
        if report is not None and (steps - reported >= ACCOUNTS * ROLLOUT_SESSIONS or steps >= total > reported):
            reported = steps
            report(min(steps, total), total, "steps")
        return True

    return after_step
