"""Every way a gateway goes wrong, through the asset into Postgres: what landed, was retried, failed, and stayed.

GOOG meets the fault, AAPL and IBM do not. The end of May is stored beforehand; the run asks for it and for June.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
import pytest

from tt_assets.gateway import Kind, WireBar
from tt_assets.market.calendar import sessions
from tt_assets_tests.assets.ibkr_runs import (
    EVENING,
    FRIDAY,
    NOON,
    SYMBOLS,
    WORLD,
    Desk,
    Rows,
    between,
    desk,
    rows_of,
)
from tt_assets_tests.dagster_runs import failure_text
from tt_assets_tests.gateway import faults
from tt_assets_tests.gateway.faults import Bars, Drop, Late, Matches, Outage, Refuse, clients, when
from tt_assets_tests.gateway.scripted import Reaction, Script, no_script

__all__ = ["desk"]

FIRST = "2012-05-22"
MAY = between(WORLD, FIRST, "2012-05-31")
STORED, WHOLE = rows_of(MAY), rows_of(between(WORLD, FIRST, FRIDAY))
NEW = [f"{day:%Y-%m-%d}" for day in sessions(pd.Timestamp("2012-06-01").date(), FRIDAY)]
MIDDLE = "2012-06-06"
HASTY = {"timeout": 0.4, "alive_timeout": 0.3}


def goog(*days: str) -> set[str]:
    """The cells of GOOG on these days."""
    return {f"{day}|GOOG" for day in days}


@dataclass(frozen=True)
class Fault:
    """A fault and what becomes of it.

    `lost` are the cells that fail, with `words` among the reasons; `asked` is how often GOOG's bars are asked for.
    """

    script: Script = no_script
    lost: set[str] = field(default_factory=set)
    words: str = ""
    asked: int = 1
    bars: pd.DataFrame = field(default_factory=lambda: WORLD)
    clock: datetime = EVENING
    config: dict[str, Any] = field(default_factory=dict)


def once(reaction: Reaction, **more: Any) -> Fault:
    """GOOG's first request for bars meets the reaction."""
    return Fault(when(Kind.HISTORY, "GOOG", reaction), **{"asked": 2, **more})


def always(reaction: Reaction, lost: set[str], words: str, **more: Any) -> Fault:
    """Each of GOOG's requests for bars meets the reaction."""
    return Fault(when(Kind.HISTORY, "GOOG", reaction, always=True), lost, words, **more)


def edit(**cells: str) -> Reaction:
    """The answer with these cells changed in the bar of the session in the middle of June."""
    stamp = MIDDLE.replace("-", "")
    return Bars(lambda bars: [bar._replace(**cells) if bar.date == stamp else bar for bar in bars])


def dated(text: Callable[[pd.Timestamp], str]) -> Reaction:
    """The answer with its dates written another way."""
    return Bars(lambda bars: [bar._replace(date=text(pd.Timestamp(bar.date))) for bar in bars])


def doubled(bars: Sequence[WireBar]) -> list[WireBar]:
    stamp = MIDDLE.replace("-", "")
    return [bar for bar in bars for _ in range(1 + (bar.date == stamp))]


def in_lots() -> pd.DataFrame:
    """The world with GOOG's volumes in lots of 100 shares."""
    bars = WORLD.copy()
    rows = bars["instrument"] == "GOOG"
    bars.loc[rows, "volume"] = (bars.loc[rows, "volume"] / 100).round()
    return bars


