"""Which price source the settings name, as a Dagster resource."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from tt_assets.grid.bars_files import bars_files, followed
from tt_assets.grid.horizon import bars_span, latest_session
from tt_assets.market.clock import now_in_new_york
from tt_assets.market.files import FileBars
from tt_assets.market.ibkr import IbkrBars, IbkrLoad, ReadStored, StoredBars
from tt_assets.market.own_source import open_source
from tt_assets.market.sources import PriceSource
from tt_assets.market.watchlist import Watchlist
from tt_assets.runs import progress
from tt_assets.runs.market_reader import MarketReader
from tt_assets.settings import PriceSourceName, Settings


@dataclass(frozen=True)
class OpenSource:
    """A source and how far it can be asked.

    Parameters
    ----------
    source : that is asked.
    ends : the last session it has anything for; None where it has no end (a live feed).
    latest : the last session that has closed; None asks for every day of a partition.
    """

    source: PriceSource
    ends: date | None
    latest: date | None = None

    @property
    def reaches(self) -> date | None:
        """The last session there can be a bar of: a month or year that has not ended is asked for up to there."""
        return min(filter(None, (self.ends, self.latest)), default=None)

    def warnings(self) -> list[str]:
        """What is odd about the source as a whole, one line a kind, also rows of no partition."""
        return self.source.warnings() if isinstance(self.source, FileBars) else []


@dataclass(frozen=True)
class PriceSourceOpener:
    """Opens the source named by `TT_PRICE_SOURCE`; `market` reads what is stored already."""

    settings: Settings
    market: MarketReader

    def open(self, say: Callable[[str], None] = lambda _: None) -> OpenSource:
        """The configured source, knowing the instruments of the watchlist; `say` hears how a load went, in one line."""
        settings, latest = self.settings, latest_session()
        if settings.price_source is PriceSourceName.IBKR:
            watchlist = followed(settings).watchlist
            return OpenSource(ibkr_source(settings, watchlist, stored_bars(self.market), say), None, latest)
        if settings.price_source is not PriceSourceName.FILE:
            return OpenSource(open_source(settings.price_source), None, latest)
        span = bars_span(settings)
        return OpenSource(bars_files(settings), span[1] if span else None, latest)


def price_source_resource(settings: Settings) -> dg.ResourceDefinition:
    """The resource `price_source`, on the resource `market`."""
    return dg.ResourceDefinition(
        lambda context: PriceSourceOpener(settings, context.resources.market),
        required_resource_keys={"market"},
        description="Where tt_prices comes from: TT_PRICE_SOURCE.",
    )


def stored_bars(market: MarketReader) -> ReadStored:
    """How an IBKR source reads the bars in Postgres."""

    def read(symbols: Sequence[str], first: date, last: date) -> StoredBars:
        return StoredBars(market.read("tt_prices", symbols, first, last))

    return read


def ibkr_source(
    settings: Settings,
    watchlist: Watchlist,
    stored: ReadStored,
    say: Callable[[str], None] = lambda _: None,
) -> IbkrBars:
    """Interactive Brokers, knowing what is `stored` already so that only what is missing is asked for."""

    def on_done(load: IbkrLoad) -> None:
        say(str(load))
        progress.report(str(load))

    return IbkrBars(
        settings.ibkr.replace(
            contracts_path=settings.home / "cache" / "ibkr_contracts.json",
            empty_sessions_path=settings.home / "cache" / "ibkr_empty_sessions.json",
        ),
        watchlist.instruments,
        read_stored=stored,
        clock=now_in_new_york,
        on_progress=lambda told: progress.tell("IBKR", told.done, told.total, f"{told.instrument}, {told.left()}"),
        on_done=on_done,
    )
