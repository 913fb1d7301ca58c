"""Any algorithm of stable-baselines3 or sb3-contrib by name: `sb3:TD3`, `sb3:A2C`, `sb3:TRPO`, `sb3:TQC`.

Its default settings are its own. What it learned is stored as the dense layers of its deterministic actor, which act in
NumPy like every stored agent; an algorithm whose actor is anything else is refused.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np

from tt_assets.trading.agents.learner import Learned, Learner, Lesson, rounded_steps
from tt_assets.trading.agents.networks import Dense
from tt_assets.trading.agents.ppo import dense_tensors
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.rules.registry import action_scheme

PREFIX = "sb3:"
AGREES_TO = 1e-4
"""Stored and trained actors may differ by this much: single against double precision."""
COMPARED = 64
"""Observations on which the stored actor is held against the trained one."""


class StableBaselines(Learner):
    """One algorithm, at its own default settings, on the accounts of the simulator."""

    name: ClassVar[str] = "sb3"

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm

    def check(self, config: TradingConfig) -> None:
        """See `Learner`. Imports the algorithms."""
        known = algorithms()
        if self.algorithm not in known:
            raise ConfigError(f"agent {PREFIX}{self.algorithm} is unknown; known are: {', '.join(sorted(known))}.")

    def train(self, lesson: Lesson) -> Learned:
        """See `Learner`. Raises ConfigError for an unknown algorithm, and one whose actor cannot be stored."""
        self.check(lesson.config)
        known = algorithms()
        from tt_assets.trading.engines.vec_env import SimulatorVecEnv

        config = lesson.config.replace(stoppers=())
        steps, accounts, _ = rounded_steps(config, len(lesson.split.training.instruments))
        simulator = Simulator(lesson.split.training, config, lesson.scaler, accounts)
        environment = SimulatorVecEnv(simulator, lesson.first, min(config.account_group, accounts))
        try:
            model = known[self.algorithm]("MlpPolicy", environment, seed=lesson.seed, device="cpu")
        except (AssertionError, ValueError, TypeError, KeyError, NotImplementedError) as error:
            raise ConfigError(
                f"agent {PREFIX}{self.algorithm} cannot trade the actions of {config.action_scheme} "
                f"({_line(error)}); choose another algorithm or TT_ACTION_SCHEME."
            ) from None

        def told(*_: Any) -> bool:
            lesson.tell(model.num_timesteps, steps)
            return True

        model.learn(total_timesteps=steps, callback=told)
        return Learned(*self._taken(model, lesson), model.num_timesteps, model.num_timesteps)

    def _taken(self, model: Any, lesson: Lesson) -> tuple[Dense, dict[str, Any]]:
        """The actor's layers, shown to act as the trained one does."""
        from torch import nn

        layers = _actor(model.policy)
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        others = {type(layer) for layer in layers[:-1] if not isinstance(layer, nn.Linear)} - {nn.Flatten}
        last = layers[-1] if layers else None
        if len(others) == 1 and others <= {nn.Tanh, nn.ReLU} and linear:
            activation = "tanh" if others == {nn.Tanh} else "relu"
            network = Dense(
                **lesson.shape(action_scheme(lesson.config)),
                hidden=tuple(layer.out_features for layer in linear[:-1]),
                activation=activation,
                squashed=int(isinstance(last, nn.Tanh)),
            )
            tensors = dense_tensors(linear)
            if _agrees(network, tensors, model):
                return network, tensors
        raise ConfigError(
            f"agent {PREFIX}{self.algorithm} acts by something else than dense layers, which cannot be stored and "
            "replayed; choose one such as sb3:A2C, sb3:TD3, sb3:SAC or sb3:TRPO."
        )


def algorithms() -> dict[str, Any]:
    """The algorithms of both packages by name. Imports them."""
    import sb3_contrib
    import stable_baselines3
    from stable_baselines3.common.base_class import BaseAlgorithm

    return {
        name: value
        for package in (sb3_contrib, stable_baselines3)
        for name, value in vars(package).items()
        if inspect.isclass(value) and issubclass(value, BaseAlgorithm)
    }


def _actor(policy: Any) -> list[Any]:
    """The layers of the deterministic actor in order; empty where the policy has none that is known."""
    from torch import nn

    if hasattr(policy, "action_net") and hasattr(policy, "mlp_extractor"):
        return [*policy.mlp_extractor.policy_net, policy.action_net]
    actor = getattr(policy, "actor", None)
    if actor is not None and hasattr(actor, "latent_pi"):  # SAC, TQC: the mean is squashed by their distribution
        return [*actor.latent_pi, actor.mu, nn.Tanh()]
    mean = getattr(actor, "mu", None)
    return list(mean) if isinstance(mean, nn.Sequential) else []


def _agrees(network: Dense, tensors: dict[str, Any], model: Any) -> bool:
    if {name: tensor.shape for name, tensor in tensors.items()} != network.shapes():
        return False
    # Whatever the layers are called: only that they act alike says they were put together rightly.
    observations = np.random.default_rng(0).normal(size=(COMPARED, network.inputs)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    acted = np.array([network.act(tensors, observation) for observation in observations])
    return bool(np.allclose(acted, expected, atol=AGREES_TO))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
