"""`tt up` and then nothing: files change, the daemon dies, and the tables follow without a hand on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tt_assets.market.calendar import sessions
from tt_assets.tables import MARKET_TABLES
from tt_assets_tests.e2e.command_line import Machine, Ui, free_port, machine, serve, wait_until
from tt_assets_tests.made_bars import made_bars

pytestmark = pytest.mark.slow

DAYS = sessions(pd.Timestamp("2020-01-02").date(), pd.Timestamp("2020-12-31").date())
STOCKED = 195
"""Sessions in the file at first: into the last quarter, whose agents train on the three before."""
CHANGED = 155
FEATURE_REACH, SCORE_REACH = 20, 39


@dataclass
class Watched:
    """A machine whose sensors run, and the files they look at."""

    here: Machine
    folder: Path
    bars: pd.DataFrame

    def write(self, sessions_in_file: int, *names: str) -> None:
        """The bars file with this many sessions of the named instruments, put in its place in one step."""
        told = self.bars[self.bars["instrument"].isin(names) & (self.bars["timestamp"] < DAYS[sessions_in_file])]
        told.to_parquet(self.folder / "new.parquet")
        (self.folder / "new.parquet").replace(self.folder / "bars.parquet")

    def follow(self, *lines: str) -> None:
        """The watchlist, put in its place in one step."""
        (self.folder / "new.csv").write_text("\n".join(["symbol,portfolio", *lines, ""]))
        (self.folder / "new.csv").replace(self.folder / "watchlist.csv")

    def landed(self) -> dict[str, int]:
        """Rows of tt_prices by instrument."""
        return dict(self.here.rows("SELECT instrument, count(*) FROM tt_prices GROUP BY 1"))

    def ends(self, table: str) -> dict[str, pd.Timestamp]:
        """Last session of each instrument in `table`."""
        return dict(self.here.rows(f"SELECT instrument, max(timestamp) FROM {table} GROUP BY 1"))

    def fresh(self, last: int, *names: str) -> bool:
        """Whether the market tables and the episodes of the open window reach session number `last`."""
        wanted = dict.fromkeys(names, DAYS[last].to_pydatetime())
        return all(self.ends(table) == wanted for table in MARKET_TABLES) and self.rolled() == [
            (DAYS[last].to_pydatetime(),)
        ]

    def rolled(self) -> list[tuple[object, ...]]:
        """End of the portfolio's cash episode, which nothing stops early."""
        return self.here.rows("SELECT end_time FROM tt_episode WHERE strategy = 'cash' AND instrument = 'both'")

    def cells(self, since: int) -> dict[str, set[tuple[str, str]]]:
        """(session, instrument) of every materialization after the event number `since`, by table."""
        found: dict[str, set[tuple[str, str]]] = {}
        for key, partition in self.here.rows(
            "SELECT asset_key, partition FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' "
            f"AND id > {since}",
            "dagster",
        ):
            day, _, name = partition.partition("|")
            found.setdefault(key.strip('[]"'), set()).add((day, name))
        return found

    def last_event(self) -> int:
        return int(self.here.rows("SELECT max(id) FROM event_logs", "dagster")[0][0])

    def idle(self) -> bool:
        """Whether no run waits or goes on."""
        ended = "('SUCCESS', 'FAILURE', 'CANCELED')"
        return self.here.rows(f"SELECT count(*) FROM runs WHERE status NOT IN {ended}", "dagster") == [(0,)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("files")
    settings = {
        "TT_AUTOMATION": "true",
        "TT_SENSOR_INTERVAL": "1",
        "TT_BARS_PATH": str(folder / "bars.parquet"),
        "TT_WATCHLIST": str(folder / "watchlist.csv"),
        "TT_START_DATE": "2020-01-01",
        "TT_END_DATE": "2020-12-31",
        "TT_TRAIN_STEPS": "64",
        "TT_SEEDS": "1",
        "TT_VALIDATION_SESSIONS": "0",
        "TT_BASELINES": "cash",
    }
    with machine(**settings) as here:
        yield Watched(here, folder, made_bars(["ONE", "TWO", "NEW"], DAYS, 11))


@pytest.fixture(scope="module")
def served(watched: Watched) -> Callable[[], Ui]:
    """Have `tt up` running; a call starts it again if it was stopped."""
    watched.write(STOCKED, "ONE", "TWO")
    watched.follow("ONE,both", "TWO,both")
    running: list[Ui] = []

    def up() -> Ui:
        if not running or running[-1].owner.poll() is not None:
            running.append(serve(watched.here, free_port()))
        return running[-1]

    return up


def test_a_fresh_machine_fills_itself(watched: Watched, served: Callable[[], Ui]) -> None:
    served()
    wait_until(lambda: _is_there(watched) and watched.fresh(STOCKED - 1, "ONE", "TWO"))
    wait_until(lambda: (watched.here.home / "reports" / "both.html").exists())
    _no_cell_twice(watched)


def test_a_new_session_and_a_new_instrument_land_though_the_platform_is_killed_in_the_middle(
    watched: Watched, served: Callable[[], Ui]
) -> None:
    ui = served()
    wait_until(watched.idle)
    before, policies = watched.last_event(), watched.here.rows("SELECT id, sha256 FROM tt_policy ORDER BY id")
    watched.write(STOCKED + 1, "ONE", "TWO", "NEW")
    watched.follow("ONE,both", "TWO,both", "NEW,")
    wait_until(lambda: not watched.idle(), every=0.05)
    for process in ui.family():
        process.kill()
    ui.owner.kill()
    ui.owner.communicate()
    served()
    wait_until(lambda: watched.fresh(STOCKED, "ONE", "TWO", "NEW"))
    wait_until(watched.idle)
    session = f"{DAYS[STOCKED]:%Y-%m-%d}"
    wanted = {(session, "ONE"), (session, "TWO"), *((f"{day:%Y-%m-%d}", "NEW") for day in DAYS[: STOCKED + 1])}
    cells = watched.cells(before)
    assert [cells[table] for table in MARKET_TABLES] == [wanted] * 3
    assert watched.landed()["NEW"] == STOCKED + 1
    assert watched.here.rows("SELECT id, sha256 FROM tt_policy ORDER BY id") == policies
    assert "tt_policy" not in cells


def test_a_changed_bar_refreshes_what_looks_back_over_it_and_the_episodes_that_traded_it(
    watched: Watched, served: Callable[[], Ui]
) -> None:
    served()
    wait_until(watched.idle)
    before = watched.last_event()
    place = (watched.bars["instrument"] == "ONE") & (watched.bars["timestamp"] == DAYS[CHANGED])
    watched.bars.loc[place, ["high", "close"]] *= 1.01
    watched.write(STOCKED + 1, "ONE", "TWO", "NEW")
    wait_until(lambda: "tt_episode" in watched.cells(before))
    wait_until(watched.idle)
    cells = watched.cells(before)
    reached = [f"{day:%Y-%m-%d}" for day in DAYS[CHANGED : STOCKED + 1]]
    assert cells["tt_prices"] == {(reached[0], "ONE")}
    assert cells["tt_features"] == {(day, "ONE") for day in reached[: FEATURE_REACH + 1]}
    assert cells["tt_signal_scores"] == {(day, "ONE") for day in reached[: SCORE_REACH + 1]}
    assert cells["tt_episode"] == {("2020-10-01", "both")}
    assert "tt_policy" not in cells
    (reason,) = {reason for (reason,) in watched.here.rows(
        "SELECT value FROM run_tags JOIN runs USING (run_id) WHERE key = 'tt/reason' AND value LIKE 'changed bar%'",
        "dagster",
    )}  # fmt: skip
    assert f"{DAYS[CHANGED]:%Y-%m-%d} ONE" in reason
    assert "close was" in reason


def _is_there(watched: Watched) -> bool:
    return watched.here.rows("SELECT to_regclass('tt_episode')")[0][0] is not None


def _no_cell_twice(watched: Watched) -> None:
    """Every market cell was made once."""
    assert watched.here.rows(
        "SELECT asset_key, partition, count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' "
        "AND asset_key IN ('[\"tt_prices\"]', '[\"tt_features\"]', '[\"tt_signal_scores\"]') "
        "GROUP BY 1, 2 HAVING count(*) > 1",
        "dagster",
    ) == []  # fmt: skip
