"""Pictures of runs: which partitions carry them, where they lie, and that they never cost a run."""

import base64
import hashlib
import os
import re

import dagster as dg
import pytest

from tt_assets.assets import market_pictures, pictures
from tt_assets.assets.agent_pictures import learning_pictures
from tt_assets.assets.pictures import picture
from tt_assets.automation.jobs import MARKET_JOB
from tt_assets.runs.bulk import materialize
from tt_assets.runs.io_managers import with_pictures
from tt_assets_tests.assets.sample_window import AGENTS, WINDOW, sample_window
from tt_assets_tests.dagster_runs import current_definitions, landed_cells, run_job, served_log

MARKET = ["tt_prices", "tt_features", "tt_signal_scores"]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TT_DAGSTER_LOGS", str(tmp_path / "logs"))
    return tmp_path / "logs" / "pictures"


def test_a_picture_is_a_file_that_the_webserver_serves_kept_once(folder):
    shown = picture("A chart", PNG + b"1").value
    name = re.fullmatch(r"!\[A chart\]\(/logs/pictures/([0-9a-f]{32})/png\)", shown).group(1)
    assert (folder / f"{name}.png").read_bytes() == PNG + b"1"
    assert picture("A chart", PNG + b"1").value == shown
    assert picture("A chart", PNG + b"2").value != shown
    assert len(list(folder.iterdir())) == 2


def test_pictures_drawn_longest_ago_go_when_there_are_too_many_and_one_drawn_again_stays(folder, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 3 * 1_000)
    folder.mkdir(parents=True)
    for age, name in enumerate(("again", "newer", "older", "oldest")):
        content = PNG + name.encode().ljust(1_000 - len(PNG))
        file = folder / f"{hashlib.sha256(content).hexdigest()[:32]}.png"
        file.write_bytes(content)
        os.utime(file, times=(1_000_000 - age, 1_000_000 - age))
    kept = {name: PNG + name.encode().ljust(1_000 - len(PNG)) for name in ("again", "newer", "new")}
    picture("drawn again", kept["again"])
    picture("new", kept["new"])
    assert sorted(file.read_bytes() for file in folder.iterdir()) == sorted(kept.values())


def test_dagster_s_webserver_looks_where_the_picture_lies(folder):
    shown = picture("A chart", PNG).value
    *key, extension = re.search(r"\(/logs/(.*)\)", shown).group(1).split("/")  # as its /logs endpoint takes it apart
    assert served_log(folder.parent, key, extension) == str(next(folder.iterdir()))


def test_outside_the_platform_s_processes_a_picture_is_part_of_the_metadata(monkeypatch):
    monkeypatch.delenv("TT_DAGSTER_LOGS", raising=False)
    shown = picture("A chart", PNG).value
    assert base64.b64decode(shown.removeprefix("![A chart](data:image/png;base64,").removesuffix(")")) == PNG


def test_entries_of_the_run_hang_on_the_last_partition_in_front_of_its_own():
    found = with_pictures({"a": {"rows": 1}, "b": {"rows": 2}}, {"a": {"chart": "A"}}, {"chart": "run"}, "b")
    assert found == {"a": {"chart": "A", "rows": 1}, "b": {"chart": "run", "rows": 2}}
    assert list(found["b"]) == ["chart", "rows"]
    assert with_pictures({"a": {}}, {"a": {"chart": "A"}}, {"chart": "run", "map": "M"}, "a") == {
        "a": {"chart": "A", "map": "M"}
    }


def test_a_run_draws_a_few_pictures_and_the_asset_s_page_shows_them(dagster_instance, connected, folder, monkeypatch):
    monkeypatch.setenv("TT_PICTURES", "2")
    assert run_job(dagster_instance, MARKET, "2012-05-14|AAPL", "2012-06-29|FB").success
    wanted = {"tt_prices": {"chart", "returns"}, "tt_features": {"heat_map"}, "tt_signal_scores": {"heat_map", "ic"}}
    for table, names in wanted.items():
        cells = landed_cells(dagster_instance, table)
        carrying = {key: names & set(said) for key, said in cells.items() if names & set(said)}
        latest = dagster_instance.get_latest_materialization_event(dg.AssetKey(table)).asset_materialization
        assert names <= set(latest.metadata), table
        assert latest.partition == max(cells) == "2012-06-29|MSFT"  # the page shows the latest session
        assert set(carrying) == {"2012-06-29|AAPL", "2012-06-29|MSFT"}
        assert all(found == names for found in carrying.values())
        assert all(len(str(latest.metadata[name].value)) < 1000 for name in names)  # the UI shows it in place
    assert len(list(folder.iterdir())) == 2 + 1 + 1 + 2  # two charts, the returns, two heat maps, the coefficients
    assert all(file.read_bytes().startswith(PNG) for file in folder.iterdir())


