"""Price sources of a person's own: a class named by TT_PRICE_SOURCE or by an entry point, held to the contract.

    TT_PRICE_SOURCE=my_prices.http:Vendor

    [project.entry-points."tt_assets.price_sources"]
    vendor = "my_prices.http:Vendor"

The class is made without arguments in each run that loads prices; what it needs (an address, a key) it reads from
variables of its own. What it answers is looked at before it is believed: one wrong answer costs its own instrument.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pandas as pd

from tt_assets.errors import UserError
from tt_assets.market.bars import BAR_COLUMNS, BarRule, check_bars
from tt_assets.market.source_names import installed_sources
from tt_assets.market.sources import BarRequest, Fetched, FetchResult, NotFetched, Outcome, PriceSource


class PriceSourceError(UserError):
    """TT_PRICE_SOURCE names no source that can be used."""


def open_source(name: str) -> HeldSource:
    """The source of that name, made and held to the contract.

    Raises
    ------
    PriceSourceError : the module cannot be found or fails on import, it has no such class, the class cannot be made
        without arguments, or it has no `fetch`.
    """
    entry = installed_sources().get(name)
    module, _, named = (entry.value if entry else name).partition(":")
    try:
        kind = getattr(importlib.import_module(module), named, None)
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise PriceSourceError(
                f'TT_PRICE_SOURCE: there is no module "{module}". Fix the name, or put its folder on PYTHONPATH.'
            ) from None
        raise PriceSourceError(f'TT_PRICE_SOURCE: "{module}" fails on import: {_said(error)}. Mend it.') from error
    if not isinstance(kind, type) or not callable(getattr(kind, "fetch", None)):
        raise PriceSourceError(
            f'TT_PRICE_SOURCE: "{module}" has no class {named} with a method fetch(requests). Write one, or name it.'
        )
    try:
        return HeldSource(kind(), name)
    except UserError:
        raise
    except Exception as error:
        raise PriceSourceError(f"TT_PRICE_SOURCE: {named}() fails: {_said(error)}. Mend it.") from error


class HeldSource:
    """A source whose answers are looked at; one that breaks the contract is refused for its instrument alone.

    Parameters
    ----------
    source : as `market.sources.PriceSource`.
    name : how people are told of it.
    """

    def __init__(self, source: PriceSource, name: str) -> None:
        self.source = source
        self.name = name

    def fetch(self, requests: Sequence[BarRequest]) -> list[FetchResult]:
        """As `PriceSource`; an answer that breaks the contract becomes a NotFetched of its instrument.

        Raises
        ------
        PriceSourceError : the answers are not one per request, or fetch itself fails.
        """
        try:
            answers = list(self.source.fetch(requests))
        except UserError:
            raise
        except Exception as error:
            raise PriceSourceError(f"{self.name}: fetch fails: {_said(error)}. Mend the source.") from error
        if len(answers) != len(requests):
            raise PriceSourceError(
                f"{self.name}: fetch was asked {len(requests)} requests and gave {len(answers)} answers. It owes one a "
                f"request, in their order; a request that fails is a NotFetched."
            )
        return [self._held(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _held(self, request: BarRequest, answer: Any) -> FetchResult:
        wrong = broken_by(request, answer)
        if not wrong:
            held: FetchResult = answer
            return held
        return NotFetched(request, Outcome.BAD_DATA, f"{self.name}: {request.instrument}: {wrong}. Mend the source.")


def answered(
    request: BarRequest, rows: pd.DataFrame, *, listed: date | None = None, last: date | None = None
) -> Fetched:
    """The answer to a request out of rows as a vendor gives them, held against the contract of bars.

    Parameters
    ----------
    request : what was asked.
    rows : timestamp, open, high, low, close, volume, any order; sessions as dates, midnights or ISO text, of the
        market; more columns are ignored, and rows outside the request are left out.
    listed, last : first and last day of the instrument in the whole source, where known. Without them those of `rows`.

    Returns
    -------
    Clean bars, and every bad row as a fault of its own session. No row at all says that the source knows the instrument
    and has no bar of it then.
    """
    checked = check_bars(rows.assign(instrument=request.instrument))
    inside = checked.clean["timestamp"].between(pd.Timestamp(request.first), pd.Timestamp(request.last))
    # A vendor may print a row on a holiday; no session asks for it.
    faults = tuple(
        fault
        for fault in checked.faults
        if not isinstance(fault.session, date)
        or (request.first <= fault.session <= request.last and fault.rule is not BarRule.CLOSED_DAY)
    )
    # Of all rows given, not of those asked for: they tell a listing from a gap.
    days = checked.clean["timestamp"]
    return Fetched(
        request,
        checked.clean[inside].reset_index(drop=True),
        faults,
        listed or (days.min().date() if len(days) else None),
        last or (days.max().date() if len(days) else None),
    )


def broken_by(request: BarRequest, answer: Any) -> str:
    """What about an answer breaks the contract of PriceSource, in words; empty where nothing does.

    Parameters
    ----------
    request : what was asked.
    answer : whatever the source gave for it.
    """
    return next(_breaches(request, answer), "")


def _breaches(request: BarRequest, answer: Any) -> Iterator[str]:
    """What is wrong, the first first; what comes after it may only follow from it."""
    if not isinstance(answer, Fetched | NotFetched):
        yield f"the answer is a {type(answer).__name__}, neither Fetched nor NotFetched"
    elif answer.request != request:
        yield f"the answer is to another request ({answer.request.instrument}); answers come in the order of requests"
    elif isinstance(answer, Fetched):
        yield from _breaches_of_bars(request, answer.bars)
    elif not answer.reason.strip():
        yield "NotFetched gives no reason"


def _breaches_of_bars(request: BarRequest, bars: pd.DataFrame) -> Iterator[str]:
    if list(bars.columns) != list(BAR_COLUMNS):
        yield f"the columns are {', '.join(map(str, bars.columns))} and not {', '.join(BAR_COLUMNS)}"
    if bars.empty:
        return
    days = bars["timestamp"]
    if days.dtype.kind != "M" or getattr(days.dtype, "tz", None) is not None:
        yield f"timestamp is {days.dtype} and not datetime64 without a time zone"
    if others := set(bars["instrument"]) - {request.instrument}:
        yield f"bars of {', '.join(sorted(map(str, others)))} were not asked"
    outside = days[~days.between(pd.Timestamp(request.first), pd.Timestamp(request.last))]
    if len(outside):
        yield f"{outside.iloc[0]:%Y-%m-%d} lies outside {request.first} to {request.last}"
    if not days.is_monotonic_increasing:
        yield "the sessions do not ascend"
    for fault in check_bars(bars).faults[:1]:
        yield f"{fault.session}: {fault.said()}, among the clean bars"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": .")
