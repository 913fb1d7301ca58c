"""Whether one strategy earned more than others on the same sessions: paired statistics of log-return differences.

Strategies that live in one market move together, so the difference of their daily log returns varies far less than
either of them: what took 5.5 years to be seen against the other's ratio takes 1.2 in the difference. The sessions are
drawn by the stationary bootstrap (Politis, Romano 1994) with a block length that the differences themselves suggest
(Politis, White 2004, corrected by Patton, Politis, White 2009), the same sessions for every yardstick.

A claim to have beaten *all* yardsticks is an intersection: every one must have been beaten, so the largest p-value is
the claim's, and holds its level whatever the yardsticks have to do with each other (Berger 1982). The superior
predictive ability of Hansen (2005) is asked the other way round: whether any yardstick is better than the subject.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tt_assets.errors import UserError
from tt_assets.trading.judging.bootstrap import COVERAGE, resampling_counts
from tt_assets.trading.metrics import SESSIONS_PER_YEAR
from tt_assets.trading.panel import Floats

DRAWS = 2_000
LEVEL = 0.05
"""Chance of a false claim that is accepted, one-sided."""

POWER = 0.8
"""Chance to see an edge that is there, for the least edge that is called visible."""

FEWEST_SESSIONS = 21
"""A month: below it neither a block length nor a variance means anything."""


class CannotCompare(UserError):
    """Returns on which no paired statistic is defined."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One subject against K yardsticks on T sessions.

    Parameters
    ----------
    sessions : T.
    block : mean length of a bootstrap block, sessions.
    edge : mean difference of log returns, a year of 252 sessions (K), fractions.
    low, high : interval of `edge` at `COVERAGE` (K), from the bootstrap's percentiles around the mean.
    error : standard error of `edge` (K).
    p : chance of an edge this large from a subject that is no better, one-sided (K).
    p_inferior : Hansen's SPA: chance of a yardstick this much ahead of the subject if none is better.
    """

    sessions: int
    block: float
    edge: Floats
    low: Floats
    high: Floats
    error: Floats
    p: Floats
    p_inferior: float

    @property
    def p_all(self) -> float:
        """Of the claim to have beaten every yardstick: the largest of `p`."""
        return float(self.p.max())

    @property
    def visible_edge(self) -> Floats:
        """The least edge a year (K) that these sessions would show in four of five histories."""
        visible: Floats = (_z(1.0 - LEVEL) + _z(POWER)) * self.error
        return visible

    def sessions_to_settle(self, level: float = LEVEL) -> Floats:
        """Sessions in all (K) after which the edge, going on as it was, has this p; infinite where there is none."""
        ahead = self.edge > 0.0
        ratio = np.divide(_z(1.0 - level) * self.error, self.edge, out=np.full_like(self.edge, np.inf), where=ahead)
        settled: Floats = np.ceil(self.sessions * ratio**2)
        return settled


def compare(subject: Floats, yardsticks: Floats, *, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Hold a subject against yardsticks, session by session.

    Parameters
    ----------
    subject : simple close-to-close net returns (T), fractions, above −1.
    yardsticks : the same of K yardsticks on the same sessions (T × K).
    draws : of the bootstrap.
    seed : of the draws; equal arguments give equal figures.

    Returns
    -------
    The comparison; figures of a yardstick that the subject equals on every session are edge 0, error 0 and p 1.

    Raises
    ------
    CannotCompare : fewer than 21 sessions, a return that is not a number or loses everything, or no yardstick.
    """
    returns = np.column_stack([subject, yardsticks])
    sessions = len(returns)
    if returns.shape[1] < 2:
        raise CannotCompare("there is no yardstick to compare with; name some in TT_BASELINES.")
    if sessions < FEWEST_SESSIONS:
        raise CannotCompare(f"{sessions} sessions are too few to compare on; it takes {FEWEST_SESSIONS} at least.")
    if not np.isfinite(returns).all():
        row = int(np.flatnonzero(~np.isfinite(returns).all(axis=1))[0])
        raise CannotCompare(f"the return of session {row + 1} of {sessions} is not a number.")
    if (returns <= -1.0).any():
        raise CannotCompare("one of the accounts lost everything, which has no log return.")
    logs = np.log1p(returns)
    differences = logs[:, :1] - logs[:, 1:]
    mean = differences.mean(axis=0)
    differs = np.ptp(differences, axis=0) > 1e-12
    block = max((block_length(differences[:, column]) for column in np.flatnonzero(differs)), default=1.0)
    counts = resampling_counts(sessions, draws, block, seed)
    apart = counts @ (differences - mean) / sessions
    error = apart.std(axis=0, ddof=1)
    tail = (1.0 - COVERAGE) / 2.0
    low, high = np.quantile(apart, [tail, 1.0 - tail], axis=0)
    year = float(SESSIONS_PER_YEAR)
    return Comparison(
        sessions=sessions,
        block=block,
        edge=np.where(differs, mean, 0.0) * year,
        low=np.where(differs, mean + low, 0.0) * year,
        high=np.where(differs, mean + high, 0.0) * year,
        error=np.where(differs, error, 0.0) * year,
        p=np.where(differs, (apart >= mean).mean(axis=0), 1.0),
        p_inferior=_spa(-mean[differs], -apart[:, differs], error[differs], sessions),
    )


def block_length(series: Floats) -> float:
    """Mean block length of the stationary bootstrap for a mean, from the series' own memory; at least 1 session."""
    from arch.bootstrap import optimal_block_length

    found = float(optimal_block_length(series)["stationary"].iloc[0])
    return max(found, 1.0) if math.isfinite(found) else 1.0


def power_line(comparison: Comparison, names: list[str]) -> str:
    """What the sessions could have shown at all, in one sentence; of the yardstick hardest to tell from the subject.

    Parameters
    ----------
    comparison : of the subject with K yardsticks.
    names : of the yardsticks, in its order (K).
    """
    visible = comparison.visible_edge
    if not visible.size or not (visible > 0.0).any():
        return f"These {comparison.sessions} sessions show no difference from any yardstick, so no edge either."
    hardest = int(visible.argmax())
    return (
        f"These {comparison.sessions} sessions could only show an edge above {100.0 * visible[hardest]:.1f} % a year "
        f"over {names[hardest]} (four times in five, at {100.0 * LEVEL:g} %)."
    )


def _spa(mean: Floats, apart: Floats, error: Floats, sessions: int) -> float:
    """Hansen's consistent p-value: studentised, yardsticks that are far behind are not centred."""
    if not mean.size:
        return 1.0
    # Far behind: by √(2 log log T) standard errors.
    threshold = -error * math.sqrt(2.0 * math.log(math.log(sessions)))
    centred = np.where(mean >= threshold, 0.0, mean)
    largest = ((apart + centred) / error).max(axis=1)
    return float((np.maximum(largest, 0.0) >= max(float((mean / error).max()), 0.0)).mean())


def _z(quantile: float) -> float:
    return NormalDist().inv_cdf(quantile)
