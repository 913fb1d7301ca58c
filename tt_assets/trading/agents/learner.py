"""What a learner is: the contract that every way of training an agent keeps, built in or of the user's own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tt_assets.trading.agents.networks import Network
from tt_assets.trading.agents.walk_forward import Split
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.rules.schemes import ActionScheme

Report = Callable[[int, int, str], None]
"""Called with what is done, the total, and a note."""

CurvePoint = tuple[int, float, float | None]
"""After an update: steps so far, mean training reward a step of what was just seen, score on validation or None."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What an agent is trained on.

    Parameters
    ----------
    split : the training panel (its rows before `start` are look-back), validation and embargo.
    scaler : statistics of the training span by which observations are scaled.
    first : row of the training panel from which an instrument can be held.
    config : the settings; `config.stoppers` do not apply while training.
    seed : of every draw; the same lesson and seed give the same agent, bit for bit.
    report : told of progress, or None.
    """

    split: Split
    scaler: Scaler
    first: int
    config: TradingConfig
    seed: int
    report: Report | None = None

    def tell(self, done: int, total: int, note: str = "steps") -> None:
        """Report progress, where somebody listens.

        Parameters
        ----------
        done, total : in units of `note`; more than `total` counts as `total`.
        note : what is counted.
        """
        if self.report is not None:
            self.report(min(done, total), total, note)

    def shape(self, scheme: ActionScheme) -> dict[str, Any]:
        """Sizes that every `Network` of this lesson has."""
        panel = self.split.training
        return {
            "instruments": len(panel.instruments),
            "channels": len(panel.feature_names),
            "window": self.config.observation_window,
            "choices": scheme.choices,
            "lowest": scheme.lowest,
        }


@dataclass(frozen=True, eq=False)
class Learned:
    """What came of a training: a network, its tensors, and what its config_json tells of how it came about.

    Parameters
    ----------
    network : what acts. tensors : of the names and shapes that `network.shapes` says, float32, finite.
    steps : decisions it was trained on. checkpoint_steps : of the weights that were kept.
    checkpoint_score : sum of validation rewards of these weights, None without validation.
    checkpoints_tried : how many weights were compared.
    curve : the learning curve, see `CurvePoint`. notes : anything else that is worth keeping; JSON.
    """

    network: Network
    tensors: Mapping[str, npt.NDArray[np.float32]]
    steps: int
    checkpoint_steps: int
    checkpoint_score: float | None = None
    checkpoints_tried: int = 1
    curve: Sequence[CurvePoint] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


class Learner(ABC):
    """A way of training agents. `name` is what TT_AGENT calls it.

    class AlwaysHalf(Learner):
        "Half a position in everything."
        name = "always_half"

        def train(self, lesson):
            shape = lesson.shape(action_scheme(lesson.config))
            network = Dense(**shape, hidden=(), activation="tanh", squashed=0)
            tensors = {
                "layers.0.weight": np.zeros((network.instruments, network.inputs), np.float32),
                "layers.0.bias": np.full(network.instruments, 0.5, np.float32),
            }
            return Learned(network, tensors, steps=0, checkpoint_steps=0)
    """

    name: ClassVar[str]
    uses_torch: ClassVar[bool] = True
    """Whether it trains with torch, which then runs on one thread with deterministic kernels."""

    def check(self, config: TradingConfig) -> None:  # noqa: B027 - most learners train under anything
        """Raise ConfigError for settings that this learner cannot train under, as far as they tell without bars."""

    @abstractmethod
    def train(self, lesson: Lesson) -> Learned:
        """Train one agent; deterministic in `lesson`.

        Raises
        ------
        ConfigError : settings that this learner cannot train under.
        NotEnoughHistory : nothing is left to learn from.
        NotFinite : a weight or a reward is not a number.
        """


def rounded_steps(config: TradingConfig, instruments: int) -> tuple[int, int, int]:
    """How a training of so many steps is cut up, nothing of it larger than the training needs.

    Parameters
    ----------
    config : steps, accounts, groups of accounts and the length of a rollout.
    instruments : N, which the steps by default depend on.

    Returns
    -------
    Steps of the training, accounts side by side (a multiple of the group), and sessions of a rollout (at least 2).
    """
    steps = config.steps_for(instruments)
    accounts = min(config.train_accounts, max(steps // 2, 1))
    accounts -= accounts % min(config.account_group, accounts)
    return steps, accounts, max(min(config.rollout_sessions, math.ceil(steps / accounts)), 2)
