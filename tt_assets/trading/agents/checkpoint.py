"""Choosing the checkpoint of a training on its validation sessions. Imports Stable-Baselines3: import where needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from tt_assets.trading.engines.simulator import Simulator


class BestOnValidation(BaseCallback):
    """Scores the agent after every update and keeps the weights of the best; the earliest of equals.

    The score is the sum of rewards of the deterministic agent over the validation sessions, costs included.

    Parameters
    ----------
    validation : one account over the validation sessions, scaled as training is. It should have no stopper: an agent
        that is stopped early is not better for it. None keeps the last weights.
    report : called with the steps done after each rollout.
    """

    def __init__(self, validation: Simulator | None, report: Callable[[int], None]) -> None:
        super().__init__()
        self._validation = validation
        self._report = report
        self._updated = False
        self._reward = 0.0
        self.tried = 0
        self.steps = 0
        self.score: float | None = None
        self.weights: dict[str, torch.Tensor] = {}
        self.curve: list[tuple[int, float, float | None]] = []
        """After each update: the steps done, the mean reward a step of the rollout before it, and the score."""

    def _on_rollout_start(self) -> None:
        # The first rollout begins before anything is learned.
        if self._updated:
            self._consider()
        self._updated = True

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._reward = float(self.model.rollout_buffer.rewards.mean())  # type: ignore[attr-defined]
        self._report(self.num_timesteps)

    def _on_training_end(self) -> None:
        self._consider()

    def _consider(self) -> None:
        self.tried += 1
        score = None if self._validation is None else self._rewards(self._validation)
        self.curve.append((self.num_timesteps, self._reward, score))
        if score is None or self.score is None or score > self.score:
            self.score, self.steps = score, self.num_timesteps
            # Cloned: the next update changes these tensors in place.
            state = self.model.policy.state_dict()
            self.weights = {name: tensor.detach().clone() for name, tensor in state.items()}

    def _rewards(self, simulator: Simulator) -> float:
        simulator.reset(np.ones(1, dtype=bool), np.array([simulator.panel.start]))
        total = 0.0
        for _ in range(len(simulator.panel.sessions) - simulator.panel.start - 1):
            actions, _ = self.model.policy.predict(simulator.observe(), deterministic=True)
            total += float(simulator.step(actions).reward[0])
        return total
