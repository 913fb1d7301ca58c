"""The IO manager under real Dagster runs: every shape of selection, what each cell says, and partial failures."""

from collections.abc import Callable
from datetime import date, datetime

import dagster as dg
import pandas as pd
import pytest

from tt_assets.grid.horizon import Horizon
from tt_assets.grid.keys import DATE, INSTRUMENT
from tt_assets.grid.partitions import instrument_partitions, session_partitions
from tt_assets.postgres.restated import RESTATED, REVISION, readjusted
from tt_assets.postgres.slice_store import SliceStore
from tt_assets.postgres.slices import Selection
from tt_assets.runs.failed_partitions import name_failed_cells
from tt_assets.runs.io_managers import SliceIOManager, Slices, selection_of
from tt_assets.settings import DateGrain, Settings, database_of
from tt_assets.tables import MARKET_TABLES, TABLES, content_columns
from tt_assets_tests.dagster_runs import cells, failure_text, landed_cells, partition_counts, query, range_tags

# Not in alphabetical order, and each a prefix or suffix of another: order and names must come from the keys.
NAMES = ["MSFT", "T", "AA", "A"]
SPAN = Horizon(date(2012, 5, 1), date(2012, 7, 31))
# Truth written out, not listed by the code under test: 28 May (Memorial Day) is closed.
SESSIONS = ["2012-05-23", "2012-05-24", "2012-05-25", "2012-05-29", "2012-05-30", "2012-05-31", "2012-06-01"]
GRID = dg.MultiPartitionsDefinition(
    {DATE: session_partitions(SPAN, DateGrain.SESSION), INSTRUMENT: instrument_partitions}
)
MONTHS = dg.MultiPartitionsDefinition(
    {DATE: session_partitions(SPAN, DateGrain.MONTH), INSTRUMENT: instrument_partitions}
)
BY_MONTH = {
    "2012-05-01": SESSIONS[:6],
    "2012-06-01": SESSIONS[6:],
}

Make = Callable[[Selection], pd.DataFrame | Slices]


def bars(keys: set[str], close: float) -> pd.DataFrame:
    """One bar per `date|instrument`."""
    ordered = sorted(keys, reverse=True)
    frame = pd.DataFrame(
        {"instrument": [k[11:] for k in ordered], "timestamp": [pd.Timestamp(k[:10]) for k in ordered]}
    )
    return frame.assign(open=close, high=close, low=close, close=close, volume=1.0)


def prices(make: Make, grid: dg.MultiPartitionsDefinition = GRID) -> dg.AssetsDefinition:
    @dg.asset(
        name="tt_prices",
        partitions_def=grid,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="slices",
        hooks={name_failed_cells(grid, "tt_prices")},
    )
    def made(context):
        return make(selection_of(grid, context.partition_keys))

    return made


def manager() -> SliceIOManager:
    """The IO manager on the database that the settings name."""
    return SliceIOManager(database=database_of(Settings()))


def materialize(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, first: str, last: str | None = None, *others
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset, *others],
        instance=instance,
        selection=[asset],
        resources={"slices": manager(), "database": database_of(Settings())},
        partition_key=None if last else first,
        tags=range_tags(first, last) if last else None,
        raise_on_error=False,
    )


@pytest.fixture
def instance(connected) -> dg.DagsterInstance:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        ephemeral.add_dynamic_partitions("instrument", NAMES)
        yield ephemeral


@pytest.fixture
def filled(instance, connected):
    """Every cell of SESSIONS × NAMES holds a bar with close 1."""
    everything = cells(SESSIONS, NAMES)
    result = materialize(instance, prices(lambda _: bars(everything, 1.0)), f"{SESSIONS[0]}|MSFT", f"{SESSIONS[-1]}|A")
    assert result.success
    return connected


def closes(database) -> dict[str, float]:
    rows = query(database, "SELECT timestamp::date::text || '|' || instrument, close FROM tt_prices")
    assert len(rows) == len(dict(rows))
    return dict(rows)


