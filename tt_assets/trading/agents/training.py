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

from tt_assets.trading.agents.policy import FORMAT, Network, TrainedPolicy, seal
from tt_assets.trading.agents.walk_forward import MIN_TRAINING_SESSIONS, not_enough, split_span
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.panel import MarketPanel
from tt_assets.trading.rules.registry import action_scheme
from tt_assets.trading.rules.schemes import ActionScheme

if TYPE_CHECKING:
    from stable_baselines3.common.policies import ActorCriticPolicy
    from torch import Tensor

Report = Callable[[int, int, str], None]
"""Called with what is done, the total, and a note."""

HIDDEN = (64, 64)
"""Units of the layers, for actor and critic each."""

ACCOUNTS = 32
"""Accounts that are stepped together: as many starting sessions in each update."""

ROLLOUT_SESSIONS = 32
"""Decisions of each account between two updates."""

MINIBATCH = 256
EPOCHS = 10
LEARNING_RATE = 3e-4
DISCOUNT = 0.95
"""Per session: a reward twenty sessions ahead counts a third."""

FIRST_SIGMA = math.exp(-1.0)
"""Standard deviation of the actions tried at the start; the mean starts in the middle of the action space."""


def train_policy(
    panel: MarketPanel, config: TradingConfig, seed: int, *, report: Report | None = None
) -> TrainedPolicy:
    """Train an agent with PPO on the panel's span.

    Parameters
    ----------
    panel : bars and channels; the span from `panel.start` on ends with the session before the traded window. Its last
        sessions are kept out of training and of the scaler: the embargo, and before it the validation sessions on which
        the checkpoint is chosen.
    config : how it trades and how long it trains.
    seed : of the weights, the starts and the minibatches.
    report : called after each rollout with steps done, steps in all, and a note.

    Returns
    -------
    The weights of the best checkpoint, with everything needed to rebuild the agent.

    Raises
    ------
    NotEnoughHistory
        Fewer than `MIN_TRAINING_SESSIONS` sessions can be trained on.
    ConfigError
        A scheme, cost model or stopper is unknown.
    NotFinite
        A weight or reward is not a number.

    Schulman et al., "Proximal policy optimization algorithms" (2017), as Stable-Baselines3 has it.
    """
    split = split_span(panel, config)
    first = first_trained_session(panel, config)

    import torch
    from stable_baselines3 import PPO

    from tt_assets.trading.agents.checkpoint import BestOnValidation
    from tt_assets.trading.engines.vec_env import SimulatorVecEnv

    scaler = Scaler.fit(split.training)
    simulator = Simulator(split.training, config, scaler, ACCOUNTS)
    rollout = max(min(ROLLOUT_SESSIONS, math.ceil(config.train_steps / ACCOUNTS)), 2)
    # An agent that is stopped early collects less of everything, and is not the better for it.
    unstopped = config.replace(stoppers=())
    best = BestOnValidation(
        Simulator(split.validation, unstopped, scaler, 1) if split.validation else None,
        lambda steps: report(min(steps, config.train_steps), config.train_steps, "steps") if report else None,
    )
    with one_thread():
        model = PPO(
            "MlpPolicy",
            SimulatorVecEnv(simulator, first),
            learning_rate=LEARNING_RATE,
            n_steps=rollout,
            batch_size=min(MINIBATCH, ACCOUNTS * rollout),
            n_epochs=EPOCHS,
            gamma=DISCOUNT,
            policy_kwargs={"net_arch": list(HIDDEN)} | _first_spread(simulator.scheme),
            seed=seed,
            device="cpu",
        )
        if not simulator.scheme.choices:
            # The first mean action is the middle of the action space, so that the agent starts half invested.
            middle = (simulator.scheme.lowest + 1.0) / 2.0
            torch.nn.init.constant_(model.policy.get_parameter("action_net.bias"), middle)
        model.learn(total_timesteps=config.train_steps, callback=best)
    network = Network(
        inputs=simulator.observations.size,
        hidden=HIDDEN,
        outputs=len(panel.instruments) * max(simulator.scheme.choices, 1),
        choices=simulator.scheme.choices,
        lowest=simulator.scheme.lowest,
    )
    record = _TrainingRecord(
        span=config.training_span,
        first_session=_day(panel, panel.start),
        first_start=_day(panel, first),
        last_session=_day(split.training, -1),
        sessions=len(split.training.sessions) - panel.start,
        validation_sessions=config.validation_sessions,
        validation_last_session=_day(split.validation, -1) if split.validation else None,
        embargo_sessions=split.embargo,
        embargo_last_session=_day(panel, -1) if split.embargo else None,
        steps=model.num_timesteps,
        checkpoint_steps=best.steps,
        checkpoint_score=best.score,
        checkpoints_tried=best.tried,
        curve=best.curve,
        accounts=ACCOUNTS,
        minibatch=MINIBATCH,
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        discount=DISCOUNT,
    )
    return seal(_safetensors(best.weights), _config_json(panel, config, seed, scaler, network, record))


