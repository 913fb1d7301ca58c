"""Large markets at the grain that they ask for: the load's time and memory, Dagster's bytes, a tick with it stored.

It takes about an hour. Each is filled once, in a home of its own, by the command a person would use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tt_assets.grain import DateGrain
from tt_assets.postgres.database import Database
from tt_assets_tests.benchmarks.figures import Aim, held_against, load, say, spread
from tt_assets_tests.benchmarks.home import Home, temporary_home, write_market

PEAK_BYTES = 700_000_000
DAGSTER_BYTES = 1_200.0
TABLES = 3


@dataclass(frozen=True)
class Market:
    """Synthetic bars and how they are loaded.

    Parameters
    ----------
    most_seconds, most_tick_seconds : aims of the whole load and of a tick of all sensors; None where there is none.
    ticks : of every sensor, after the load.
    """

    instruments: int
    sessions: int
    grain: DateGrain
    most_seconds: float | None = None
    ticks: int = 0
    most_tick_seconds: float | None = None

    @property
    def bars(self) -> int:
        return self.instruments * self.sessions

    @property
    def words(self) -> str:
        return f"{self.instruments:,} instruments × {self.sessions:,} sessions by {self.grain}"


LARGE = (
    Market(500, 2_520, DateGrain.MONTH, most_seconds=150),
    Market(530, 756, DateGrain.SESSION, ticks=5, most_tick_seconds=3),
    Market(3_000, 2_520, DateGrain.YEAR, most_seconds=720),
)


def measure(markets: Sequence[Market] = LARGE) -> Iterator[dict[str, Any]]:
    """The figures of each market, one after the other."""
    for market in markets:
        yield {"market": market.words, "bars": market.bars, "tables": TABLES, "load": load()}
        with temporary_home() as home:
            yield from filled(home, market)


def filled(home: Home, market: Market) -> Iterator[dict[str, Any]]:
    """Fill the three market tables of an empty home with `market`; what that took and left behind."""
    say(f"making {market.bars:,} bars")
    settings = write_market(home.folder, market.instruments, market.sessions)
    settings |= {"TT_AUTOMATION": "false", "TT_DATE_GRAIN": market.grain.value}
    home.measure(["tt", "watchlist", "sync"], settings)
    before = _dagster_bytes(home)
    say(f"filling three tables: {market.words}")
    whole = home.measure(["tt", "backfill", "market"], settings)
    partitions, dagster_bytes = _partitions(home), _dagster_bytes(home) - before
    yield {
        "figure": f"load of {market.words}, seconds",
        **_held(market.most_seconds, [whole.seconds], 1),
        "processor_seconds": None if whole.busy_seconds is None else round(whole.busy_seconds, 1),
    }
    yield {
        "figure": f"peak memory of a load by {market.grain}, bytes",
        **held_against(Aim.AT_MOST, PEAK_BYTES, [whole.peak_bytes or 0], 0),
        "bars": market.bars,
    }
    yield {
        "figure": f"Dagster's bytes a partition and table by {market.grain}",
        **held_against(Aim.AT_MOST, DAGSTER_BYTES, [dagster_bytes / partitions], 0),
        "partitions": partitions,
    }
    if market.ticks:
        say(f"{market.ticks} ticks of every sensor")
        ticks: dict[str, list[float]] = json.loads(home.measure(["ticks", str(market.ticks)], settings).output)
        together = [sum(rounds) for rounds in zip(*ticks.values(), strict=True)]
        yield {
            "figure": f"a tick of all {len(ticks)} sensors on {partitions // TABLES:,} partitions a table, seconds",
            **_held(market.most_tick_seconds, together[1:] or together, 2),
            "first": round(together[0], 2),
        }


def _held(aim: float | None, values: Sequence[float], digits: int) -> dict[str, Any]:
    return spread(values, digits) if aim is None else held_against(Aim.AT_MOST, aim, values, digits)


def _dagster_bytes(home: Home) -> int:
    """Of all tables of Dagster's database with their indexes."""
    return _one(home, dagster=True, of="coalesce(sum(pg_total_relation_size(relid)), 0)", table="pg_stat_user_tables")


def _partitions(home: Home) -> int:
    """On record, of all three tables together."""
    return _one(home, dagster=False, of="count(*)", table="tt_slice")


def _one(home: Home, *, dagster: bool, of: str, table: str) -> int:
    database = Database.on(home.server)
    with (database.dagster() if dagster else database).connect() as connection:
        row = connection.execute(f"SELECT {of} FROM {table}").fetchone()
    return int(row[0]) if row else 0
