"""Why a target weight is what it is: one sentence from figures known at the decision."""

from __future__ import annotations

import numpy as np

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import action_scheme
from tt_assets.trading.rules.schemes import VolatilityTarget, scale_while_listed


class Rationale:
    """Sentences for the decisions of one panel under one config.

    Parameters
    ----------
    panel : bars and channels of the window with its look-back.
    config : the scheme, and the limits that a sentence names.
    scaler : statistics of the training span, against which an input is called strong.
    """

    def __init__(self, panel: MarketPanel, config: TradingConfig, scaler: Scaler) -> None:
        self._panel = panel
        self._config = config
        self._scheme = action_scheme(config)
        self._scale = scale_while_listed(self._scheme, panel, config)
        self._gone = panel.gone(config.stale_sessions)
        self._scaled = scaler.scale(panel.features)

    def sentences(self, session: int, action: Floats, target: Floats) -> list[str]:
        """Why the weights of one decision are what they are: a sentence per instrument and one for cash.

        Parameters
        ----------
        session : row of the panel at whose close was decided; only figures known there are named.
        action : the agent's raw output (N).
        target : the weights the scheme made of it (N), fractions of net worth.
        """
        before = float(np.abs(self._scheme.convictions(action) * self._scale[session]).sum())
        shrunk = self._config.max_leverage / before if before > self._config.max_leverage else 1.0
        per_instrument = [
            self._sentence(session, column, float(action[column]), float(target[column]), shrunk)
            for column in range(len(self._panel.instruments))
        ]
        gross = float(np.abs(target).sum())
        left = round(1.0 - float(target.sum()), 9) + 0.0  # rounding would show as -0.0%
        cash = (
            f"{left:.1%} stays in cash: positions sum to {gross:.1%} of net worth, "
            f"{self._config.max_leverage:.0%} are allowed."
        )
        return [*per_instrument, cash]

    def _sentence(self, session: int, column: int, action: float, target: float, shrunk: float) -> str:
        name = self._panel.instruments[column]
        sigma, scale = float(self._panel.sigma[session, column]), float(self._scale[session, column])
        if not self._panel.listed[session, column]:
            return f"0.0%: {name} has no price yet and cannot be held (agent's output {action:+.3f})."
        if self._gone[session, column]:
            return (
                f"0.0%: {name} has had no bar for {self._config.stale_sessions} sessions or more and counts as "
                "delisted; what is held of it is closed at its last close."
            )
        if scale == 0.0:
            return (
                f"0.0%: {name} has fewer than 20 returns, so its volatility is not known and it cannot be sized "
                f"(agent's output {action:+.3f})."
            )
        volatility = (
            f"its 20-session volatility is {sigma:.2%} a day" if np.isfinite(sigma) else "its volatility is new"
        )
        if isinstance(self._scheme, VolatilityTarget):
            volatility += f", which a target of {self._config.risk_target:.2%} makes a full position of {scale:.1%}"
        conviction = float(self._scheme.convictions(np.array([action]))[0])
        if conviction < 0.0 and target == 0.0:
            return (
                f"0.0%: agent's output {action:+.3f} asks for a short, but net worth is below the maintenance margin "
                f"of {self._config.maintenance_margin:.0%} of the shorts held, so shorts are covered."
            )
        output = f"agent's output {action:+.3f};"
        if self._scheme.choices:
            output = (
                f"agent's choice {action:.0f}, {'short' if conviction < 0.0 else 'long' if conviction else 'flat'};"
            )
        limit = f", times {shrunk:.3f} to keep to {self._config.max_leverage:.0%} in all" if shrunk < 1.0 else ""
        return f"{target:.1%}: {output} {volatility}{limit}{self._strongest(session, column)}."

    def _strongest(self, session: int, column: int) -> str:
        """The channel farthest from its mean in the training span, if there is any."""
        values = self._scaled[session, column]
        if not values.size or not values.any():
            return ""
        channel = int(np.abs(values).argmax())
        return f"; strongest input {self._panel.feature_names[channel]} at {values[channel]:+.1f} standard deviations"
