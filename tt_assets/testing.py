"""What tests of your own code can lean on: a price source is held to the contract before a platform relies on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NoReturn

import pandas as pd

from tt_assets.market.own_source import broken_by
from tt_assets.market.sources import BarRequest, FetchResult, NotFetched, PriceSource

UNKNOWN = "NO SUCH INSTRUMENT"


def check_price_source(
    source: PriceSource, instrument: str, first: date, last: date, *, unknown: str = UNKNOWN
) -> None:
    """Hold a price source to the contract of `tt_assets.market.sources.PriceSource`, over bars that it has.

    Parameters
    ----------
    source : made as in a run.
    instrument : one of which it has a bar between `first` and `last`.
    first, last : days of the market, both included; several sessions.
    unknown : a name of which it has nothing.

    Raises
    ------
    AssertionError : what breaks the contract, in words: an answer too many or too few, in another order, or raised for
        one instrument; rows outside the request, of another instrument, twice, bad or with a time zone; an unknown
        instrument answered with an empty frame; two equal requests answered differently.
    """
    whole, nobody = BarRequest(instrument, first, last), BarRequest(unknown, first, last)
    lost, found = _answers(source, [nobody, whole])
    _answers(source, [])
    if not isinstance(lost, NotFetched):
        _fail(f'the unknown instrument "{unknown}" was answered with Fetched; answer NotFetched and say why')
    if not len(_bars(found)):
        _fail(f"{instrument} has no bar from {first} to {last}; name a span with bars")
    if not _bars(found).equals(_bars(*_answers(source, [whole]))):
        _fail("two equal requests were answered with different bars")
    newest = _bars(found).iloc[-1:].reset_index(drop=True)
    day = newest["timestamp"].iloc[0].date()
    if not newest.equals(_bars(*_answers(source, [BarRequest(instrument, day, day)]))):
        _fail(f"the request of {day} alone was answered otherwise than {day} among others")
    _answers(source, [BarRequest(instrument, last + timedelta(days=3650), last + timedelta(days=3660))])


def _answers(source: PriceSource, requests: Sequence[BarRequest]) -> list[FetchResult]:
    answers = list(source.fetch(requests))
    if len(answers) != len(requests):
        _fail(f"{len(requests)} requests were given {len(answers)} answers")
    for request, answer in zip(requests, answers, strict=True):
        if wrong := broken_by(request, answer):
            _fail(f"{request.instrument}, {request.first} to {request.last}: {wrong}")
    return answers


def _bars(answer: FetchResult) -> pd.DataFrame:
    if isinstance(answer, NotFetched):
        _fail(f"{answer.request.instrument} was not fetched: {answer.reason}")
    return answer.bars.reset_index(drop=True)


def _fail(words: str) -> NoReturn:
    raise AssertionError(words)
