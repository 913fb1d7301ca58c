"""Baselines: what an agent has to beat, under the same costs, execution and books.

A baseline is a strategy like an agent, rolled by the same code on the same engine. It sets weights
directly, through the long-only scheme, from nothing but the panel up to the deciding session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tt_assets.trading.config import SIGMA_SESSIONS, TradingConfig
from tt_assets.trading.engines.observation import Observation, Scaler
from tt_assets.trading.engines.trader import Engine, Trader
from tt_assets.trading.episodes.record import EpisodeRecord
from tt_assets.trading.episodes.roll import roll
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import named
from tt_assets.trading.rules.schemes import LongOnlyWeights


class Baseline(ABC):
    """Weights by a fixed rule.

    Parameters
    ----------
    panel : bars of the window with its look-back.
    config : as `baseline_config` gives it.
    seed : of use to the one that draws.
    delay : sessions that the bars are shown late to the rule; the account is shown as it is, since what is held needs
        no bars to be left alone. In the first `delay` sessions nothing is decided.
    """

    name: ClassVar[str]

    def __init__(self, panel: MarketPanel, config: TradingConfig, seed: int = 0, delay: int = 0) -> None:
        self.panel = panel
        self.gone = panel.gone(config.stale_sessions)
        self.scaler = Scaler.unscaled(panel)
        self.max_leverage = config.max_leverage
        self.seed = seed
        self.delay = delay

    @abstractmethod
    def weights(self, session: int, held: Floats) -> Floats:
        """What the rule holds, of what leverage allows.

        Parameters
        ----------
        session : row of the panel at whose close it decides. Only rows up to it may be read.
        held : current weights (N), of what leverage allows too.

        Returns
        -------
        Weights (N), at least 0 and 1 in all at most.
        """

    @abstractmethod
    def reason(self, session: int, column: int) -> str:
        """Why, for one instrument, from figures known at the decision; part of a sentence.

        Parameters
        ----------
        session : row of the panel at whose close it was decided.
        column : place of the instrument.
        """

    def act(self, trader: Trader, observation: Observation) -> Floats:
        """The rule's weights at the trader's session."""
        return self.decide(trader.session, trader.quantity, trader.net_worth)

    def decide(self, session: int, quantity: Floats, net_worth: float) -> Floats:
        """The rule's weights (N) at a close, from bars `delay` sessions before it.

        Parameters
        ----------
        session : row of the panel at whose close is decided.
        quantity : shares held at that close (N).
        net_worth : USD at that close.

        Returns
        -------
        (N) parts of what leverage allows, 0 in the first `delay` sessions.
        """
        if session - self.delay < self.panel.start:
            return np.zeros(len(self.panel.instruments))
        # The long-only scheme scales by leverage again, so that what is held comes back as the weight it has.
        held = quantity * self.panel.marks[session] / (net_worth * self.max_leverage)
        return self.weights(session - self.delay, held)

    def reasons(self, session: int, action: Floats, target: Floats) -> list[str]:
        """A sentence per instrument and one for cash."""
        sentences = []
        for column, (name, weight) in enumerate(zip(self.panel.instruments, target, strict=True)):
            listed = self.panel.listed[session, column]
            why = self.reason(session, column) if listed else f"{name} has no price yet and cannot be held"
            if self.gone[session, column]:
                why = f"{name} has had no bar for so long that it counts as delisted; it is closed at its last close"
            sentences.append(f"{weight:.1%}: {why}.")
        left = round(1.0 - float(target.sum()), 9) + 0.0
        return [*sentences, f"{left:.1%} stays in cash: {type(self).name} puts {float(target.sum()):.1%} to work."]

    def entries(self) -> dict[str, str | int | float | None]:
        """No policy stands behind it."""
        return {"policy_sha256": None, "policy_seed": None, "baseline_seed": self.seed}

    def _listed(self, session: int) -> Floats:
        """1 for what is listed and not delisted again (N)."""
        listed: Floats = (self.panel.listed[session] & ~self.gone[session]).astype(np.float64)
        return listed


class Cash(Baseline):
    """Nothing is ever bought."""

    name = "cash"

    def weights(self, session: int, held: Floats) -> Floats:
        """0."""
        return np.zeros_like(held)

    def reason(self, session: int, column: int) -> str:
        """Always the same."""
        return "this baseline stays in cash"


class EqualWeightHold(Baseline):
    """Equal parts of what is listed at the first close, bought once and held."""

    name = "equal_weight_hold"

    def weights(self, session: int, held: Floats) -> Floats:
        """What is held as it is; what was wanted at first and could not be bought yet is tried again."""
        first = _normalised(self._listed(self.panel.start))
        room = max(1.0 - float(held.sum()), 0.0)
        # What was delisted stays out: nothing of it is missing.
        missing = np.where((held > 0.0) | self.gone[session], 0.0, first)
        return held + missing * min(1.0, room / max(float(missing.sum()), 1e-300))

    def reason(self, session: int, column: int) -> str:
        """Bought or not."""
        if not self.panel.listed[self.panel.start, column]:
            return "not listed when the equal parts were bought, so not part of them"
        return "bought in equal parts at the start and held"


class EqualWeightRebalanced(Baseline):
    """Equal parts of what is listed, restored at every close."""

    name = "equal_weight_rebalanced"

    def weights(self, session: int, held: Floats) -> Floats:
        """1 / number listed."""
        return _normalised(self._listed(session))

    def reason(self, session: int, column: int) -> str:
        """How many share."""
        return f"one of {int(self._listed(session).sum())} equal parts"


class InverseVolatility(Baseline):
    """Parts in proportion to 1 / σ of the trailing 20 sessions' returns, restored at every close."""

    name = "inverse_volatility"

    def weights(self, session: int, held: Floats) -> Floats:
        """∝ 1 / σ where σ is known and above 0."""
        sigma = self.panel.sigma[session]
        known = np.isfinite(sigma) & (sigma > 0.0) & ~self.gone[session]
        return _normalised(np.where(known, 1.0 / np.where(known, sigma, 1.0), 0.0))

    def reason(self, session: int, column: int) -> str:
        """The σ."""
        sigma = self.panel.sigma[session, column]
        if not np.isfinite(sigma) or sigma == 0.0:
            return f"its volatility over {SIGMA_SESSIONS} sessions is not known or 0, so it has no part"
        return f"in proportion to 1 over its {SIGMA_SESSIONS}-session volatility of {sigma:.2%} a day"