@dataclasses.dataclass(frozen=True)
class _TrainingRecord:
    """What config_json says about a training. The score is the sum of validation rewards, null without validation.

    `curve` has an entry for each update: steps, mean training reward a step of the rollout before it, score.
    """

    span: str
    first_session: str
    first_start: str
    last_session: str
    sessions: int
    validation_sessions: int
    validation_last_session: str | None
    embargo_sessions: int
    embargo_last_session: str | None
    steps: int
    checkpoint_steps: int
    checkpoint_score: float | None
    checkpoints_tried: int
    curve: list[tuple[int, float, float | None]]
    accounts: int
    minibatch: int
    epochs: int
    learning_rate: float
    discount: float


def _day(panel: MarketPanel, row: int) -> str:
    return str(panel.sessions[row])[:10]


def _first_spread(scheme: ActionScheme) -> dict[str, float]:
    """Choices start equally likely by themselves."""
    return {} if scheme.choices else {"log_std_init": math.log(FIRST_SIGMA)}


def first_trained_session(panel: MarketPanel, config: TradingConfig) -> int:
    """Row of the first session of the span at which an instrument can be held.

    Raises NotEnoughHistory if too few such sessions are left for training besides validation and embargo.
    """
    training = split_span(panel, config).training
    scale = action_scheme(config).scale(training)
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


def rebuild_network(policy: TrainedPolicy) -> ActorCriticPolicy:
    """The Stable-Baselines3 network of a stored policy, loaded with strict=True, for inspecting or training on."""
    import torch
    from gymnasium import spaces
    from stable_baselines3.common.policies import ActorCriticPolicy

    rebuilt = ActorCriticPolicy(
        spaces.Box(-np.inf, np.inf, (policy.network.inputs,), np.float32),
        action_scheme(policy.config).space(len(policy.instruments)),
        lr_schedule=lambda _: LEARNING_RATE,
        net_arch=list(policy.network.hidden),
    )
    rebuilt.load_state_dict({name: torch.from_numpy(t.copy()) for name, t in policy.tensors.items()}, strict=True)
    return rebuilt.eval()


def _safetensors(weights: dict[str, Tensor]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in sorted(weights.items())})


def _config_json(
    panel: MarketPanel,
    config: TradingConfig,
    seed: int,
    scaler: Scaler,
    network: Network,
    record: _TrainingRecord,
) -> str:
    """Everything needed to rebuild the agent. Floats are written shortest-exact, keys sorted: same run, same bytes."""
    return json.dumps(
        {
            "format": FORMAT,
            "trading": config.model_dump(),
            "network": dataclasses.asdict(network),
            "channels": panel.feature_names,
            "instruments": panel.instruments,
            "scaler": {"mean": scaler.mean.tolist(), "std": scaler.std.tolist()},
            "seed": seed,
            "reward": config.reward_scheme,
            "training": dataclasses.asdict(record),
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("numpy", "torch", "stable_baselines3", "gymnasium")},
            },
        },
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
