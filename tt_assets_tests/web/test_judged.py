"""The scenarios of the Portfolio page are the curves that the latest report judged, whole or in one window."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tt_assets.assets.report import curves_file, report_file
from tt_assets.postgres.database import Database
from tt_assets.postgres.reader import prepared_reader
from tt_assets.report.labels import strategy_label
from tt_assets.settings import Settings
from tt_assets.web.dashboard import dashboard
from tt_assets.web.site import Site
from tt_assets_tests.web.filled import STEPS, TRADED, WINDOW, fill

DEAR, LATE = "costs-2-late-0", "costs-1-late-1"
WEALTH = {(1.0, 0): 1.00, (2.0, 0): 0.99, (1.0, 1): 1.03}
"""Growth of the ensemble a session, by cost multiple and delay; the yardstick keeps what it has."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    rows = [
        {
            "strategy": strategy,
            "seed": seed,
            "cost_multiple": multiple,
            "delay": delay,
            "timestamp": day,
            "wealth": growth**place if strategy == "ensemble" else 1.0 + 0.01 * seed * place,
        }
        for (multiple, delay), growth in WEALTH.items()
        for strategy, seed in (("ensemble", 0), ("agent", 1), ("agent", 2), ("equal_weight_hold", 0))
        for place, day in enumerate(pd.to_datetime(STEPS))
    ]
    file = curves_file(report_file(tmp_path, TRADED))
    file.parent.mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(file)
    return tmp_path


@pytest.fixture
def client(empty_tables: Database, home: Path) -> Iterator[TestClient]:
    fill(empty_tables)
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(Settings(home=home), prepared_reader(empty_tables), instance)
        yield TestClient(Starlette(routes=dashboard(site)), raise_server_exceptions=False)


def curve(client: TestClient, **chosen: str) -> list[dict[str, str]]:
    answer = client.get("/tt/portfolio", params={"of": TRADED, "csv": "equity", **chosen})
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize("window", ["all", WINDOW])
@pytest.mark.parametrize(("scenario", "growth"), [(DEAR, 0.99), (LATE, 1.03)])
def test_a_scenario_shows_what_was_judged_in_it(client: TestClient, scenario: str, growth: float, window: str) -> None:
    rows = curve(client, scenario=scenario, window=f"{window}")
    assert [row["date"] for row in rows] == [f"{day:%Y-%m-%d}" for day in STEPS]
    wanted = [(growth**place - 1.0) * 100.0 for place in range(len(STEPS))]
    np.testing.assert_allclose([float(row["Agents' mean action"]) for row in rows], wanted, atol=1e-9)
    assert {float(row[strategy_label("equal_weight_hold")]) for row in rows} == {0.0}
    seed = curve(client, scenario=scenario, window=f"{window}", seed="2")
    np.testing.assert_allclose(
        [float(row["Agent, seed 2"]) for row in seed], [2.0 * place for place in range(len(STEPS))], atol=1e-9
    )


def test_the_page_says_whose_figures_they_are_and_offers_each_scenario(client: TestClient) -> None:
    page = client.get("/tt/portfolio", params={"of": TRADED, "scenario": DEAR}).text
    assert "2× costs" in page
    assert "filled 1 session later" in page
    assert "those of the report of" in page
    assert "those of the report of" not in client.get("/tt/portfolio", params={"of": TRADED}).text
    assert client.get("/tt/portfolio", params={"of": TRADED, "scenario": "costs-9-late-9"}).status_code == 404


def test_without_a_report_or_with_a_broken_one_there_is_what_was_recorded(client: TestClient, home: Path) -> None:
    file = curves_file(report_file(home, TRADED))
    for content in (b"not parquet", None):
        file.unlink() if content is None else file.write_bytes(content)
        assert "Scenario" not in client.get("/tt/portfolio", params={"of": TRADED}).text
        assert client.get("/tt/portfolio", params={"of": TRADED, "scenario": DEAR}).status_code == 404
