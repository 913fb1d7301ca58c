"""The ridge learner: next session's return from today's channels by ridge regression, traded where it clears costs.

In closed form, in NumPy, the same for every seed. It is rolled beside every agent as a yardstick: an agent that does
not beat it on the same observation has learned nothing that a regression does not know.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tt_assets.trading.agents.expected_costs import cost_rates
from tt_assets.trading.agents.learner import Learned, Learner, Lesson
from tt_assets.trading.agents.networks import Forecast
from tt_assets.trading.errors import NotEnoughHistory
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import action_scheme

PENALTIES = (10.0, 100.0, 1_000.0, 10_000.0)
"""Ridge penalties tried, in units of scaled channels."""
HELD_OUT = 42
"""Sessions at the end of the span on which the penalty is chosen, a third of the span at most."""
CUT = 5.0
"""Returns over σ are cut here: one gap must not decide the fit."""
VOLATILITY = "vol_20"
"""The channel that holds an instrument's σ, where there is one."""


class Ridge(Learner):
    """Ridge regression (Hoerl and Kennard, Technometrics 12, 1970) of return over σ, shared by all instruments."""

    name: ClassVar[str] = "ridge"
    uses_torch: ClassVar[bool] = False

    def train(self, lesson: Lesson) -> Learned:
        """See `Learner`; the seed changes nothing. Raises NotEnoughHistory where there is no return to fit."""
        panel, config = lesson.split.training, lesson.config
        scheme = action_scheme(config)
        channels = lesson.scaler.scale(panel.features).astype(np.float64)
        outcome = next_returns_over_sigma(panel)
        rows = slice(lesson.first, len(panel.sessions) - 1)
        known = np.isfinite(outcome[rows])
        if known.sum() < 2:
            raise NotEnoughHistory(f"ridge on {panel.span_text()}: no two sessions have a return and a volatility.")
        inputs = channels[rows][known]
        target = np.clip(outcome[rows][known], -CUT, CUT)
        held_out = min(HELD_OUT, known.shape[0] // 3)
        fitted = int(known[: known.shape[0] - held_out].sum())
        penalty, error = chosen_penalty(inputs, target, max(fitted, 1))
        coefficients, intercept = ridge(inputs, target, penalty)
        reads = VOLATILITY in panel.feature_names
        network = Forecast(**lesson.shape(scheme), reads_volatility=int(reads))
        lesson.tell(1, 1)
        return Learned(
            network,
            {
                "coefficients": coefficients.astype(np.float32),
                "intercept": np.array([intercept], np.float32),
                "cost": np.array([cost_rates(panel, config)[rows].mean()], np.float32),
                **_sigma(lesson, reads),
            },
            steps=1,
            checkpoint_steps=1,
            notes={"penalty": penalty, "held_out_squared_error": error, "observations": len(target)},
        )


def next_returns_over_sigma(panel: MarketPanel) -> Floats:
    """Close-to-close return of t+1 over σ known at t (T × N); NaN where one of them is unknown, and in the last row."""
    marks, sigma = panel.marks, panel.sigma
    outcome = np.full(marks.shape, np.nan)
    usable = (marks[:-1] > 0.0) & (sigma[:-1] > 0.0)
    returns = np.divide(marks[1:], marks[:-1], out=np.ones_like(marks[1:]), where=marks[:-1] > 0.0) - 1.0
    np.divide(returns, sigma[:-1], out=outcome[:-1], where=usable)
    return outcome


def ridge(inputs: Floats, target: Floats, penalty: float) -> tuple[Floats, float]:
    """Coefficients and intercept that minimise squared error + penalty × |coefficients|²; the intercept is free.

    Parameters
    ----------
    inputs : n × F, finite. target : n, finite. penalty : at least 0.

    Returns
    -------
    Coefficients (F), in target per input, and the intercept.
    """
    mean, level = inputs.mean(axis=0), float(target.mean())
    centred = inputs - mean
    # einsum, not a matrix product: the order of its sums does not depend on the threads of a BLAS.
    gram = np.einsum("nf,ng->fg", centred, centred) + penalty * np.eye(inputs.shape[1])
    coefficients = np.linalg.solve(gram, np.einsum("nf,n->f", centred, target - level))
    return coefficients, level - float(np.einsum("f,f->", mean, coefficients))


def chosen_penalty(inputs: Floats, target: Floats, fitted: int) -> tuple[float, float | None]:
    """The penalty whose fit on the first rows errs least on the rest.

    Parameters
    ----------
    inputs : n × F, in order of time. target : n.
    fitted : rows that are fitted; those after them are held out.

    Returns
    -------
    The penalty and its mean squared error on the rest; the largest and None where nothing is held out.
    """
    rest = inputs[fitted:]
    if not len(rest):
        return PENALTIES[-1], None
    errors = []
    for penalty in PENALTIES:
        coefficients, intercept = ridge(inputs[:fitted], target[:fitted], penalty)
        missed = np.einsum("nf,f->n", rest, coefficients) + intercept - target[fitted:]
        errors.append(float((missed * missed).mean()))
    best = int(np.argmin(errors))
    return PENALTIES[best], errors[best]


def _sigma(lesson: Lesson, reads: bool) -> dict[str, npt.NDArray[np.float32]]:
    """How a forecast in units of σ becomes a return: by the channel of σ, else by the span's mean σ."""
    panel, scaler = lesson.split.training, lesson.scaler
    place = np.zeros(len(panel.feature_names))
    if reads:
        column = panel.feature_names.index(VOLATILITY)
        place[column] = 1.0
        mean, std = scaler.mean[:, column], scaler.std[:, column]
    else:
        sigma = panel.sigma[lesson.first :]
        known = np.isfinite(sigma)
        count = np.maximum(known.sum(axis=0), 1)
        mean, std = np.where(known, sigma, 0.0).sum(axis=0) / count, np.zeros(sigma.shape[1])
    return {
        "volatility": place.astype(np.float32),
        "sigma.mean": mean.astype(np.float32),
        "sigma.std": std.astype(np.float32),
    }
