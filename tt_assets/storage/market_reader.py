"""Bulk reads of the market tables by instrument and session, for assets whose partitions are not cells of those tables."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

import dagster as dg
import pandas as pd

from tt_assets.settings import Settings
from tt_assets.storage.database import Database
from tt_assets.storage.slice_store import SliceStore
from tt_assets.storage.slices import Selection
from tt_assets.tables import TABLES


class MarketReader(dg.ConfigurableResource):
    """Reads `tt_prices`, `tt_features` and `tt_signal_scores`; assets that use it name them as dependencies."""

    def read(self, table: str, instruments: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """Rows of `instruments` from session `first` to `last`, both included, sorted by the table's key."""
        start, end = datetime.combine(first, time.min), datetime.combine(last + timedelta(days=1), time.min)
        cells = {name: (name, start, end) for name in instruments}
        return SliceStore(Database.from_settings(Settings()), TABLES[table]).read(Selection.of(cells))

    def policies(self, selection: Selection) -> pd.DataFrame:
        """Rows of `tt_policy` of the selected windows, with `id`, sorted by window, traded and seed."""
        store = SliceStore(Database.from_settings(Settings()), TABLES["tt_policy"], "window_start")
        return store.read(selection, columns=[column.name for column in TABLES["tt_policy"].columns])
