"""What an engine reads per decision, laid out one row per session so that one gather serves many accounts.

The number of shares is fixed at the decision, from the close of t, because that is what a trader can send
before the next session. The fill price of t+1 decides only what those shares cost, never how many are wanted. Buying
more because the fill price came out low would earn money from noise in a single price.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import Booleans, Floats, MarketPanel
from tt_assets.trading.rules.schemes import ActionScheme, scale_while_listed


class Decision(NamedTuple):
    """What B accounts decide on and what is done about it, at the closes of their sessions t (B × N each).

    Parameters
    ----------
    scale : weight of a full position, fraction of net worth; known at t.
    per_usd : shares per USD at the mark, 0 while not listed; known at t.
    smallest : fewest shares that are filled, infinite where nothing is. It is of t+1, as the rest: for the engine only.
    fill_price : USD per share before slippage, 0 where nothing is filled.
    next_mark : USD per share at the close of t+1, 0 while not listed.
    volume : shares traded in t+1, 0 where nothing is filled.
    """

    scale: Floats
    per_usd: Floats
    smallest: Floats
    fill_price: Floats
    next_mark: Floats
    volume: Floats


class DecisionTape:
    """The decisions of one panel. The last session has none: nothing is filled after it.

    Parameters
    ----------
    panel : bars (T × N) of the span with its look-back.
    config : execution, smallest trade, and when an instrument counts as delisted.
    scheme : what sizes a full position.

    Attributes
    ----------
    scale : weight of a full position (T × N). fillable : whether an order after the decision is filled (T × N).
    closing : USD per share at which what is held is closed after the decision, because the instrument counts as
        delisted and does not trade; 0 where it is not (T × N). closes : whether there is any such.
    """

    def __init__(self, panel: MarketPanel, config: TradingConfig, scheme: ActionScheme) -> None:
        sessions, instruments = panel.close.shape
        per_usd = np.zeros((sessions, instruments))
        np.divide(1.0, panel.marks, out=per_usd, where=panel.marks > 0.0)
        # Row t holds what session t+1 brings: the engine reads it, an observation never does.
        fill_price = _next(panel.fill_prices(config.execution), np.nan)
        self.fillable: Booleans = np.isfinite(fill_price)
        # In shares, at the deciding close: whether an order is sent is decided before its fill price is known.
        smallest = np.where(self.fillable & (per_usd > 0.0), config.minimum_trade * per_usd, np.inf)
        self.scale = scale_while_listed(scheme, panel, config)
        # What is held of a delisted instrument is closed at its last close, unless it trades after all.
        closed = panel.gone(config.stale_sessions) & ~self.fillable
        self.closing = np.where(closed, panel.marks, 0.0)
        self.closes: bool = bool(closed.any())
        volume = np.where(self.fillable, _next(panel.volume, np.nan), 0.0)
        quote = np.where(self.fillable, fill_price, 0.0)
        parts = (self.scale, per_usd, smallest, quote, _next(panel.marks, 0.0), volume)
        self._blocks = np.stack(parts)

    def at(self, sessions: npt.NDArray[np.int64]) -> Decision:
        """The decisions at the closes of `sessions` (B rows of the panel)."""
        # As one block per column of a Decision, so that each is contiguous.
        return Decision(*self._blocks.take(sessions, axis=1))

    def reader(self, accounts: int) -> DecisionReader:
        """What `at` gives, for as many accounts and without a new array each time."""
        return DecisionReader(self._blocks, accounts)


class DecisionReader:
    """Decisions of the same number of accounts over and over: each call overwrites what the one before gave.

    Parameters
    ----------
    blocks : the columns of a `Decision` one after another (6 × T × N).
    accounts : B.
    """

    def __init__(self, blocks: Floats, accounts: int) -> None:
        self._blocks = blocks
        self._room = np.empty((len(blocks), accounts, blocks.shape[2]))
        self._decision = Decision(*self._room)

    def at(self, sessions: npt.NDArray[np.int64]) -> Decision:
        """As `DecisionTape.at`."""
        # With a mode other than raise, NumPy writes to `out` without a copy in between.
        self._blocks.take(sessions, axis=1, out=self._room, mode="clip")
        return self._decision


def wanted_shares(weights: Floats, net_worth: Floats, quantity: Floats, per_usd: Floats) -> Floats:
    """Shares to trade until positions hold `weights` of `net_worth`; known at the deciding close.

    Parameters
    ----------
    weights : target weights (B × N), fractions of net worth.
    net_worth : USD (B).
    quantity : shares held (B × N), negative when short.
    per_usd : shares per USD at the mark (B × N), 0 while not listed.

    Returns
    -------
    Signed shares (B × N): bought above 0, sold below.
    """
    wanted = weights * net_worth[:, None]
    wanted *= per_usd
    wanted -= quantity
    return wanted


def unfilled(wanted: Floats, decision: Decision, config: TradingConfig) -> tuple[int, int]:
    """How many orders came to nothing, and how many to less than was wanted.

    Parameters
    ----------
    wanted : signed shares that were asked for (B × N).
    decision : the decision they were asked for in.
    config : the smallest trade, below which nothing is an order, and the volume limit.

    Returns
    -------
    Orders that met no trading at all, and orders that were cut to the volume limit; over all accounts.
    """
    size = np.abs(wanted)
    sent = (size > 0.0) & (size >= config.minimum_trade * decision.per_usd)
    nobody_traded = np.isinf(decision.smallest)
    limit = config.volume_limit * decision.volume if config.volume_limit else np.inf
    return int((sent & nobody_traded).sum()), int((sent & ~nobody_traded & (size > limit)).sum())


def _next(rows: Floats, after_the_last: float) -> Floats:
    return np.concatenate([rows[1:], np.full((1, rows.shape[1]), after_the_last)])
