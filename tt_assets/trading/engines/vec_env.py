"""The simulator as a Stable-Baselines3 `VecEnv`. Imports Stable-Baselines3: import this module where it is needed.

Every account starts at a random session of the training span and is truncated after a quarter or at the
end of the span, so that all sessions are visited about equally and none outside is visited at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.panel import Actions, Booleans

EPISODE_SESSIONS = 63
"""Longest training episode in sessions: a quarter, as long as the window that an agent trades."""

SHORTEST_EPISODE = 21
"""Starts keep this many sessions before the end of the span, where the span allows it."""


class SimulatorVecEnv(VecEnv):
    """B accounts of one simulator, each started at a random session; nothing is drawn but the starts.

    Observations are float32 (B × size), rewards float32 (B), `terminal_observation` of an ended account stands in its
    info, as Stable-Baselines3 asks.

    Accounts walk in groups of `group` on the same sessions, and each is rewarded by its reward less the mean of its
    group. Prices do not answer what an account does, so what the market gave all of them alike says nothing about an
    action: the mean is a baseline without bias that takes most of the noise away. It needs the accounts of a group to
    end together.

    Parameters
    ----------
    simulator : the accounts. Its panel should end where training ends: nothing beyond it is ever visited.
    first : row of the panel that is the earliest start, the first at which an instrument can be held.
    group : accounts that walk the same sessions and are compared; 1 compares none and leaves rewards as they are.

    Raises
    ------
    ValueError : `group` does not divide the accounts, or is above 1 where a stopper can end one before the others.
    """

    def __init__(self, simulator: Simulator, first: int, group: int = 1) -> None:
        if simulator.accounts % group or (group > 1 and simulator.config.stoppers):
            raise ValueError(
                f"{simulator.accounts} accounts with stoppers {simulator.config.stoppers} in groups of {group}"
            )
        self.group = group
        self.simulator = simulator
        self.first = first
        self.last_start = max(first, len(simulator.panel.sessions) - 1 - SHORTEST_EPISODE)
        self.render_mode = None
        # Stable-Baselines3 calls `seed` before the first reset; without it the starts are those of seed 0.
        self._random = np.random.default_rng(0)
        self._actions: Actions = np.zeros((simulator.accounts, len(simulator.panel.instruments)))
        observation_space = spaces.Box(-np.inf, np.inf, (simulator.observations.size,), np.float32)
        action_space = simulator.scheme.space(len(simulator.panel.instruments))
        super().__init__(simulator.accounts, observation_space, action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the draws of starting sessions; the next `reset` uses them."""
        self._random = np.random.default_rng(seed)
        return [seed] * self.num_envs

    def reset(self) -> npt.NDArray[np.float32]:
        """Start every account afresh."""
        self._restart(np.ones(self.num_envs, dtype=bool))
        return self.simulator.observe()

    def step_async(self, actions: Actions) -> None:
        """Keep the actions (B × N) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], Booleans, list[dict[str, Any]]]:
        """Step all accounts; those that end start again, their last observation under `terminal_observation`."""
        step = self.simulator.step(self._actions)
        observations = self.simulator.observe()
        done = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if done.any():
            # PPO bootstraps the value of what a truncated account would have seen next, so it is shown here and not
            # the first observation of the account's next episode.
            for account in np.flatnonzero(done):
                infos[account]["terminal_observation"] = observations[account].copy()
                infos[account]["TimeLimit.truncated"] = bool(step.truncated[account])
            self._restart(done)
            observations = self.simulator.observe()
        reward = step.reward
        if self.group > 1:
            # The accounts of a group stand side by side, since `_restart` repeats each start.
            in_groups = reward.reshape(-1, self.group)
            reward = (in_groups - in_groups.mean(axis=1, keepdims=True)).ravel()
        return observations, reward.astype(np.float32), done, infos

    def _restart(self, which: Booleans) -> None:
        groups = int(which.sum()) // self.group
        starts = self._random.integers(self.first, self.last_start, size=groups, dtype=np.int64, endpoint=True)
        starts = np.repeat(starts, self.group)
        self.simulator.reset(which, starts, starts + EPISODE_SESSIONS)

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same attribute for each asked account: all share one simulator."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute, for all accounts."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Accounts are rows of arrays and have no methods of their own."""
        raise AttributeError(f"accounts of the simulator have no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type, indices: int | Iterable[int] | None = None) -> list[bool]:
        """Never: there is no environment per account."""
        return [False for _ in self._get_indices(indices)]
