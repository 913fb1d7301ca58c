"""Which price source the settings name, as a Dagster resource."""

from dataclasses import dataclass
from datetime import date

import dagster as dg

from tt_assets.errors import UserError
from tt_assets.horizon import bars_span
from tt_assets.market.bars import summarise
from tt_assets.market.files import FileBars
from tt_assets.market.sources import PriceSource
from tt_assets.market.watchlist import read_watchlist
from tt_assets.settings import PriceSourceName, Settings


@dataclass(frozen=True)
class OpenSource:
    """A source and the last session it has anything for; None where it has no end (a live feed)."""

    source: PriceSource
    ends: date | None

    def warning(self) -> str:
        """Every row the source holds that broke a rule, counted by rule, also rows of no partition; empty if none."""
        return summarise(self.source.check().faults) if isinstance(self.source, FileBars) else ""


class PriceSourceResource(dg.ConfigurableResource):
    """Opens the source named by `TT_PRICE_SOURCE`."""

    def open(self) -> OpenSource:
        """The configured source, knowing the instruments of the watchlist."""
        settings = Settings()
        if settings.price_source is not PriceSourceName.FILE:
            raise UserError(
                f"TT_PRICE_SOURCE is {settings.price_source}, which this version cannot read; set it to file and "
                "TT_BARS_PATH to a CSV or parquet file."
            )
        known = read_watchlist(settings.watchlist).symbols
        span = bars_span(settings)
        return OpenSource(FileBars(settings.bars_path, known), span[1] if span else None)