SHAPES = {
    "single cell": ("2012-05-25|T", None, cells(["2012-05-25"], ["T"])),
    "line of sessions": ("2012-05-24|T", "2012-05-30|T", cells(SESSIONS[1:5], ["T"])),
    "line of instruments": ("2012-05-25|T", "2012-05-25|A", cells(["2012-05-25"], ["T", "AA", "A"])),
    "rectangle over a holiday": ("2012-05-25|T", "2012-05-29|AA", cells(["2012-05-25", "2012-05-29"], ["T", "AA"])),
    "everything": ("2012-05-23|MSFT", "2012-06-01|A", cells(SESSIONS, NAMES)),
}


@pytest.mark.parametrize(("first", "last", "chosen"), SHAPES.values(), ids=list(SHAPES))
def test_a_run_replaces_the_rows_of_its_cells_and_no_other(instance, filled, first, last, chosen):
    asked = []

    def make(selection: Selection) -> pd.DataFrame:
        asked.extend(selection.keys)
        return bars(chosen, 2.0)

    result = materialize(instance, prices(make), first, last)

    assert result.success
    assert set(asked) == chosen
    assert closes(filled) == {key: 2.0 if key in chosen else 1.0 for key in cells(SESSIONS, NAMES)}


@pytest.mark.parametrize(("first", "last", "chosen"), SHAPES.values(), ids=list(SHAPES))
def test_every_cell_of_a_run_is_materialized_with_its_own_count_digest_and_outcome(
    instance, connected, first, last, chosen
):
    empty = min(chosen)
    frame = bars(chosen - {empty}, 2.0)
    result = materialize(instance, prices(lambda _: Slices(frame, outcomes={empty: "not listed yet"})), first, last)

    said = landed_cells(instance, "tt_prices", result.run_id)
    assert set(said) == chosen
    for key, metadata in said.items():
        assert metadata["dagster/row_count"] == (0 if key == empty else 1)
        assert metadata["outcome"] == ("not listed yet" if key == empty else "loaded")
    # What holds for the whole run is said once, on the partition whose page is shown: the last.
    assert sum("slice" in metadata for metadata in said.values()) == 1
    # Every cell differs in instrument or session, or has no bar, so every digest differs.
    assert len({metadata["digest"] for metadata in said.values()}) == len(chosen)


def test_equal_content_has_an_equal_digest_and_data_version_and_changed_content_another(instance, connected):
    def digest(close: float) -> tuple[str, str]:
        result = materialize(instance, prices(lambda _: bars({"2012-05-25|T"}, close)), "2012-05-25|T")
        event = instance.get_latest_materialization_event(dg.AssetKey("tt_prices"))
        version = event.asset_materialization.tags["dagster/data_version"]
        return landed_cells(instance, "tt_prices", result.run_id)["2012-05-25|T"]["digest"], version

    first, again, other = digest(1.0), digest(1.0), digest(2.0)
    assert first == again
    assert first[0] == first[1]
    assert other[0] != first[0]


def test_a_cell_without_rows_deletes_what_was_stored_and_is_materialized_with_zero(instance, filled):
    result = materialize(instance, prices(lambda _: bars(set(), 2.0)), "2012-05-25|T")
    assert "2012-05-25|T" not in closes(filled)
    assert len(closes(filled)) == len(SESSIONS) * len(NAMES) - 1
    assert landed_cells(instance, "tt_prices", result.run_id)["2012-05-25|T"]["dagster/row_count"] == 0


def test_an_instrument_added_while_the_definitions_are_loaded_can_be_materialized(instance, connected):
    asset = prices(lambda selection: bars(set(selection.keys), 3.0))
    assert materialize(instance, asset, "2012-05-25|T").success
    instance.add_dynamic_partitions("instrument", ["BRK B"])
    assert materialize(instance, asset, "2012-05-24|BRK B", "2012-05-25|BRK B").success
    assert closes(connected) == dict.fromkeys(["2012-05-25|T", "2012-05-24|BRK B", "2012-05-25|BRK B"], 3.0)


