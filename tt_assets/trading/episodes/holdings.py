"""What to hold at the next open: the decisions of a window's agents on the newest close as one list of positions.

The seeds of a window are one agent to whoever trades it: the mean of their target weights is held, which is a position
that can be traded, where the median of several is none. A seed whose account was stopped holds cash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from tt_assets.market.watchlist_format import CASH

_NOTHING = 1e-12


@dataclass(frozen=True)
class Decision:
    """What one seed's agent decided at the newest close.

    Parameters
    ----------
    seed : of its training. sha256 : of its weights and settings.
    weights : instrument (CASH too) → target weight, fraction of net worth; None where its account was stopped.
    before : the same of the decision before; empty at the first close of a window, whose account begins in cash.
    reasons : instrument (CASH too) → why, in words and figures.
    """

    seed: int
    sha256: str
    weights: Mapping[str, float] | None
    before: Mapping[str, float]
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class LastBar:
    """The last bar of an instrument.

    Parameters
    ----------
    session : date of the exchange.
    close : USD per share.
    """

    session: date
    close: float


@dataclass(frozen=True)
class Position:
    """One line of what to hold; CASH is one of them.

    Parameters
    ----------
    instrument : symbol, or CASH.
    weight, weight_before : mean over the seeds, fraction of net worth, at the newest close and at the one before.
    close : USD, the last there is; None for cash and for what never had a bar. bar : its session.
    shares : to hold, of the capital at `close`; USD for cash. None where there is no close.
    change : of shares, against the positions given or against `weight_before` of the same capital; USD for cash.
    reason : of the first seed that decided, and what each seed wanted.
    """

    instrument: str
    weight: float
    weight_before: float
    close: float | None
    bar: date | None
    shares: float | None
    change: float | None
    reason: str


@dataclass(frozen=True)
class Holdings:
    """What to hold after the close of `session`, until the next decision is filled.

    Parameters
    ----------
    traded : symbol or portfolio. window : first day of the quarter whose agents decided.
    session : at whose close they decided. capital : USD that `shares` are of.
    seeds : seed → sha256 of its agent. stopped : the seeds whose account was stopped before.
    positions : one per instrument of the portfolio, cash last.
    """

    traded: str
    window: date
    session: date
    capital: float
    seeds: Mapping[int, str]
    stopped: tuple[int, ...]
    positions: tuple[Position, ...]


def what_to_hold(
    traded: str,
    window: date,
    session: date,
    decisions: Sequence[Decision],
    bars: Mapping[str, LastBar],
    capital: float,
    *,
    held: Mapping[str, float] | None = None,
    whole_shares: bool = False,
) -> Holdings:
    """The mean of `decisions` as positions, in the order of `bars`, cash last.

    Parameters
    ----------
    traded, window, session : as of `Holdings`.
    decisions : one a seed, at least one.
    bars : instrument → its last bar, for every instrument of the portfolio that has one.
    capital : USD to be invested.
    held : instrument → shares held now, CASH in USD; None: what the decision before asked for is taken as held.
    whole_shares : whether shares are cut to whole ones, towards zero; what is left is cash.
    """
    names = [*bars, *_others(decisions, bars), CASH]
    now = {name: _mean([_weight(own.weights, name) for own in decisions]) for name in names}
    before = {name: _mean([_weight(own.before or None, name) for own in decisions]) for name in names}
    positions = []
    invested = 0.0
    for name in names[:-1]:
        bar = bars.get(name)
        shares = change = None
        if bar is not None:
            shares = _shares(now[name] * capital / bar.close, whole_shares)
            owned = _shares(before[name] * capital / bar.close, whole_shares) if held is None else held.get(name, 0.0)
            change = shares - owned
            invested += shares * bar.close
        positions.append(_position(name, now, before, bar, shares, change, decisions))
    cash = capital - invested
    owned = before[CASH] * capital if held is None else held.get(CASH, 0.0)
    positions.append(_position(CASH, now, before, None, cash, cash - owned, decisions))
    return Holdings(
        traded=traded,
        window=window,
        session=session,
        capital=capital,
        seeds={own.seed: own.sha256 for own in decisions},
        stopped=tuple(own.seed for own in decisions if own.weights is None),
        positions=tuple(positions),
    )


def _position(
    name: str,
    now: Mapping[str, float],
    before: Mapping[str, float],
    bar: LastBar | None,
    shares: float | None,
    change: float | None,
    decisions: Sequence[Decision],
) -> Position:
    close, session = (None, None) if bar is None else (bar.close, bar.session)
    return Position(name, now[name], before[name], close, session, shares, change, _reason(name, decisions))


def _others(decisions: Sequence[Decision], bars: Mapping[str, LastBar]) -> list[str]:
    """What was decided on that never had a bar, in the order of the decisions."""
    named = dict.fromkeys(name for own in decisions for name in own.weights or {})
    return [name for name in named if name not in bars and name != CASH]


def _weight(weights: Mapping[str, float] | None, name: str) -> float:
    """Its weight; an account that was stopped, or has not begun, is all cash."""
    return (1.0 if name == CASH else 0.0) if weights is None else weights.get(name, 0.0)


def _mean(values: Sequence[float]) -> float:
    # fsum: the same mean whatever the order of the seeds.
    return math.fsum(values) / len(values)


def _shares(shares: float, whole: bool) -> float:
    # A position that fell short of a whole share by rounding alone is that share.
    cut = math.copysign(math.floor(abs(shares) + 1e-7), shares) if whole else shares
    return 0.0 if abs(cut) < _NOTHING else cut


def _reason(name: str, decisions: Sequence[Decision]) -> str:
    deciding = [own for own in decisions if own.weights is not None]
    if not deciding:
        return "every seed's account was stopped in this window, so all is cash"
    first = deciding[0]
    said = first.reasons.get(name, "")
    if len(decisions) == 1:
        return said
    wanted = ", ".join(f"{_weight(own.weights, name):.1%}" for own in decisions)
    return f"mean of {wanted} (seeds {', '.join(str(own.seed) for own in decisions)}); seed {first.seed}: {said}"
