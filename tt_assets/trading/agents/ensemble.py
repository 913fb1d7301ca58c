"""The agents of one window as one that can be traded: the mean action of the seeds.

The median of several accounts cannot be held by anybody; the account that follows the mean of their actions can. It is
an agent like each of them, with a digest of its own, so that it is rolled, recorded, replayed and checked by the same
code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tt_assets.trading.agents.policy import TrainedPolicy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.errors import PolicyMismatch
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import action_scheme


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Agents of several seeds that see the same and act together.

    Parameters
    ----------
    members : agents of one window, trained on the same instruments, channels and span, in the order of their seeds.

    Raises
    ------
    PolicyMismatch : they do not see the same: other instruments, channels, settings or statistics of the span.
    """

    members: tuple[TrainedPolicy, ...]

    def __post_init__(self) -> None:
        first = self.members[0]
        for member in self.members[1:]:
            for what, own, theirs in (
                ("instruments", first.instruments, member.instruments),
                ("channels", first.channels, member.channels),
                ("sessions seen", first.config.observation_window, member.config.observation_window),
            ):
                if own != theirs:
                    raise PolicyMismatch(
                        f"the agents of seed {first.seed} and {member.seed} have other {what}; train the window again."
                    )
            if not (
                # One observation serves all members, so it has to be scaled alike for all.
                np.array_equal(first.scaler.mean, member.scaler.mean)
                and np.array_equal(first.scaler.std, member.scaler.std)
            ):
                raise PolicyMismatch(
                    f"the agents of seed {first.seed} and {member.seed} were trained on other bars; "
                    "train the window again."
                )

    @property
    def sha256(self) -> str:
        """SHA-256 of the members' in the order of their seeds, hexadecimal."""
        return hashlib.sha256("".join(member.sha256 for member in self.members).encode()).hexdigest()

    @property
    def seed(self) -> int:
        """0: the ensemble draws nothing."""
        return 0

    @property
    def config(self) -> TradingConfig:
        """The settings the members were trained with; those that shape what is seen and done are the same in all."""
        return self.members[0].config

    @property
    def scaler(self) -> Scaler:
        """Statistics of the training span, the same in all members."""
        return self.members[0].scaler

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels in the order the members read them."""
        return self.members[0].channels

    @property
    def instruments(self) -> tuple[str, ...]:
        """Instruments in the order the members read and weigh them."""
        return self.members[0].instruments

    def check_fits(self, panel: MarketPanel) -> None:
        """PolicyMismatch naming the difference if `panel` offers other instruments or channels."""
        self.members[0].check_fits(panel)

    def act(self, observation: npt.NDArray[np.float32]) -> Floats:
        """The mean action (N) for one observation; of choices the one most members make, the lowest where they tie."""
        return mean_action([member.act(observation) for member in self.members], action_scheme(self.config).choices)


Actor = TrainedPolicy | Ensemble
"""Who can be rolled as an agent."""


def mean_action(actions: Sequence[Floats], choices: int) -> Floats:
    """One action (N) of several.

    Parameters
    ----------
    actions : raw actions (N) of each member.
    choices : how many actions there are to choose from; 0 where actions are numbers.

    Returns
    -------
    The mean, or of choices the most frequent, the lowest of those that tie. NaN where a member gives NaN.
    """
    stacked = np.stack(actions)
    if not choices:
        mean: Floats = stacked.mean(axis=0)
        return mean
    votes = np.stack([(stacked == choice).sum(axis=0) for choice in range(choices)])
    return np.where(np.isnan(stacked).any(axis=0), np.nan, votes.argmax(axis=0).astype(np.float64))