class Momentum(Baseline):
    """Equal parts of what has risen over the trailing 20 sessions, cash where nothing has.

    Time-series momentum as in Moskowitz, Ooi, Pedersen, "Time series momentum", Journal of Financial Economics 104
    (2012), long side only and with the look-back that every panel carries.
    """

    name = "momentum"

    def weights(self, session: int, held: Floats) -> Floats:
        """1 / number listed for each that has risen; the parts of the others stay in cash."""
        rising = np.where(self._past_return(session) > 0.0, self._listed(session), 0.0)
        return rising / max(float(self._listed(session).sum()), 1.0)

    def reason(self, session: int, column: int) -> str:
        """The past return."""
        past = self._past_return(session)[column]
        if not np.isfinite(past):
            return f"it has no price of {SIGMA_SESSIONS} sessions ago"
        return f"{'up' if past > 0.0 else 'not up'} over {SIGMA_SESSIONS} sessions ({past:+.1%})"

    def _past_return(self, session: int) -> Floats:
        marks = self.panel.marks
        if session < SIGMA_SESSIONS:
            return np.full(marks.shape[1], np.nan)
        before = marks[session - SIGMA_SESSIONS]
        return np.where(before > 0.0, marks[session] / np.where(before > 0.0, before, 1.0) - 1.0, np.nan)


class Random(Baseline):
    """Weights drawn anew at every close, uniform over all ways to split net worth among what is listed and cash."""

    name = "random"

    def __init__(self, panel: MarketPanel, config: TradingConfig, seed: int = 0, delay: int = 0) -> None:
        super().__init__(panel, config, seed, delay)
        draws = np.random.default_rng(seed).standard_exponential(
            (len(panel.sessions) - panel.start, 1 + len(panel.instruments))
        )
        # Exponentials over their sum are uniform on the simplex; one row per session of the span.
        self._draws = draws

    def weights(self, session: int, held: Floats) -> Floats:
        """Shares of a uniform draw from the simplex; the first is cash's."""
        draw = self._draws[session - self.panel.start]
        parts = draw[1:] * self._listed(session)
        shares: Floats = parts / (draw[0] + parts.sum())
        return shares

    def reason(self, session: int, column: int) -> str:
        """There is none."""
        return f"drawn at random (seed {self.seed})"


BASELINES: Mapping[str, type[Baseline]] = {
    baseline.name: baseline
    for baseline in (Cash, EqualWeightHold, EqualWeightRebalanced, InverseVolatility, Momentum, Random)
}
"""Baselines by name."""


def baseline_config(config: TradingConfig) -> TradingConfig:
    """`config` as a baseline trades under it: weights as they are, long only, no stopper; costs and execution kept.

    A baseline is a yardstick for the whole window, so no drawdown closes it.
    """
    return config.replace(action_scheme=LongOnlyWeights.name, allow_shorts=False, stoppers=())


def baseline_episode(
    name: str,
    panel: MarketPanel,
    config: TradingConfig,
    seed: int = 0,
    engine: Engine = Engine.TENSORTRADE,
) -> EpisodeRecord:
    """The episode of a baseline over the panel's span under `baseline_config(config)`; its observations are unscaled.

    Parameters
    ----------
    name : of the baseline; an unknown one raises ConfigError, listing the known ones.
    panel : bars and channels of the window with its look-back.
    config : costs, execution and capital.
    seed : of the baseline that draws.
    engine : what keeps the books.

    Raises
    ------
    NotEnoughHistory, UnsupportedOnTensorTrade, NotFinite : as of `roll`.
    """
    under = baseline_config(config)
    strategy = named(BASELINES, name, "baseline")(panel, under, seed)
    return roll(strategy, panel, under, engine)


def _normalised(parts: Floats) -> Floats:
    total = float(parts.sum())
    return parts / total if total > 0.0 else parts
