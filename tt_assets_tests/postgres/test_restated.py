"""Which cells say that their stored rows changed: those whose rows did, with old and new values and the cause."""

from datetime import datetime

import pandas as pd
import pytest

from tt_assets.postgres.restated import REVISION, SOURCE_CHANGED, describe, readjusted, remedy, restated_cells
from tt_assets.postgres.slices import Selection
from tt_assets.tables import TABLES

PRICES = TABLES["tt_prices"]
DAYS = [datetime(2012, 5, day) for day in (23, 24, 25)]


def bars(close: dict[tuple[str, datetime], float]) -> pd.DataFrame:
    frame = pd.DataFrame(
        [{"instrument": name, "timestamp": day, "close": value} for (name, day), value in close.items()]
    )
    return frame.assign(open=frame["close"], high=frame["close"], low=frame["close"], volume=5.0)


def cells(names: str = "AB") -> Selection:
    return Selection.of(
        {f"{day:%Y-%m-%d}|{name}": (name, day, day + pd.Timedelta(days=1)) for name in names for day in DAYS}
    )


def month(name: str = "A") -> Selection:
    return Selection.of({f"2012-05-01|{name}": (name, datetime(2012, 5, 1), datetime(2012, 6, 1))})


OLD = bars({(name, day): 10.0 + place for name in "AB" for place, day in enumerate(DAYS)})


def changed(new: pd.DataFrame, old: pd.DataFrame = OLD, selection: Selection | None = None, **causes):
    return restated_cells(PRICES, selection or cells(), old, new, causes)


def test_equal_rows_in_another_order_change_nothing():
    assert changed(OLD.sample(frac=1, random_state=0)) == {}


def test_nothing_stored_means_nothing_restated():
    assert changed(OLD, old=OLD.iloc[:0]) == {}
    assert changed(OLD, old=pd.DataFrame(columns=OLD.columns)) == {}


def test_a_changed_cell_says_what_it_held_what_it_holds_and_why():
    new = OLD.copy()
    new.loc[1, "volume"] = 6.0
    values = {"open": 11.0, "high": 11.0, "low": 11.0, "close": 11.0}
    assert changed(new, A=REVISION) == {
        "2012-05-24|A": {
            "session": "2012-05-24",
            "was": values | {"volume": 5.0},
            "now": values | {"volume": 6.0},
            "cause": "revision",
            "ratio": None,
            "changed": 1,
        }
    }


def test_the_last_bit_of_a_double_counts():
    new = OLD.copy()
    new.loc[0, "close"] = 10.000000000000002
    assert list(changed(new)) == ["2012-05-23|A"]


def test_a_bar_that_is_new_is_not_restated_and_one_that_is_gone_is():
    found = changed(OLD.drop(index=2), old=OLD.drop(index=0))
    assert list(found) == ["2012-05-25|A"]
    assert found["2012-05-25|A"]["now"] is None
    assert found["2012-05-25|A"]["was"]["close"] == 12.0


def test_every_instrument_has_its_own_cause():
    new = OLD.assign(close=OLD["close"] / 4)
    found = changed(new, A=readjusted(0.25))
    assert {key[-1]: (said["cause"], said["ratio"]) for key, said in found.items()} == {
        "A": ("readjusted", 0.25),
        "B": (SOURCE_CHANGED.word, None),
    }
    assert len(found) == 6
    words = describe(found, cells())
    assert "A: 3 stored bars changed (readjusted, new prices are 0.25 times the old; 2012-05-23 to 2012-05-25)" in words
    assert "tt backfill market --from 2012-05-23" in remedy(found)
    assert "B: 3 stored bars changed (source changed; 2012-05-23 to 2012-05-25)" in words


def test_a_month_shows_its_first_changed_sessions_and_how_many_there_are():
    sessions = [datetime(2012, 5, day) for day in (14, 15, 16, 17, 18, 21, 22)]
    old = bars({("A", day): 10.0 for day in sessions})
    said = changed(old.assign(close=9.5).sample(frac=1, random_state=1), old=old, selection=month())["2012-05-01|A"]
    assert (said["session"], said["was"]["close"], said["now"]["close"]) == ("2012-05-14", 10.0, 9.5)
    assert said["changed"] == 7
    assert [shown["session"] for shown in said["sessions"]] == [f"2012-05-{day}" for day in (14, 15, 16, 17, 18)]


@pytest.mark.parametrize("other", [cells("A"), cells("CA")])
def test_joined_selections_are_sorted_as_if_made_at_once(other: Selection):
    first = Selection.of({f"2012-06-0{n}|{name}": (name, datetime(2012, 6, n), datetime(2012, 6, n + 1))
                          for name in "BA" for n in (1, 4)})  # fmt: skip
    joined = first.joined(other)
    spans = {
        key: (name, pd.Timestamp(start).to_pydatetime(), pd.Timestamp(end).to_pydatetime())
        for part in (first, other)
        for key, name, start, end in zip(part.keys, part.instruments, part.starts, part.ends, strict=True)
    }
    wanted = Selection.of(spans)
    assert joined.keys == wanted.keys
    assert joined.instruments.tolist() == wanted.instruments.tolist()
    assert joined.starts.tolist() == wanted.starts.tolist()
    assert joined.ends.tolist() == wanted.ends.tolist()