EVERY_NEW = goog(*NEW)
FAULTS = {
    # passing: asked again, and everything lands
    "pacing violation, once": once(Refuse(*faults.PACING)),
    "more requests open than the gateway keeps": Fault(config={"most_open": 1}, asked=0),
    "slow answer": once(Late(1.0), config=HASTY),
    "no answer, once": once(faults.silent, config=HASTY),
    "connection dropped before the answer": once(Drop()),
    "connection dropped in the middle of the answer": once(Drop(0.5)),
    "garbage bytes": once(faults.GARBAGE, config=HASTY),
    "1100, then 1101 (data lost)": once(Outage(0.1, 1101)),
    "1100, then 1102 (data maintained)": once(Outage(0.1, 1102)),
    "history cut short once": once(Bars(lambda bars: bars[:-3])),
    "client id in use": Fault(clients(faults.id_in_use, 81)),
    # harmless: understood at once
    "a bar twice, the same": once(Bars(doubled), asked=1),
    "bars in disorder": once(Bars(lambda bars: bars[::-1]), asked=1),
    "dates with time and zone": once(dated(lambda day: f"{day:%Y%m%d} 00:00:00 US/Eastern"), asked=1),
    "dates as epoch": once(dated(lambda day: str(day.value // 10**9)), asked=1),
    # lasting: that instrument fails, the others land
    "pacing violation for good": always(
        Refuse(*faults.PACING), EVERY_NEW, r"pacing violation.*TT_IBKR_MIN_INTERVAL", asked=8,
        config={"pacing_pause": 0.001},
    ),
    "no data": always(Refuse(*faults.NO_DATA), EVERY_NEW, r"GOOG: IBKR has no daily bars.*off the watchlist"),
    "no permission": always(Refuse(*faults.NO_PERMISSION), EVERY_NEW, r"GOOG: the account may not see.*Client Portal"),
    "no security definition": Fault(
        bars=WORLD[WORLD["instrument"] != "GOOG"], lost=EVERY_NEW, words=r"knows no contract \(error 200", asked=0
    ),
    "ambiguous contract": Fault(
        when(Kind.DETAILS, "GOOG", Matches(2)), EVERY_NEW, r"2 contracts fit: NASDAQ in USD.*primary_exchange", asked=0
    ),
    "no answer for good": always(
        faults.silent, EVERY_NEW, r"no answer after 2 attempts.*TT_IBKR_TIMEOUT", asked=2,
        config=HASTY | {"attempts": 2},
    ),
    "volume in lots": Fault(bars=in_lots(), lost=EVERY_NEW, words=r'switch off "Send market data in lots'),
    # bad bars: those sessions fail, the others land
    "history cut short for good": always(
        Bars(lambda bars: bars[:-3]), goog(*NEW[-3:]), r"ends on 2012-06-12 although 2012-06-15 has closed", asked=2
    ),
    "NaN": always(edit(close="nan"), goog(MIDDLE), r"price not finite and positive close=nan"),
    "a price of zero": always(edit(open="0"), goog(MIDDLE), r"price not finite and positive"),
    "a negative price": always(edit(low="-3.5"), goog(MIDDLE), r"low=-3.5"),
    "high below low": always(edit(high="1", low="2"), goog(MIDDLE), r"high below low"),
    "volume -1": always(edit(volume="-1"), goog(MIDDLE), r"volume not finite and >= 0"),
    "a date nobody can read": always(edit(date="2012-06-xx"), goog(MIDDLE), r"date not readable"),
    "today's unfinished bar": Fault(
        clock=NOON,
        lost={f"{FRIDAY}|{name}" for name in SYMBOLS},
        words=r"GOOG: the session of 2012-06-15 has not closed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_what_the_table_says_and_no_stored_row(desk: Desk, name: str):
    fault = FAULTS[name]
    desk.store(MAY)
    desk.clock = fault.clock
    result = desk.load(FIRST, FRIDAY, fault.bars, fault.script, **fault.config)

    expected: Rows = {key: row for key, row in WHOLE.items() if key not in fault.lost}
    assert desk.stored() == expected
    assert STORED.items() <= desk.stored().items()
    assert set(desk.landed(result)) == set(expected)
    assert desk.restated(result) == {}
    assert result.success is not bool(fault.lost)
    if fault.lost:
        said = failure_text(result, "tt_prices")
        assert re.search(fault.words, said), said
        assert "\n" not in said
    if fault.asked:
        assert desk.requests("GOOG") == fault.asked


REFUSED = {
    "gateway not logged in": (
        lambda ask: faults.no_handshake if ask.kind is Kind.GREETING else None,
        r"does not finish the API handshake within 0.3 s. Log in to IB Gateway",
    ),
    "read-only refused": (clients(faults.refuse_read_only, 81, 82), r"refuses the read-only session.*Read-Only API on"),
    "every client id in use": (clients(faults.id_in_use, 81, 82), r"All client ids of TT_IBKR_CLIENT_IDS \(81, 82\)"),
    "hung up in the handshake": (clients(faults.hang_up, 81, 82), r"trusted IPs"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_without_a_session_the_step_fails_with_the_remedy_and_nothing_is_written(desk: Desk, name: str):
    script, words = REFUSED[name]
    desk.store(MAY)
    result = desk.load(FIRST, FRIDAY, script=script, connect_timeout=0.3 if "logged" in name else 15.0)
    assert not result.success
    said = failure_text(result, "tt_prices").strip()
    assert re.search(words, said), said
    assert "\n" not in said
    assert desk.stored() == STORED
    assert desk.landed(result) == {}
