"""Texts of events are Dagster's own, character by character, whichever way they were made."""

import math
from typing import Any

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value
from hypothesis import given
from hypothesis import strategies as st

from tt_assets.runs.event_text import FRACTION, MARK, NUMBER, event_texts

VALUES = (
    st.text().map(dg.MetadataValue.text)
    | st.integers(-(2**63), 2**63 - 1).map(dg.MetadataValue.int)
    | st.floats().map(dg.MetadataValue.float)
    | st.booleans().map(dg.MetadataValue.bool)
    | st.dictionaries(st.text(), st.integers()).map(dg.MetadataValue.json)
    | st.sampled_from([MARK, f'"{MARK}"', str(NUMBER), str(FRACTION)]).map(dg.MetadataValue.text)
    | st.sampled_from([dg.MetadataValue.int(NUMBER), dg.MetadataValue.float(FRACTION), dg.MetadataValue.int(None)])
)
SAID = st.fixed_dictionaries(
    {
        "partition": st.none() | st.text(min_size=1) | st.just(MARK),
        "metadata": st.dictionaries(st.text(min_size=1) | st.just(MARK), VALUES, max_size=5),
        "tags": st.dictionaries(st.text(), st.text(), max_size=3) | st.none(),
    }
)


@dg.asset
def told() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"rows": 7})


def stored_event() -> dg.EventLogEntry:
    """A materialization as a run of Dagster's stores it."""
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([told], instance=instance)
        return instance.fetch_materializations(told.key, limit=1).records[0].event_log_entry


EVENT = stored_event()


def saying(moment: float, said: dict[str, Any], description: str | None = None) -> dg.EventLogEntry:
    """EVENT at another moment, saying something else of another partition."""
    told_of = EVENT.get_dagster_event()
    specific = told_of.step_materialization_data
    made = specific.materialization._replace(**said, description=description)
    return EVENT._replace(
        timestamp=moment, dagster_event=told_of._replace(event_specific_data=specific._replace(materialization=made))
    )


@given(st.lists(st.tuples(st.floats(0, 4e9), SAID), min_size=1, max_size=6))
def test_texts_are_dagsters_own(batch):
    events = [saying(moment, said) for moment, said in batch]
    assert event_texts(events, serialize_value) == [serialize_value(event) for event in events]


def test_events_that_differ_in_anything_else_are_dagsters_own_as_well():
    said = {"partition": "2012-05-14|A", "metadata": {}, "tags": {}}
    events = [
        saying(1.5, said),
        saying(2.5, said, description="in other words"),
        saying(3.5, said)._replace(run_id="another", level=40),
        saying(4.5, said),
    ]
    assert event_texts(events, serialize_value) == [serialize_value(event) for event in events]


def many(count: int) -> list[dg.EventLogEntry]:
    return [
        saying(
            1.7e9 + number / 7,
            {
                "partition": f"2012-05-14|S{number}",
                "metadata": {
                    "digest": dg.MetadataValue.text(f"{number:032x}"),
                    "dagster/row_count": dg.MetadataValue.int(number),
                    "share": dg.MetadataValue.float(math.sqrt(number)),
                },
                "tags": {"dagster/partition/instrument": f"S{number}", "a": "b"},
            },
        )
        for number in range(count)
    ]


def test_events_alike_are_not_packed_one_by_one():
    packed = []

    def pack(event: dg.EventLogEntry) -> str:
        packed.append(event)
        return serialize_value(event)

    events = many(500)
    assert event_texts(events, pack) == list(map(serialize_value, events))
    assert len(packed) < 10


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda text: text.replace('"tags": ', '"labels": '),
        lambda text: text.replace("metadata_entries", "entries"),
        lambda text: text.replace(": ", ":"),
        lambda text: text.replace('"S3"', '"Three"'),
        lambda text: text[::-1],
    ],
)
def test_another_form_of_dagsters_is_written_as_dagster_writes_it(spoiled):
    def pack(event: dg.EventLogEntry) -> str:
        return spoiled(serialize_value(event))

    first, *rest = many(5)
    if spoiled('"S3"') == '"Three"':  # seen in the first text alone
        first, rest = rest[2], [first]
    assert event_texts([first, *rest], pack) == [pack(event) for event in [first, *rest]]
