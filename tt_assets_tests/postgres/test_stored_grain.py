"""The grain of a ledger is told from its slices, however many names there are in the newest of them."""

from __future__ import annotations

import pytest

from tt_assets.grain import DateGrain
from tt_assets.postgres.database import Database
from tt_assets.postgres.stored_grain import fits

NAMES = 3_000
YEARS = [("2018-01-01", 251), ("2019-01-01", 252), ("2020-01-01", 20)]
MONTHS = [("2019-11-01", 20), ("2019-12-01", 21), ("2020-01-01", 1)]
SESSIONS = [("2019-12-30", 1), ("2019-12-31", 1), ("2020-01-01", 1)]


@pytest.mark.parametrize(
    ("slices", "grains"),
    [
        (YEARS, {DateGrain.YEAR}),
        (MONTHS, {DateGrain.MONTH}),
        (SESSIONS, {DateGrain.SESSION}),
        ([], set(DateGrain)),
    ],
    ids=["years", "months", "sessions", "empty"],
)
def test_only_its_own_grain_fits_a_ledger(empty_tables: Database, slices, grains):
    with empty_tables.connect() as connection:
        for day, rows in slices:
            connection.execute(
                'INSERT INTO tt_slice (table_name, date, instrument, rows, digest, "fetch", tries, told, written_in) '
                "SELECT 'tt_prices', %s, 'N' || n, %s, '', 0, 0, false, 0 FROM generate_series(1, %s) AS n",
                [day, rows, NAMES],
            )
        assert {grain for grain in DateGrain if fits(connection, grain)} == grains
