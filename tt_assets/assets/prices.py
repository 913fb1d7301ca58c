"""`tt_prices`: daily bars from the configured source, for any set of cells at once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import dagster as dg
import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.assets.catalog import described
from tt_assets.assets.deletions import LoadConfig, kept_from_deletion
from tt_assets.assets.market_pictures import View, drawn, price_pictures
from tt_assets.assets.outcomes import SAID
from tt_assets.assets.sources import OpenSource, PriceSourceOpener
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.partition_slices import selection_of
from tt_assets.market.bars import BAR_COLUMNS, BarFault, summarise
from tt_assets.market.ibkr import IbkrFetched, Overlap
from tt_assets.market.sources import BarRequest, Fetched, FetchResult, SessionOutcome
from tt_assets.postgres.restated import REVISION, Cause, readjusted
from tt_assets.postgres.slices import Selection
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import Slices
from tt_assets.runs.market_reader import MarketReader
from tt_assets.settings import PriceSourceName

FAULTS_SHOWN = 3


def prices_asset(plan: Blueprint) -> dg.AssetsDefinition:
    """The asset `tt_prices`; loads from IBKR wait in a pool of their own."""
    partitions, settings = plan.market_partitions, plan.settings

    @dg.asset(
        **described("tt_prices", settings.currency),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="slices",
        pool="ibkr" if settings.price_source is PriceSourceName.IBKR else None,
        code_version="1",
        hooks={name_failed_cells(partitions, "tt_prices")},
    )
    def tt_prices(
        context: dg.AssetExecutionContext,
        config: LoadConfig,
        price_source: dg.ResourceParam[PriceSourceOpener],
        market: dg.ResourceParam[MarketReader],
    ) -> Slices:
        """Daily bars, one fetch per instrument for everything the run asks for."""
        fetch = market.next_fetch()
        opened = price_source.open(context.log.info)
        selection = selection_of(partitions, context.partition_keys)
        slices = bars_of(selection, opened)
        if not config.allow_deletions:
            slices = kept_from_deletion(slices, selection, market, opened.reaches)
        for warning in (*opened.warnings(), *slices.warnings):
            context.log.warning(warning)
        view = View(selection.without(slices.failed), market, settings.pictures, context.run.tags)
        shown = drawn(context.log, view, lambda: price_pictures(view, slices.frame, settings.currency))
        return replace(slices, metadata=shown.metadata, of_the_run=shown.of_the_run, fetch=fetch)

    return tt_prices


def bars_of(selection: Selection, opened: OpenSource) -> Slices:
    """The bars of the selected cells, one request per instrument.

    A cell whose bar is bad, whose instrument cannot be fetched, or that lies beyond the source's end fails with the
    reason. A cell without a bar for a good reason (not listed yet, halted, delisted) lands empty and says so. A month
    or year in which the source ends lands with the bars there are.
    """
    requests = _requests(selection, opened.reaches)
    frames: list[pd.DataFrame] = []
    restated: list[pd.DataFrame] = []
    causes: dict[str, Cause] = {}
    failed: dict[str, str] = {}
    outcomes: dict[str, str] = {}
    for request, result in zip(requests, opened.source.fetch(requests), strict=True):
        cells = np.flatnonzero(selection.instruments == request.instrument)
        said = result.by_session()
        for cell, words in _by_cell(selection, cells, said).items():
            reason = _refusal(
                words, result, opened.ends, (_day(selection.starts[cell]), _last_day(selection.ends[cell]))
            )
            if reason:
                failed[selection.keys[cell]] = reason
            else:
                outcomes[selection.keys[cell]] = ", ".join(SAID[word] for word in words) or "no session"
        if isinstance(result, Fetched):
            frames.append(result.bars)
        if isinstance(result, IbkrFetched):
            restated.append(result.restated)
            causes[request.instrument] = _cause(result.overlap)
    landing = selection.without(failed)
    others = _concat(restated)
    return Slices(
        landing.keep(_concat(frames)),
        failed=failed,
        outcomes=outcomes,
        elsewhere=others[landing.cell_of(others["instrument"], others["timestamp"]) < 0],
        causes=causes,
    )


def _requests(selection: Selection, reaches: date | None) -> list[BarRequest]:
    """One request per instrument, none beyond what the source reaches where it begins before."""
    names, first = np.unique(selection.instruments, return_index=True)
    bounds = zip(names, np.split(selection.starts, first[1:]), np.split(selection.ends, first[1:]), strict=True)
    spans = [(name, _day(starts.min()), _last_day(ends.max())) for name, starts, ends in bounds]
    return [BarRequest(name, first, max(first, min(last, reaches or last))) for name, first, last in spans]


def _by_cell(selection: Selection, cells: npt.NDArray[np.int64], said: pd.Series) -> dict[int, list[SessionOutcome]]:
    """The different outcomes of each cell's sessions, in the order they first occur."""
    sessions = said.index.to_numpy()
    begin = np.searchsorted(sessions, selection.starts[cells])
    end = np.searchsorted(sessions, selection.ends[cells])
    outcomes = said.to_numpy()
    return {
        int(cell): list(dict.fromkeys(outcomes[first:last]))
        for cell, first, last in zip(cells, begin, end, strict=True)
    }


def _refusal(
    words: list[SessionOutcome], result: FetchResult, source_ends: date | None, cell: tuple[date, date]
) -> str | None:
    """Why a cell with these outcomes must not be written, or None; `cell` is its first and last day."""
    if not isinstance(result, Fetched):
        return result.reason
    if SessionOutcome.BAD in words:
        return _faults_of(result.faults, cell)
    if isinstance(result, IbkrFetched) and SessionOutcome.NOT_FETCHED in words:
        return result.why_withheld(*cell)
    if source_ends is not None and cell[0] > source_ends:
        return f"the source ends on {source_ends}; add later bars to it, or end the request there."
    return None


def _faults_of(faults: Sequence[BarFault], cell: tuple[date, date]) -> str:
    """What is wrong with the rows of one cell; rows whose date cannot be read may be any cell's."""
    mine = [fault for fault in faults if isinstance(fault.session, date) and cell[0] <= fault.session <= cell[1]]
    if not mine:
        return summarise([fault for fault in faults if not isinstance(fault.session, date)])
    if cell[0] == cell[1]:
        return "; ".join(fault.said() for fault in mine)
    more = f"; and {len(mine) - FAULTS_SHOWN} more" if len(mine) > FAULTS_SHOWN else ""
    return "; ".join(f"{fault.session} {fault.said()}" for fault in mine[:FAULTS_SHOWN]) + more


def _cause(overlap: Overlap) -> Cause:
    """Why stored bars of the instrument come back different."""
    return readjusted(overlap.ratio) if overlap.reloads_history else REVISION


def _concat(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(BAR_COLUMNS))


def _last_day(end: np.datetime64) -> date:
    return _day(end - np.timedelta64(1, "D"))


def _day(moment: np.datetime64) -> date:
    return pd.Timestamp(moment).date()
