"""The closes that jumps and splits are looked for in are those of the table."""

import dagster as dg
import pandas as pd

from tt_assets.postgres.reader import looking, prepared_reader
from tt_assets.settings import Settings
from tt_assets.web.quality import _closes, _splits
from tt_assets.web.site import Look, Site
from tt_assets_tests.web.filled import fill


def test_closes_are_those_of_the_table(empty_tables, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(Settings(home=tmp_path), prepared_reader(empty_tables), instance)
        with looking(site.database) as connection:
            assert _closes(Look(site, connection), 40_000).empty
        fill(empty_tables)
        with empty_tables.connect() as connection:
            stored = connection.execute("SELECT instrument, timestamp, close FROM tt_prices ORDER BY 1, 2").fetchall()
        with looking(site.database) as connection:
            found = _closes(Look(site, connection), 40_000)
            recent = _closes(Look(site, connection), 5)
    wanted = pd.DataFrame(stored, columns=["instrument", "timestamp", "close"])
    pd.testing.assert_frame_equal(found, wanted.astype({"timestamp": "datetime64[ns]"}))
    newest = wanted["timestamp"].max()
    assert set(recent["timestamp"]) == {day for day in wanted["timestamp"] if day > newest - pd.Timedelta(days=5)}


def test_splits_are_moves_by_their_factor_within_an_instrument():
    days = pd.to_datetime(["2012-04-19", "2012-04-20"])
    closes = {"SPLIT": (100.0, 25.1), "REVERSE": (1.0, 9.9), "FELL": (100.0, 60.0), "LAST": (15.0, 15.0)}
    frame = pd.DataFrame(
        [(name, day, close) for name, own in closes.items() for day, close in zip(days, own, strict=True)],
        columns=["instrument", "timestamp", "close"],
    )
    found = {(own["name"], own["day"], own["what"]) for own in _splits(frame)}
    assert found == {("SPLIT", "2012-04-20", "4 for 1"), ("REVERSE", "2012-04-20", "1 for 10")}
