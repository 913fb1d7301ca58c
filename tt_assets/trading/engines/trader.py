"""What an episode is acted on: one account that is stepped with one action a session, whichever engine keeps its books.

TensorTrade is what recorded episodes run on. The simulator keeps the same books much faster; it can also hold shorts
and trade a decision later than it was taken.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from tt_assets.trading.engines.observation import Observation
from tt_assets.trading.engines.settlement import AccountFills
from tt_assets.trading.panel import Floats


class Engine(StrEnum):
    """What an episode runs on."""

    TENSORTRADE = "tensortrade"
    SIMULATOR = "simulator"


class TraderStep(NamedTuple):
    """What one step led to, at the next close.

    Parameters
    ----------
    observation : what the agent sees there (size, float32).
    reward : of the step, in the unit of the reward scheme.
    terminated : whether a stopper, or a net worth of 0 or less, closed the account.
    truncated : whether its data ended.
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool


class Trader(Protocol):
    """One account over a panel's span. Its figures belong to the close of `session`.

    Attributes
    ----------
    session : row of the panel.
    observation_names : name of each element of an observation.
    net_worth, cash, borrow_fees : USD; the fees are those paid so far.
    quantity : shares (N), negative when short.
    target : weights of the last decision (N), fractions of net worth at its close; 0 before the first.
    fills : of the last decision (N); nothing before the first.
    not_filled, cut_by_volume : orders so far that met no trading, and that were cut to the volume limit.
    """

    @property
    def session(self) -> int:
        """Row of the panel at whose close the account stands."""
        ...

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Name of each element of an observation."""
        ...

    @property
    def net_worth(self) -> float:
        """USD at the close of `session`."""
        ...

    @property
    def cash(self) -> float:
        """USD, negative when borrowed."""
        ...

    @property
    def quantity(self) -> Floats:
        """Shares (N), negative when short."""
        ...

    @property
    def target(self) -> Floats:
        """Weights of the last decision (N), fractions of net worth at its close; 0 before the first."""
        ...

    @property
    def fills(self) -> AccountFills:
        """Of the last decision (N); nothing before the first."""
        ...

    @property
    def not_filled(self) -> int:
        """Orders so far that met no trading."""
        ...

    @property
    def cut_by_volume(self) -> int:
        """Orders so far that were cut to the volume limit."""
        ...

    @property
    def borrow_fees(self) -> float:
        """USD paid so far."""
        ...

    def reset(self) -> Observation:
        """Start afresh in cash at the close of the span's first session; gives what is seen there (size, float32)."""
        ...

    def targets(self, action: Floats) -> Floats:
        """Weights (N) that `action` sets at the close of `session`, to be traded in the session after; nothing moves.

        For the newest close, whose fill is not known yet. Raises NotFinite as `step` does.
        """
        ...

    def step(self, action: Floats) -> TraderStep:
        """Decide at this close, fill in the next session, mark at its close.

        Parameters
        ----------
        action : raw action (N), as the action scheme's space has it.

        Raises
        ------
        NotFinite
            A weight, the reward or the net worth is NaN or infinite.
        """
        ...
