"""PPO on the vectorised simulator, top to bottom: the default learner.

What makes it learn within nine months of daily bars: one network for all instruments, accounts that are compared with
others on the same sessions, exploration that reaches cash, and hardly any discounting of the future, because a
trader of this size does not move prices. `docs/agents.md` has the figures of each.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tt_assets.trading.agents.learner import Learned, Learner, Lesson, rounded_steps
from tt_assets.trading.agents.networks import Dense, Network, SharedEncoder
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.rules.registry import action_scheme
from tt_assets.trading.rules.schemes import ActionScheme

SEPARATE_HIDDEN = (64, 64)
ADAM_EPSILON = 1e-5
NETWORKS = ("shared", "separate")


class Ppo(Learner):
    """Proximal policy optimisation (Schulman et al., arXiv:1707.06347), by Stable-Baselines3."""

    name: ClassVar[str] = "ppo"

    def check(self, config: TradingConfig) -> None:
        """See `Learner`."""
        if config.network not in NETWORKS:
            raise ConfigError(f"network {config.network!r} is unknown; known are: {', '.join(NETWORKS)}.")

    def train(self, lesson: Lesson) -> Learned:
        """See `Learner`."""
        config, scheme = lesson.config, action_scheme(lesson.config)
        self.check(config)
        training = lesson.split.training

        from stable_baselines3 import PPO

        from tt_assets.trading.agents.checkpoint import BestOnValidation
        from tt_assets.trading.engines.vec_env import SimulatorVecEnv

        unstopped = config.replace(stoppers=())
        steps, accounts, rollout = rounded_steps(config, len(training.instruments))
        validation = lesson.split.validation
        best = BestOnValidation(
            Simulator(validation, unstopped, lesson.scaler, 1) if validation else None,
            lambda done: lesson.tell(done, steps),
        )
        simulator = Simulator(training, unstopped, lesson.scaler, accounts)
        model = PPO(
            **_network(lesson, scheme),
            env=SimulatorVecEnv(simulator, lesson.first, min(config.account_group, accounts)),
            learning_rate=config.learning_rate,
            n_steps=rollout,
            batch_size=min(config.minibatch, accounts * rollout),
            n_epochs=config.epochs,
            gamma=config.discount,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.entropy_bonus,
            seed=lesson.seed,
            device="cpu",
        )
        model.learn(total_timesteps=steps, callback=best)
        model.policy.load_state_dict(best.weights)
        network, tensors = _taken(model.policy, lesson, scheme)
        return Learned(
            network, tensors, model.num_timesteps, best.steps, best.score, best.tried, best.curve,
            {"accounts": accounts, "rollout_sessions": rollout},
        )  # fmt: skip


def _network(lesson: Lesson, scheme: ActionScheme) -> dict[str, Any]:
    """The policy class and its arguments."""
    import torch

    config = lesson.config
    optimizer = {
        "optimizer_class": torch.optim.AdamW,
        "optimizer_kwargs": {"weight_decay": config.weight_decay, "eps": ADAM_EPSILON},
    }
    spread = {} if scheme.choices else {"log_std_init": float(np.log(config.exploration))}
    if config.network == "separate":
        return {"policy": "MlpPolicy", "policy_kwargs": {"net_arch": list(SEPARATE_HIDDEN)} | optimizer | spread}

    from tt_assets.trading.agents.shared_actor import SharedPolicy

    shape = SharedEncoder(**lesson.shape(scheme), hidden=config.hidden_units)
    own = {"network": shape, "input_noise": config.input_noise, "common": config.common_exploration}
    return {"policy": SharedPolicy, "policy_kwargs": own | optimizer | spread}


def _taken(policy: Any, lesson: Lesson, scheme: ActionScheme) -> tuple[Network, dict[str, Any]]:
    """The network that acts and its tensors, out of the trained policy."""
    if lesson.config.network == "shared":
        return policy.actor.network, policy.actor.tensors()
    network = Dense(**lesson.shape(scheme), hidden=SEPARATE_HIDDEN, activation="tanh", squashed=0)
    layers = [policy.mlp_extractor.policy_net[2 * place] for place in range(len(SEPARATE_HIDDEN))]
    return network, dense_tensors([*layers, policy.action_net])


def dense_tensors(layers: list[Any]) -> dict[str, Any]:
    """The tensors of torch's linear `layers` under the names of `Dense.shapes`."""
    return {
        f"layers.{place}.{part}": np.ascontiguousarray(getattr(layer, part).detach().numpy())
        for place, layer in enumerate(layers)
        for part in ("weight", "bias")
    }
