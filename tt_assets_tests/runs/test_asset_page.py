"""What an asset's page says besides pictures: the whole table, and the latest rows with date and episode."""

from __future__ import annotations

import pandas as pd

from tt_assets.postgres.database import Database
from tt_assets.runs.asset_page import preview, whole_table


def test_a_preview_shows_the_latest_rows_first_with_plain_dates() -> None:
    days = pd.date_range("2012-05-14", periods=15, freq="D")
    frame = pd.DataFrame({"instrument": "AAPL", "timestamp": days, "open": range(15), "volume": 1.0})
    lines = preview("tt_prices", frame)["preview"].value.splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["timestamp", "instrument", "open", "volume"]
    assert len(lines) == 2 + 10
    assert lines[2].split("|")[1].strip() == "2012-05-28"
    assert "00:00:00" not in "".join(lines)


def test_a_preview_of_holdings_names_date_and_episode_and_no_surrogate_key() -> None:
    frame = pd.DataFrame(
        {
            "portfolio_id": [7],
            "instrument": ["AAPL"],
            "quantity": [2.5],
            "episode_id": [3],
            "timestamp": [pd.Timestamp("2012-05-14")],
        }
    )
    head, _, row = preview("tt_holdings", frame)["preview"].value.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "timestamp",
        "episode_id",
        "instrument",
        "quantity",
    ]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["2012-05-14", "3", "AAPL", "2.5"]


def test_nothing_to_preview_is_said() -> None:
    assert preview("tt_prices", pd.DataFrame(columns=["instrument", "timestamp"]))["preview"].value == "no rows"


def test_the_whole_table_is_counted_off_its_slices(empty_tables: Database) -> None:
    with empty_tables.connect() as connection:
        connection.execute("DELETE FROM tt_slice")
    assert whole_table(empty_tables, "tt_prices")["whole_table"].value == "no rows"
    with empty_tables.connect() as connection:
        connection.execute(
            "INSERT INTO tt_slice (table_name, date, instrument, rows, digest, "
            '"fetch", written_at, told, tries, written_in) VALUES '
            "('tt_prices', '2012-05-14', 'AAPL', 1, 'a', 1, '2026-11-27 23:00+00', true, 0, 1), "
            "('tt_prices', '2013-03-01', 'IBM', 1200, 'b', 2, '2026-11-28 01:02+00', true, 0, 1), "
            "('tt_prices', '2013-03-04', 'IBM', 0, 'c', 2, '2026-11-28 05:02+00', true, 0, 1), "
            "('tt_features', '2014-01-02', 'IBM', 5, 'd', 3, '2026-11-28 06:00+00', true, 0, 1)"
        )
    said = whole_table(empty_tables, "tt_prices")["whole_table"].value
    assert said == "1,201 rows, 2012-05-14 to 2013-03-01, 2 partitions with rows, last load 2026-11-28 01:02 UTC"
    with empty_tables.connect() as connection:
        connection.execute("DELETE FROM tt_slice")