def test_an_instrument_nobody_added_is_refused_and_nothing_is_written(instance, connected):
    with pytest.raises(dg.DagsterUnknownPartitionError):
        materialize(instance, prices(lambda selection: bars(set(selection.keys), 1.0)), "2012-05-25|NOPE")
    assert closes(connected) == {}


def test_a_month_cell_replaces_every_session_of_its_month(instance, filled):
    chosen = {f"{day}|{name}" for day in BY_MONTH["2012-05-01"] for name in ("T", "AA")}
    result = materialize(instance, prices(lambda _: bars(chosen, 2.0), MONTHS), "2012-05-01|T", "2012-05-01|AA")
    assert result.success
    assert closes(filled) == {key: 2.0 if key in chosen else 1.0 for key in cells(SESSIONS, NAMES)}
    said = landed_cells(instance, "tt_prices", result.run_id)
    assert {key: metadata["dagster/row_count"] for key, metadata in said.items()} == {
        "2012-05-01|T": 6,
        "2012-05-01|AA": 6,
    }


def test_months_in_a_range_are_read_back_whole(instance, filled):
    loaded = []

    @dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
    def reader(tt_prices: pd.DataFrame) -> None:
        loaded.append(tt_prices)

    upstream = prices(lambda _: bars(set(), 1.0), MONTHS)
    assert materialize(instance, reader, "2012-05-01|MSFT", "2012-06-01|T", upstream).success
    assert [f"{t:%Y-%m-%d}|{i}" for i, t in zip(loaded[0]["instrument"], loaded[0]["timestamp"], strict=True)] == [
        f"{day}|{name}" for name in ("MSFT", "T") for day in SESSIONS
    ]


RAGGED = ["2012-05-23|A", "2012-05-29|A", "2012-05-29|T", "2012-05-24|AA", "2012-06-01|MSFT"]


def _loaded(instance: dg.DagsterInstance, upstream_keys: list[str]) -> pd.DataFrame:
    frames = []

    @dg.asset(ins={"tt_prices": dg.AssetIn(partition_mapping=dg.SpecificPartitionsPartitionMapping(upstream_keys))})
    def reader(tt_prices: pd.DataFrame) -> None:
        frames.append(tt_prices)

    upstream = prices(lambda _: bars(set(), 1.0))
    result = dg.materialize(
        [upstream, reader],
        instance=instance,
        selection=[reader],
        resources={"slices": manager(), "database": database_of(Settings())},
    )
    assert result.success
    return frames[0]


def test_a_ragged_set_of_cells_is_read_exactly_and_in_key_order(instance, filled):
    frame = _loaded(instance, RAGGED)
    assert list(frame.columns) == list(content_columns(TABLES["tt_prices"]))
    assert [(i, f"{t:%Y-%m-%d}") for i, t in zip(frame["instrument"], frame["timestamp"], strict=True)] == sorted(
        (key[11:], key[:10]) for key in RAGGED
    )
    assert frame["timestamp"].dtype == "datetime64[ns]"


def test_reading_no_cell_gives_an_empty_frame_with_the_columns_of_the_table(instance, filled):
    store_columns = list(content_columns(TABLES["tt_prices"]))
    frame = manager()._store(dg.build_input_context(asset_key=dg.AssetKey("tt_prices"))).read(Selection.of({}))
    assert list(frame.columns) == store_columns
    assert frame.empty


