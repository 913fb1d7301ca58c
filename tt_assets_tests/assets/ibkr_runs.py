"""`tt_prices` from a stand-in gateway through the product's own asset, in a market that closed on a known Friday."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from tt_assets.assets import sources
from tt_assets.gateway import BarBook, Kind, StandIn
from tt_assets.market.calendar import NEW_YORK
from tt_assets.market.ibkr import IbkrConfig
from tt_assets.postgres.database import Database
from tt_assets.postgres.restated import RESTATED
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.tables import TABLES
from tt_assets_tests.dagster_runs import keep_dates_of_sample, landed_cells, query, run_job
from tt_assets_tests.gateway.scripted import Script, ScriptedStandIn, no_script
from tt_assets_tests.gateway.thread import GatewayThread
from tt_assets_tests.gateway.worlds import quick, walk

# Inside the dates of the bundled sample, whose partitions the definitions have in a test.
FIRST, FRIDAY = date(2012, 5, 1), date(2012, 6, 15)
EVENING = datetime(2012, 6, 15, 20, 0, tzinfo=NEW_YORK)
NOON = datetime(2012, 6, 15, 12, 0, tzinfo=NEW_YORK)
SYMBOLS = ("AAPL", "GOOG", "IBM")
WORLD = walk(SYMBOLS, first=date(2012, 3, 1), last=FRIDAY)

Rows = dict[str, tuple[float, ...]]


def rows_of(bars: pd.DataFrame) -> Rows:
    """Partition key → open, high, low, close, volume."""
    return {
        f"{bar.timestamp:%Y-%m-%d}|{bar.instrument}": (bar.open, bar.high, bar.low, bar.close, bar.volume)
        for bar in bars.itertuples()
    }


def between(bars: pd.DataFrame, first: object, last: object) -> pd.DataFrame:
    """The bars from day `first` to day `last`."""
    return bars[bars["timestamp"].between(pd.Timestamp(first), pd.Timestamp(last))]  # type: ignore[arg-type]


@dataclass
class Desk:
    """Loads through the asset, from a gateway that is set up anew for each load."""

    database: Database
    instance: dg.DagsterInstance
    patch: pytest.MonkeyPatch
    config: dict[str, Any] = field(default_factory=dict)
    clock: datetime = EVENING
    gateway: StandIn | None = None

    def load(
        self,
        first: object,
        last: object,
        bars: pd.DataFrame = WORLD,
        script: Script = no_script,
        symbols: tuple[str, str] = (SYMBOLS[0], SYMBOLS[-1]),
        most_open: int = 50,
        **config: Any,
    ) -> dg.ExecuteInProcessResult:
        """One range run of `tt_prices` from `first` to `last`; the gateway holds `bars` and obeys `script`.

        Without `last` it is the run of one partition.
        """
        self.config = config
        self.gateway = ScriptedStandIn(
            BarBook(bars), script=script, today=lambda: FRIDAY, latency=0.003, most_open=most_open
        )
        with GatewayThread(self.gateway) as running:
            self.patch.setenv("TT_IBKR_PORT", str(running.port))
            end = None if last is None else f"{last}|{symbols[1]}"
            return run_job(self.instance, ["tt_prices"], f"{first}|{symbols[0]}", end)

    def store(self, bars: pd.DataFrame) -> None:
        """Put bars into Postgres without a run."""
        ends = (pd.Timestamp("2012-01-01").to_pydatetime(), pd.Timestamp("2013-01-01").to_pydatetime())
        cells = Selection.of({name: (name, *ends) for name in SYMBOLS})
        SliceStore(self.database, TABLES["tt_prices"]).write(cells, bars)

    def requests(self, symbol: str, kind: Kind = Kind.HISTORY) -> int:
        """How often the last load asked about `symbol`."""
        assert self.gateway is not None
        return len(self.gateway.log.of(kind, symbol))

    def stored(self) -> Rows:
        """What stands in Postgres."""
        statement = "SELECT timestamp::date::text || '|' || instrument, open, high, low, close, volume FROM tt_prices"
        rows = query(self.database, statement)
        assert len(rows) == len({row[0] for row in rows})
        return {row[0]: row[1:] for row in rows}

    def landed(self, result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
        """Partition key → metadata of what the run materialized."""
        return landed_cells(self.instance, "tt_prices", result.run_id)

    def restated(self, result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
        """What the run says of cells whose stored bars changed."""
        return {key: said[RESTATED] for key, said in self.landed(result).items() if RESTATED in said}


@pytest.fixture
def desk(dagster_instance: dg.DagsterInstance, connected: Database, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose clock says Friday evening and whose waits are short."""
    made = Desk(connected, dagster_instance, monkeypatch)
    replace = IbkrConfig.replace

    def quick_one(config: IbkrConfig, **changes: Any) -> IbkrConfig:
        return replace(quick(config.port), **({"refetch": config.refetch} | changes | QUICK | made.config))

    monkeypatch.setenv("TT_PRICE_SOURCE", "ibkr")
    keep_dates_of_sample(monkeypatch)
    monkeypatch.setattr(IbkrConfig, "replace", quick_one)
    monkeypatch.setattr(sources, "now_in_new_york", lambda: made.clock)
    return made


QUICK = {"client_ids": (81, 82), "timeout": 20.0, "min_interval": 0.0}
