"""Partition keys against Dagster's own reading of them."""

import ast
from pathlib import Path

import dagster as dg
import pytest

import tt_assets
from tt_assets.grid.keys import BETWEEN, DATE, INSTRUMENT, CellKey, key_texts

GRID = dg.MultiPartitionsDefinition(
    {
        DATE: dg.StaticPartitionsDefinition(["2012-05-24", "2012-05-25"]),
        INSTRUMENT: dg.StaticPartitionsDefinition(["BRK B", "T"]),
    }
)


def test_a_key_reads_and_writes_what_dagster_does():
    for key in GRID.get_partition_keys():
        parsed = CellKey.parse(key)
        assert parsed._asdict() == dict(key.keys_by_dimension)
        assert (str(parsed), parsed.multi()) == (str(key), key)


def test_keys_are_ordered_by_date_then_instrument():
    keys = [CellKey("2012-05-25", "A"), CellKey("2012-05-24", "T"), CellKey("2012-05-24", "BRK B")]
    assert list(map(str, sorted(keys))) == ["2012-05-24|BRK B", "2012-05-24|T", "2012-05-25|A"]


def test_text_of_another_form_is_no_key():
    with pytest.raises(ValueError, match='"2012-05-24" is no partition key'):
        CellKey.parse("2012-05-24")
    assert [CellKey.find(text) for text in ("AAPL", "", None)] == [None, None, None]
    assert CellKey.find("2012-05-24|T") == ("2012-05-24", "T")


def test_many_keys_at_once_are_those_of_each():
    assert key_texts(["2012-05-24", "2012-05-25"], ["T", "BRK B"]) == ["2012-05-24|T", "2012-05-25|BRK B"]


def test_nobody_else_takes_keys_apart_or_puts_them_together():
    package = Path(tt_assets.__file__).parent
    places = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == BETWEEN
    }
    assert places == {"grid/keys.py", "report/figures.py"}  # the report escapes the sign in a table of Markdown
