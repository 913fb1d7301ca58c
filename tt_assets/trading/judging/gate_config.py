"""The thresholds of the gate, each a setting."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field


class GateConfig(BaseModel):
    """What must hold before a portfolio's agents are promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    NOT_SETTINGS: ClassVar[frozenset[str]] = frozenset()

    sessions: int = Field(504, ge=21, description="Fewest sessions out of sample.")
    level: float = Field(
        0.05, gt=0, lt=1, description="Largest p of the claim to have beaten every yardstick, a fraction."
    )
    deflated_sharpe: float = Field(
        0.95, gt=0, lt=1, description="Least deflated Sharpe ratio over the trials counted, a probability."
    )
    overfitting: float = Field(
        0.2, gt=0, le=1, description="Largest probability of overfitting, asked from ten trials on."
    )
    windows_ahead: float = Field(
        0.6, ge=0, le=1, description="Least share of windows ahead of each yardstick, a fraction."
    )
    volume: float = Field(
        0.01, gt=0, le=1, description="Largest order over the usual volume of 20 sessions, a fraction."
    )
    capital: float = Field(0.0, ge=0, description="Capital that is planned, USD. 0: TT_INITIAL_CASH.")
    lifetime: int = Field(63, ge=1, description="Sessions after the last judged one for which a promotion holds.")
