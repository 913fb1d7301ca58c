"""What to hold at the next open: the decisions of a window's agents on the newest close as one list of positions.

The seeds of a window are one agent to whoever trades it. What is held is what is judged: the account that follows the
mean of their actions, where it was rolled beside them, and the mean of their target weights where it was not. An
account that was stopped holds cash.
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
    """What one seed's agent, or the mean action of all, decided at the newest close.

    Parameters
    ----------
    seed : of its training, 0 of the mean action. sha256 : of its weights and settings.
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
    weight, weight_before : fraction of net worth, at the newest close and at the one before.
    close : USD, the last there is; None for cash and for what never had a bar. bar : its session.
    shares : to hold, of the capital at `close`; USD for cash. None where there is no close.
    change : of shares, against the positions given or against `weight_before` of the same capital; USD for cash.
    reason : of the mean action, else of the first seed that decided; and what each seed wanted.
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
    seeds : seed → sha256 of its agent. stopped : the seeds that count as cash because their account was stopped before;
        none where the mean action is held.
    positions : one per instrument of the portfolio, cash last.
    together : whether the mean action of the seeds is held; else the mean of their target weights is.
    """

    traded: str
    window: date
    session: date
    capital: float
    seeds: Mapping[int, str]
    stopped: tuple[int, ...]
    positions: tuple[Position, ...]
    together: bool = False


def what_to_hold(
    traded: str,
    window: date,
    session: date,
    decisions: Sequence[Decision],
    bars: Mapping[str, LastBar],
    capital: float,
    *,
    together: Decision | None = None,
    held: Mapping[str, float] | None = None,
    whole_shares: bool = False,
) -> Holdings:
    """What was decided as positions, in the order of `bars`, cash last.

    Parameters
    ----------
    traded, window, session : as of `Holdings`.
    decisions : one a seed, at least one.
    bars : instrument → its last bar, for every instrument of the portfolio that has one.
    capital : USD to be invested.
    together : what the mean action decided, which is held; None: the mean of `decisions` is.
    held : instrument → shares held now, CASH in USD; None: what the decision before asked for is taken as held.
    whole_shares : whether shares are cut to whole ones, towards zero; what is left is cash.
    """
    accounts = [together] if together else decisions
    names = [*bars, *_others(accounts, bars), CASH]
    now = {name: _mean([_weight(own.weights, name) for own in accounts]) for name in names}
    before = {name: _mean([_weight(own.before or None, name) for own in accounts]) for name in names}
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
        reason = _reason(name, decisions, together)
        positions.append(_position(name, now, before, bar, shares, change, reason))
    cash = capital - invested
    owned = before[CASH] * capital if held is None else held.get(CASH, 0.0)
    reason = _reason(CASH, decisions, together)
    positions.append(_position(CASH, now, before, None, cash, cash - owned, reason))
    return Holdings(
        traded=traded,
        window=window,
        session=session,
        capital=capital,
        seeds={own.seed: own.sha256 for own in decisions},
        stopped=() if together else tuple(own.seed for own in decisions if own.weights is None),
        positions=tuple(positions),
        together=together is not None,
    )


def _position(
    name: str,
    now: Mapping[str, float],
    before: Mapping[str, float],
    bar: LastBar | None,
    shares: float | None,
    change: float | None,
    reason: str,
) -> Position:
    close, session = (None, None) if bar is None else (bar.close, bar.session)
    return Position(name, now[name], before[name], close, session, shares, change, reason)


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


def _reason(name: str, decisions: Sequence[Decision], together: Decision | None) -> str:
    if together is not None:
        if together.weights is None:
            return "the account of the seeds' mean action was stopped in this window, so all is cash"
        return f"{together.reasons.get(name, '')}; alone the seeds wanted {_wanted(name, decisions)}".lstrip("; ")
    deciding = [own for own in decisions if own.weights is not None]
    if not deciding:
        return "every seed's account was stopped in this window, so all is cash"
    first = deciding[0]
    said = first.reasons.get(name, "")
    if len(decisions) == 1:
        return said
    return f"mean of {_wanted(name, decisions)}; seed {first.seed}: {said}"


def _wanted(name: str, decisions: Sequence[Decision]) -> str:
    """What each seed wanted of an instrument."""
    wanted = ", ".join(f"{_weight(own.weights, name):.1%}" for own in decisions)
    return f"{wanted} (seeds {', '.join(str(own.seed) for own in decisions)})"