def test_failed_cells_keep_their_rows_while_the_ragged_rest_lands_and_the_step_fails_with_the_reasons(instance, filled):
    everything = cells(SESSIONS, NAMES)
    bad = dict.fromkeys(RAGGED[:3], "close is NaN") | {RAGGED[3]: "high below low"}
    good = everything - set(bad)

    result = materialize(
        instance,
        prices(lambda _: Slices(bars(good, 2.0), failed=bad)),
        f"{SESSIONS[0]}|MSFT",
        f"{SESSIONS[-1]}|A",
    )

    assert not result.success
    assert closes(filled) == {key: 1.0 if key in bad else 2.0 for key in everything}
    said = failure_text(result, "tt_prices")
    assert "tt_prices: 4 of 28 partitions failed" in said
    assert "2012-05-23|A and 2 more: close is NaN" in said
    assert "2012-05-24|AA: high below low" in said
    landed = landed_cells(instance, "tt_prices", result.run_id)
    assert set(landed) == good
    assert {metadata["dagster/row_count"] for metadata in landed.values()} == {1}


def test_a_run_whose_cells_all_fail_writes_nothing_and_materializes_nothing(instance, filled):
    key = "2012-05-25|T"
    result = materialize(instance, prices(lambda _: Slices(bars(set(), 2.0), failed={key: "no source"})), key)
    assert not result.success
    assert closes(filled) == dict.fromkeys(cells(SESSIONS, NAMES), 1.0)
    assert landed_cells(instance, "tt_prices", result.run_id) == {}


def test_a_frame_with_a_row_outside_the_run_is_refused_and_nothing_changes(instance, filled):
    frame = bars({"2012-05-25|T", "2012-05-29|T"}, 2.0)
    result = materialize(instance, prices(lambda _: frame), "2012-05-25|T")
    assert not result.success
    assert "1 of 2 rows lie outside the partitions being written, the first is T at 2012-05-29" in failure_text(
        result, "tt_prices"
    )
    assert closes(filled) == dict.fromkeys(cells(SESSIONS, NAMES), 1.0)


def test_a_small_run_shows_a_preview_and_a_large_one_does_not(instance, connected):
    asset = prices(lambda selection: bars(set(selection.keys), 7.25))
    small = materialize(instance, asset, "2012-05-25|T")
    large = materialize(instance, asset, f"{SESSIONS[0]}|MSFT", f"{SESSIONS[-1]}|A")
    assert "7.25" in landed_cells(instance, "tt_prices", small.run_id)["2012-05-25|T"]["preview"]
    assert all("preview" not in said for said in landed_cells(instance, "tt_prices", large.run_id).values())


def test_the_preview_stands_once_and_behind_the_pictures(instance, connected):
    chosen = cells(SESSIONS[:2], ["T"])
    made = prices(lambda _: Slices(bars(chosen, 7.25), of_the_run={"candles": "picture"}))
    result = materialize(instance, made, f"{SESSIONS[0]}|T", f"{SESSIONS[1]}|T")
    # On the partition whose event comes last, which is what the asset's page shows; Dagster orders them as it likes.
    one, other = (list(landed_cells(instance, "tt_prices", result.run_id)[f"{day}|T"]) for day in SESSIONS[:2])
    without, shown = (one, other) if "preview" in other else (other, one)
    assert {"preview", "candles"}.isdisjoint(without)
    assert shown.index("candles") < shown.index("preview")


def test_dagster_counts_the_landed_cells_as_materialized_and_the_others_as_failed(postgres_instance, connected):
    postgres_instance.add_dynamic_partitions("instrument", ["T", "AA"])
    chosen = cells(SESSIONS[:3], ["T", "AA"])
    bad = {"2012-05-24|AA": "close is NaN"}
    result = materialize(
        postgres_instance,
        prices(lambda _: Slices(bars(chosen - set(bad), 1.0), failed=bad)),
        "2012-05-23|T",
        "2012-05-25|AA",
    )
    assert not result.success
    with_it = partition_counts(postgres_instance, "tt_prices", GRID)
    assert (with_it[0], with_it[2]) == (5, 1)

    repaired = materialize(postgres_instance, prices(lambda _: bars(set(bad), 1.0)), "2012-05-24|AA")
    assert repaired.success
    after = partition_counts(postgres_instance, "tt_prices", GRID)
    assert (after[0], after[2]) == (6, 0)
    assert sum(after) == sum(with_it)