def test_of_the_runs_of_one_load_the_last_one_draws(dagster_instance, connected, folder, monkeypatch):
    monkeypatch.setenv("TT_PICTURES", "5")
    days, names = ["2012-05-30", "2012-05-31"], ["AAPL", "IBM", "MSFT"]
    job = current_definitions().resolve_job_def(MARKET_JOB)
    every = {(day, name) for day in days for name in names}
    outcome = materialize(dagster_instance, job, ["tt_prices"], every, days, names, most_cells=2)
    assert outcome.ok
    assert len(outcome.runs) == 3
    last = landed_cells(dagster_instance, "tt_prices", outcome.runs[-1])
    assert {key for key, said in landed_cells(dagster_instance, "tt_prices").items() if "chart" in said} <= set(last)
    assert "chart" in last[f"{days[-1]}|MSFT"]


def test_a_single_new_session_is_drawn_with_what_was_stored_before(dagster_instance, connected, folder, monkeypatch):
    assert run_job(dagster_instance, ["tt_prices"], "2012-05-01|AAPL", "2012-05-30|AAPL").success
    drawn = {}
    monkeypatch.setenv("TT_PICTURES", "1")
    monkeypatch.setattr(
        "tt_assets.report.market_plots.bars_plot", lambda bars, span, name, currency: drawn.update({name: bars}) or PNG
    )
    assert run_job(dagster_instance, ["tt_prices"], "2012-05-31|AAPL").success
    assert len(drawn["AAPL"]) == 22  # the sessions of May
    assert str(drawn["AAPL"]["timestamp"].max().date()) == "2012-05-31"


def test_a_picture_that_cannot_be_drawn_is_said_in_the_log_and_every_row_lands(
    dagster_instance, connected, folder, monkeypatch
):
    def broken(*_):
        raise ValueError("no ink")

    monkeypatch.setenv("TT_PICTURES", "2")
    monkeypatch.setattr("tt_assets.report.market_plots.bars_plot", broken)
    result = run_job(dagster_instance, ["tt_prices"], "2012-05-30|AAPL", "2012-05-31|AAPL")
    assert result.success
    assert len(landed_cells(dagster_instance, "tt_prices")) == 2
    said = [entry.user_message for entry in dagster_instance.all_logs(result.run_id) if entry.level >= 30]
    assert any("no ink" in text for text in said)


def test_without_pictures_nothing_is_drawn(dagster_instance, connected, monkeypatch):
    monkeypatch.setattr(market_pictures, "price_pictures", None)  # calling it would be said in the log
    result = run_job(dagster_instance, ["tt_prices"], "2012-05-31|AAPL")
    assert result.success
    assert [entry for entry in dagster_instance.all_logs(result.run_id) if entry.level >= 30] == []


def test_the_latest_windows_show_how_their_agents_learned(folder):
    config = '{"seed": 1, "training": {"curve": [[32, 0.1, 0.5], [64, 0.2, 0.7]], "checkpoint_steps": 64}}'
    windows = {f"2012-{month:02d}-01|AAPL": [config] for month in (1, 4, 7)}
    shown = learning_pictures(windows, 2, dg.build_asset_context().log)
    assert set(shown.metadata) == {"2012-04-01|AAPL", "2012-07-01|AAPL"}
    assert set(shown.of_the_run) == {"learning_curve"}
    assert learning_pictures(windows, 0, dg.build_asset_context().log).metadata == {}


OF_AGENTS = {
    "tt_policy": ["learning_curve"],
    "tt_equity_curve": ["equity", "drawdown"],
    "tt_portfolio": ["equity"],
    "tt_target_weights": ["weights"],
    "tt_episode": ["equity", "drawdown", "weights"],
}


def test_a_run_of_agents_shows_how_they_learned_and_did_in_its_latest_window(postgres, tmp_path, folder):
    quick = {"TT_TRAIN_STEPS": "512", "TT_TRAIN_WORKERS": "1", "TT_SEEDS": "1", "TT_BASELINES": "cash"}
    with sample_window(
        postgres, tmp_path / "home", ("AAPL",), **quick, TT_PICTURES="1", TT_DAGSTER_LOGS=str(folder.parent)
    ) as rolled:
        assert run_job(rolled.instance, AGENTS, f"{WINDOW}|AAPL").success
        for table in AGENTS:
            said = landed_cells(rolled.instance, table)[f"{WINDOW}|AAPL"]
            drawn = [name for name, value in said.items() if str(value).startswith("![")]
            assert drawn == OF_AGENTS.get(table, []), table
            for name in drawn:
                file = re.search(r"/logs/pictures/([0-9a-f]{32})/png", said[name]).group(1)
                assert (folder / f"{file}.png").read_bytes().startswith(PNG)
            if drawn:
                assert max(map(list(said).index, drawn)) < list(said).index("preview"), table
