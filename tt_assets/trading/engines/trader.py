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
    """What the agent sees at the next close, its reward, and whether the account was stopped or its data ended."""

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool


class Trader(Protocol):
    """One account over a panel's span. Its figures belong to the close of `session` (row of the panel).

    net_worth, cash, borrow_fees: USD. quantity: shares (N). target, fills: of the last decision (N). not_filled and
    cut_by_volume count orders so far.
    """

    @property
    def session(self) -> int: ...
    @property
    def observation_names(self) -> tuple[str, ...]: ...
    @property
    def net_worth(self) -> float: ...
    @property
    def cash(self) -> float: ...
    @property
    def quantity(self) -> Floats: ...
    @property
    def target(self) -> Floats: ...
    @property
    def fills(self) -> AccountFills: ...
    @property
    def not_filled(self) -> int: ...
    @property
    def cut_by_volume(self) -> int: ...
    @property
    def borrow_fees(self) -> float: ...

    def reset(self) -> Observation:
        """Start afresh in cash at the close of the span's first session."""
        ...

    def step(self, action: Floats) -> TraderStep:
        """Decide with a raw `action` (N) at this close, fill in the next session, mark at its close."""
        ...
