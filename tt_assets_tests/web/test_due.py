"""Sessions without a bar are the same at every date grain, and nothing is due before an instrument's first bar."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime

import dagster as dg
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tt_assets.grain import DateGrain
from tt_assets.market.calendar import sessions
from tt_assets.postgres.database import Database
from tt_assets.postgres.reader import prepared_reader
from tt_assets.settings import Settings
from tt_assets.web.dashboard import dashboard
from tt_assets.web.site import Site

DAYS = [day.date() for day in sessions(date(2011, 11, 1), date(2012, 3, 30))]
LISTED = date(2012, 1, 11)
LACKING = {
    "FULL": [],
    "GAPS": [date(2011, 12, 30), date(2012, 1, 5), date(2012, 2, 15)],
    "LATE": [date(2012, 1, 24)],
    "GONE": [day for day in DAYS if day > date(2012, 3, 15)],
}
FAILED = date(2012, 2, 15)
"""A session of GAPS whose partition failed; at a wider grain the partition around it keeps its other bars."""


def bars_of(name: str) -> list[date]:
    return [day for day in DAYS if day not in LACKING[name] and (name != "LATE" or day >= LISTED)]


def fill(database: Database, grain: DateGrain) -> None:
    keys = sorted({grain.key_of(day) for day in DAYS})
    with database.connect() as connection, connection.cursor() as cursor:
        for name in LACKING:
            bars = bars_of(name)
            cursor.executemany(
                "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
                "VALUES (%s, %s, 10, 11, 9, 10, 1000)",
                [(name, datetime.combine(day, datetime.min.time())) for day in bars],
            )
            cursor.executemany(
                'INSERT INTO tt_slice (table_name, date, instrument, rows, digest, "fetch", written_at, outcome, '
                "tries, told, written_in, failure) VALUES ('tt_prices', %s, %s, %s, %s, 1, now(), '', 0, true, 1, %s)",
                [
                    (
                        key,
                        name,
                        sum(grain.key_of(day) == key for day in bars),
                        "ab" * 16,
                        '{"reason": "no"}' if name == "GAPS" and key == grain.key_of(FAILED) else None,
                    )
                    for key in keys
                ],
            )


@pytest.fixture(params=list(DateGrain))
def grain(request: pytest.FixtureRequest) -> DateGrain:
    return DateGrain(request.param)


@pytest.fixture
def client(empty_tables: Database, tmp_path, grain: DateGrain) -> Iterator[TestClient]:
    fill(empty_tables, grain)
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(Settings(home=tmp_path, date_grain=grain), prepared_reader(empty_tables), instance)
        yield TestClient(Starlette(routes=dashboard(site)), raise_server_exceptions=False)


@pytest.mark.parametrize("name", list(LACKING))
def test_the_page_of_an_instrument_counts_sessions(client: TestClient, name: str) -> None:
    page = client.get("/tt/instrument", params={"of": name, "span": "all"}).text
    missing, bars = len(LACKING[name]), len(bars_of(name))
    assert f"<span>Sessions without a bar</span><b>{missing}</b>" in page.replace(' class=""', "")
    assert f"of {bars + missing}" in page
    if missing:
        assert f"key={LACKING[name][-1]}%7C{name}" in page
    else:
        assert "Every session has a bar." in page


def test_coverage_is_that_of_the_sessions_since_the_first_bar(client: TestClient, grain: DateGrain) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get("/tt/quality", params={"csv": "coverage"}).text)))
    wide = DateGrain.YEAR if grain is DateGrain.YEAR else DateGrain.MONTH
    for row in rows:
        own = [day for day in DAYS if f"{wide.key_of(day)}" == row["date"]]
        due = sum(day >= bars_of(name)[0] for name in LACKING for day in own)
        there = sum(day in bars_of(name) for name in LACKING for day in own)
        assert float(row["With a bar"]) == pytest.approx(100.0 * there / due)
        in_failed = [day for day in own if grain.key_of(day) == grain.key_of(FAILED)]
        assert float(row["Failed"]) == pytest.approx(100.0 * len(in_failed) / due)
    assert [row["date"] for row in rows] == sorted({f"{wide.key_of(day)}" for day in DAYS})


def test_data_quality_lists_who_lacks_bars(client: TestClient) -> None:
    for span in ("all", "1y"):
        page = client.get("/tt/quality", params={"span": span}).text
        for name, lacking in LACKING.items():
            row = f'of={name}">{name}</a></th><td>{len(lacking)}</td>'
            assert (row in page) == bool(lacking)
            if lacking:
                assert f"key={lacking[-1]}%7C{name}" in page


def test_partitions_before_the_first_row_are_no_fault_and_those_after_the_last_are(
    client: TestClient, grain: DateGrain
) -> None:
    page = client.get("/tt/partitions", params={"table": "tt_prices"}).text
    told = json.loads(page.partition('id="matrix-told">')[2].partition("</script>")[0])
    lines = dict(zip(told["instruments"], told["lines"], strict=True))
    keys = sorted({grain.key_of(day) for day in DAYS})
    before = sum(key < grain.key_of(LISTED) for key in keys)
    assert lines["LATE"].startswith("b" * before)
    assert "b" not in lines["LATE"][before:] + lines["FULL"] + lines["GONE"]
    if grain is DateGrain.SESSION:
        assert lines["GONE"].endswith("e" * len(LACKING["GONE"]))
    row = page.partition('<th scope="row">LATE</th>')[2].partition("</tr>")[0]
    assert row.startswith('<td class="quiet">–</td>')  # 2011
