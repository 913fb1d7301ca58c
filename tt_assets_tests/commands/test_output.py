"""What commands print: whole when piped, JSON where asked for, help for everything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tt_assets.cli import commands
from tt_assets.commands.printing import print_rows
from tt_assets.settings.variables import variables
from tt_assets_tests.commands.conftest import Tt


def _every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _every_command(command, (*path, name))


@pytest.mark.parametrize("path", list(_every_command(commands)), ids=" ".join)
def test_every_command_explains_itself(tt: Tt, path: tuple[str, ...]) -> None:
    told = tt(*path, "--help")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"Usage: tt {' '.join(path)}")
    assert "..." not in told.out.partition("Commands:")[2]  # no line of a list is cut


def test_the_list_of_commands_is_whole(tt: Tt) -> None:
    told = tt("--help")
    names = [line.split()[0] for line in told.out.partition("Commands:")[2].splitlines() if line.strip()]
    assert names == sorted(
        [
            "backfill",
            "bars",
            "cluster",
            "db",
            "demo",
            "doctor",
            "down",
            "env",
            "gateway",
            "grain",
            "holdings",
            "policies",
            "promote",
            "report",
            "settings",
            "signals",
            "status",
            "sweep",
            "train",
            "trials",
            "up",
            "watchlist",
        ]
    )
    assert "..." not in told.out.partition("Commands:")[2]


def test_settings_as_json_are_every_setting(tt: Tt) -> None:
    told = tt("settings", "--json", TT_TRAIN_STEPS="123")
    rows = {row["variable"]: row for row in json.loads(told.out)}
    assert set(rows) == {variable.name for variable in variables()}
    assert rows["TT_TRAIN_STEPS"]["value"] == "123"
    assert all(row["meaning"] for row in rows.values())


def test_a_long_value_is_neither_cut_nor_wrapped_in_a_pipe(tt: Tt, tmp_path: Path) -> None:
    path = tmp_path / ("long-" * 40) / "bars.csv"
    told = tt("settings", TT_BARS_PATH=str(path))
    assert any(str(path) in line for line in told.out.splitlines())


def test_the_watchlist_is_listed_as_a_table_and_as_json(tt: Tt, tmp_path: Path) -> None:
    path = tmp_path / "watchlist.csv"
    path.write_text("symbol,description,portfolio\nBRK B,Berkshire [class B],value;big\nIBM,,\n")
    listed = json.loads(tt("watchlist", "list", "--json", TT_WATCHLIST=str(path)).out)
    assert [row["symbol"] for row in listed] == ["BRK B", "IBM"]
    assert listed[0]["portfolios"] == ["value", "big"]
    table = tt("watchlist", "list", TT_WATCHLIST=str(path)).out
    assert "Berkshire [class B]" in table
    assert "value, big" in table


def test_the_state_of_a_stopped_embedded_server_is_told_with_exit_code_1(tt: Tt) -> None:
    told = tt("db", "status", "--json")
    state = json.loads(told.out)
    assert (told.code, state["server"], state["answers"], state["ready"]) == (1, "embedded", False, False)
    assert "tt db start" in state["reason"]


def test_down_and_stop_where_nothing_runs_say_so(tt: Tt) -> None:
    assert tt("down").out == "No `tt up` was running.\n"
    told = tt("db", "stop")
    assert (told.code, told.out) == (0, "No embedded server was running.\n")


LOOKING = """
import sys
import tt_assets.cli, tt_assets.runtime.platform, tt_assets.commands.database, tt_assets.grid.partitions
print(sorted({"pandas", "torch", "matplotlib", "tensortrade", "ib_insync"} & set(sys.modules)))
"""


def test_a_command_that_only_looks_imports_nothing_it_does_not_need() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOOKING], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


def test_a_long_text_folds_in_a_pipe_where_a_column_has_a_width(capsys: pytest.CaptureFixture[str]):
    print_rows([{"instrument": "AA", "reason": "one word " * 60}], "holdings", widest=40)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 70
    assert "".join(lines).count("word") == 60