def test_only_a_grid_of_dates_and_instruments_is_translated():
    with pytest.raises(TypeError, match="date × instrument partitions expected"):
        selection_of(dg.StaticPartitionsDefinition(["a"]), ["a"])
    no_time = dg.MultiPartitionsDefinition(
        {"date": dg.StaticPartitionsDefinition(["x"]), "instrument": instrument_partitions}
    )
    with pytest.raises(TypeError, match="must be time windows"):
        selection_of(no_time, ["x|A"])


def test_a_key_is_split_at_its_first_bar_into_date_and_instrument():
    selection = selection_of(GRID, ["2012-05-25|BRK B"])
    assert selection.instruments.tolist() == ["BRK B"]
    assert selection.starts[0].astype("datetime64[s]").item() == datetime(2012, 5, 25)
    assert selection.ends[0].astype("datetime64[s]").item() == datetime(2012, 5, 26)


def test_the_market_tables_are_the_ones_this_manager_is_for():
    assert set(MARKET_TABLES) | {"tt_policy"} == {
        name
        for name in TABLES
        if "episode_id" not in TABLES[name].columns and name not in ("tt_episode", "tt_holdings")
    }


def restated(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> dict[str, dict]:
    said = landed_cells(instance, "tt_prices", result.run_id)
    return {key: metadata[RESTATED] for key, metadata in said.items() if RESTATED in metadata}


def test_cells_whose_stored_rows_change_say_so_and_no_others(instance, filled):
    everything = cells(SESSIONS, NAMES)
    changed = {"2012-05-25|T", "2012-06-01|A"}
    new = pd.concat([bars(everything - changed, 1.0), bars(changed, 2.0)])
    asset = prices(lambda _: Slices(new, causes={"T": REVISION}))
    result = materialize(instance, asset, f"{SESSIONS[0]}|MSFT", f"{SESSIONS[-1]}|A")
    assert result.success
    found = restated(instance, result)
    assert set(found) == changed
    old, now = (dict.fromkeys(("open", "high", "low", "close"), c) | {"volume": 1.0} for c in (1.0, 2.0))
    assert (found["2012-05-25|T"]["was"], found["2012-05-25|T"]["now"]) == (old, now)
    assert {key: said["cause"] for key, said in found.items()} == {
        "2012-05-25|T": "revision",
        "2012-06-01|A": "source changed",
    }
    again = materialize(instance, asset, f"{SESSIONS[0]}|MSFT", f"{SESSIONS[-1]}|A")
    assert restated(instance, again) == {}


def test_rows_outside_the_run_replace_stored_ones_and_are_materialized_as_their_own_cells(instance, filled):
    elsewhere = {"2012-05-23|T", "2012-05-24|T", "2012-05-30|AA"}
    same = {"2012-05-31|T"}
    rows = pd.concat([bars(elsewhere, 3.0), bars(same, 1.0)])
    asset = prices(lambda _: Slices(bars({"2012-06-01|T"}, 2.0), elsewhere=rows, causes={"T": readjusted(3.0)}))
    result = materialize(instance, asset, "2012-06-01|T")

    assert result.success
    expected = dict.fromkeys(cells(SESSIONS, NAMES), 1.0) | dict.fromkeys(elsewhere, 3.0) | {"2012-06-01|T": 2.0}
    assert closes(filled) == expected
    said = landed_cells(instance, "tt_prices", result.run_id)
    assert set(said) == elsewhere | {"2012-06-01|T"}  # a cell rewritten with what it held is no news
    found = restated(instance, result)
    assert set(found) == set(said)
    assert (found["2012-05-23|T"]["cause"], found["2012-05-23|T"]["ratio"]) == ("readjusted", 3.0)
    assert found["2012-05-30|AA"]["cause"] == "source changed"
    assert {metadata["dagster/row_count"] for metadata in said.values()} == {1}
    event = instance.get_latest_materialization_event(dg.AssetKey("tt_prices")).asset_materialization
    assert event.partition == "2012-06-01|T"  # Dagster's own event comes after the ones of other cells
    assert event.tags["dagster/data_version"] == said["2012-06-01|T"]["digest"]
    alone = materialize(instance, prices(lambda _: bars({"2012-05-23|T"}, 3.0)), "2012-05-23|T")
    assert landed_cells(instance, "tt_prices", alone.run_id)["2012-05-23|T"]["digest"] == said["2012-05-23|T"]["digest"]
    assert "T: 3 stored bars changed (readjusted" in said["2012-06-01|T"]["restatements"]


def test_rows_outside_the_run_land_also_where_a_cell_of_the_run_fails(instance, filled):
    bad = {"2012-06-01|T": "not closed yet"}
    slices = Slices(bars(set(), 1.0), failed=bad, elsewhere=bars({"2012-05-31|T"}, 3.0), causes={})
    result = materialize(instance, prices(lambda _: slices), "2012-06-01|T")
    assert not result.success
    assert closes(filled)["2012-05-31|T"] == 3.0
    assert closes(filled)["2012-06-01|T"] == 1.0
    assert set(restated(instance, result)) == {"2012-05-31|T"}


def test_rows_before_the_first_partition_are_written_and_reported_as_no_partition(instance, filled):
    stray = bars({"2012-04-02|T"}, 1.0)
    SliceStore(filled, TABLES["tt_prices"]).write(selection_of(GRID, ["2012-04-02|T"]), stray)
    slices = Slices(bars({"2012-06-01|T"}, 2.0), elsewhere=bars({"2012-04-02|T", "2012-05-23|T"}, 3.0), causes={})
    result = materialize(instance, prices(lambda _: slices), "2012-06-01|T")
    assert result.success
    assert (closes(filled)["2012-04-02|T"], closes(filled)["2012-05-23|T"]) == (3.0, 3.0)
    assert set(landed_cells(instance, "tt_prices", result.run_id)) == {"2012-05-23|T", "2012-06-01|T"}


def test_a_month_outside_the_run_keeps_the_sessions_that_did_not_change(instance, filled):
    june = {key for key in cells(SESSIONS, ["T"]) if key.startswith("2012-06")}
    slices = Slices(bars(june, 2.0), elsewhere=bars({"2012-05-25|T"}, 3.0), causes={"T": REVISION})
    result = materialize(instance, prices(lambda _: slices, MONTHS), "2012-06-01|T")
    assert result.success
    expected = dict.fromkeys(cells(SESSIONS, NAMES), 1.0) | dict.fromkeys(june, 2.0) | {"2012-05-25|T": 3.0}
    assert closes(filled) == expected
    said = landed_cells(instance, "tt_prices", result.run_id)
    assert {key: metadata["dagster/row_count"] for key, metadata in said.items()} == {
        "2012-05-01|T": 6,
        "2012-06-01|T": 1,
    }
    found = restated(instance, result)["2012-05-01|T"]
    assert (found["session"], found["changed"], found["now"]["close"]) == ("2012-05-25", 1, 3.0)


def test_a_write_that_fails_leaves_the_run_s_cells_and_the_ones_outside_it_as_they_were(instance, filled):
    broken = bars({"2012-05-25|T"}, 3.0).assign(low=-1.0)  # the table's own CHECK refuses it in the middle of the COPY
    slices = Slices(bars({"2012-06-01|T"}, 2.0), elsewhere=broken, causes={})
    assert not materialize(instance, prices(lambda _: slices), "2012-06-01|T").success
    assert closes(filled) == dict.fromkeys(cells(SESSIONS, NAMES), 1.0)
