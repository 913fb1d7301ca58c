"""The dashboard's pages: they answer whatever is asked, show what the tables hold, and cannot change a thing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

import dagster as dg
import numpy as np
import psycopg
import pytest
from scipy import stats
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tt_assets.assets.recorded_holdings import recorded_holdings
from tt_assets.postgres.arrow_frames import read_frames
from tt_assets.postgres.database import Database
from tt_assets.postgres.reader import READER, looking, prepared_reader
from tt_assets.report.charts import LIBRARY, LIBRARY_SHA256, Chart, Series
from tt_assets.settings import Settings
from tt_assets.tables import TABLES
from tt_assets.web.dashboard import PAGES, dashboard
from tt_assets.web.home import _made
from tt_assets.web.site import Site
from tt_assets_tests.conftest import empty
from tt_assets_tests.web.filled import DAYS, NAMES, REASON, RULE, STEPS, TRADED, WINDOW, fill

ROUTES = [address.replace("{table}", "tt_prices") for address in PAGES] + ["/tt/report", "/tt/static/tt.css", "/tt/no"]
PARAMETERS = {
    "/tt/portfolio": ("of", "window", "seed", "scenario", "csv"),
    "/tt/episode": ("id", "instrument", "step"),
    "/tt/instrument": ("of", "span", "feature", "signal"),
    "/tt/partitions": ("table",),
    "/tt/partition/tt_prices": ("key", "table"),
    "/tt/quality": ("span",),
    "/tt/trials": ("a", "b"),
    "/tt/report": ("of",),
}
HOSTILE = (
    "", " ", "'", '"', "' OR 1=1 --", "%s", "{}", "\x00", "a\x00b", "\n", "-1", "0", "1e309", "9" * 30, "NaN",
    "x" * 5000,
    "../../etc/passwd", "..%2f", "<script>alert(1)</script>", "2012-02-30|AAPL", "2012-05-18|", "|", "99999-01-01|AAPL",
    "2012-05-18|AAPL|x", "٣", "\ud7ff", "\U0010ffff", "null", "all", "mean", "2012-04-01", "$1", "\\", "%", "a" * 199,
)  # fmt: skip


@pytest.fixture(scope="module")
def site(postgres: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    empty(postgres)
    fill(postgres)
    home = tmp_path_factory.mktemp("home")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Site(Settings(home=home), prepared_reader(postgres), instance)
    empty(postgres)


@pytest.fixture(scope="module")
def client(site: Site) -> TestClient:
    return TestClient(Starlette(routes=dashboard(site)), raise_server_exceptions=False)


@pytest.mark.parametrize("route", ROUTES)
def test_whatever_is_asked_there_is_an_answer(client: TestClient, route: str) -> None:
    for name in PARAMETERS.get(route, ("of",)):
        for value in HOSTILE:
            answer = client.get(route, params={name: value})
            assert answer.status_code in (200, 404), (route, name, value, answer.text[:300])
            assert "<script>alert" not in answer.text
    answer = client.get(route, params=[("of", TRADED), ("of", "x"), ("window", "%00"), ("id", "1")])
    assert answer.status_code in (200, 404)


@pytest.mark.parametrize(
    "table", ["tt_prices", "tt_policy", "tt_holdings", "tt_slice", "pg_shadow", "x' --", "%00", "a" * 999]
)
def test_a_partition_of_any_table_has_an_answer(client: TestClient, table: str) -> None:
    for key in ("2012-05-18|AAPL", f"{WINDOW}|{TRADED}", *HOSTILE):
        assert client.get(f"/tt/partition/{quote(table)}", params={"key": key}).status_code in (200, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pages_are_asked_by_get_alone(client: TestClient, method: str) -> None:
    for route in ROUTES:
        assert client.request(method, route).status_code == 405


def test_pages_of_empty_tables_say_what_to_run(empty_tables: Database, tmp_path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(Settings(home=tmp_path), prepared_reader(empty_tables), instance)
        fresh = TestClient(Starlette(routes=dashboard(site)), raise_server_exceptions=False)
        for route in ROUTES:
            assert fresh.get(route).status_code in (200, 404), route
        assert "tt demo" in fresh.get("/tt").text
        assert "tt backfill" in fresh.get("/tt/instrument").text
    fill(empty_tables)  # as the other tests of this module have them


def test_every_page_is_strict_and_embeds_no_word_of_the_tables(client: TestClient) -> None:
    for address in (
        "/tt",
        f"/tt/portfolio?of={quote(TRADED)}",
        "/tt/episode",
        "/tt/instrument?of=AAPL",
        "/tt/partitions",
    ):
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "<script>alert" not in answer.text
        assert re.search(r'\sstyle="|\son\w+="', answer.text) is None
        assert 'src="http' not in answer.text


@pytest.mark.parametrize("value", HOSTILE)
def test_the_way_to_dagster_leads_nowhere_else(client: TestClient, value: str) -> None:
    for name in ("table", "from", "to", "instruments"):
        asked = {"table": "tt_prices", "from": "2012-05-01", name: value}
        answer = client.get("/tt/make", params=asked, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(("/assets/tt_prices?", "/tt"))


def test_the_curve_of_a_portfolio_is_that_of_the_tables(client: TestClient, postgres: Database) -> None:
    answer = client.get("/tt/portfolio", params={"of": TRADED, "seed": "1", "csv": "equity"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    with postgres.connect() as connection:
        stored = connection.execute(
            "SELECT c.net_worth FROM tt_equity_curve AS c JOIN tt_episode AS e ON e.id = c.episode_id "
            "WHERE e.strategy = 'agent' AND e.seed = 1 ORDER BY c.timestamp"
        ).fetchall()
    wanted = [(worth / 10_000.0 - 1) * 100 for (worth,) in stored]
    assert [row["date"] for row in rows] == [f"{day:%Y-%m-%d}" for day in STEPS]
    np.testing.assert_allclose([float(row["Agent, seed 1"]) for row in rows], wanted, atol=1e-9)


def test_all_agents_together_are_their_mean_action_as_it_was_rolled(client: TestClient) -> None:
    answer = client.get("/tt/portfolio", params={"of": TRADED, "csv": "equity"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    wanted = [0.5 * at for at in range(len(STEPS))]  # the made-up books of the mean action, not of the seeds' mean
    np.testing.assert_allclose([float(row["Agents' mean action"]) for row in rows], wanted, atol=1e-9)
    assert "mean action of 2 agents" in client.get("/tt").text
    assert f"{wanted[-1]:+.1f} %" in client.get("/tt").text


def test_what_to_hold_is_what_tt_holdings_says(client: TestClient, postgres: Database) -> None:
    found = recorded_holdings(partial(read_frames, postgres), TRADED, (), None, 10_000.0)
    assert f"{found.session}" == f"{STEPS[-2]:%Y-%m-%d}"
    page = client.get("/tt").text
    assert f"Decided {found.session}" in page
    assert "Held by: mean action of 2 agents." in page
    assert {own.instrument: own.weight for own in found.positions} == pytest.approx(
        {**dict.fromkeys(NAMES, 0.4), "CASH": 0.2}
    )
    for own in found.positions:
        assert f'<th scope="row">{own.instrument}</th><td>{100 * own.weight:.1f}</td><td>0.0</td>' in page


def test_who_holds_is_said_of_the_newest_window_whatever_the_curve_of_all_is(
    client: TestClient, postgres: Database
) -> None:
    earlier = DAYS[: DAYS.index(STEPS[0])]
    with postgres.connect() as connection:
        for seed in (0, 1):
            connection.execute(
                "WITH made AS (INSERT INTO tt_episode (window_start, instrument, strategy, seed, start_time, end_time, "
                "stop_reason, max_drawdown, sharpe_ratio, turnover, config_json) SELECT '2012-01-01', instrument, "
                "'agent', %s, %s, %s, stop_reason, 0.1, 1.0, 0.05, config_json FROM tt_episode "
                "WHERE strategy = 'ensemble' RETURNING id) INSERT INTO tt_equity_curve (episode_id, timestamp, "
                "net_worth) SELECT made.id, day, 10000 FROM made, unnest(%s::timestamp[]) AS day",
                [seed, earlier[0], earlier[-1], earlier],
            )
    try:
        page = client.get("/tt").text
        assert f"mean of 2 agents, out of sample {earlier[0]:%Y-%m-%d}" in page
        assert "Held by: mean action of 2 agents." in page
    finally:
        with postgres.connect() as connection:
            connection.execute("DELETE FROM tt_episode WHERE window_start = '2012-01-01'")


def test_coefficients_are_spearman_s(client: TestClient, postgres: Database) -> None:
    with postgres.connect() as connection:
        closes = connection.execute(
            "SELECT timestamp, close::float FROM tt_prices WHERE instrument = 'AAPL' ORDER BY 1"
        ).fetchall()
        scores = dict(
            connection.execute(
                "SELECT timestamp, score::float FROM tt_signal_scores WHERE instrument = 'AAPL'"
            ).fetchall()
        )
    page = client.get("/tt/instrument", params={"of": "AAPL"}).text
    for ahead in (1, 5, 20):
        pairs = [
            (scores[day], closes[place + ahead][1] / close - 1.0)
            for place, (day, close) in enumerate(closes)
            if day in scores and place + ahead < len(closes)
        ]
        found = stats.spearmanr(*zip(*pairs, strict=True)).statistic
        error = (len(pairs) / ahead) ** -0.5
        assert f"{found:+.3f} ± {error:.3f}" in page or f"– ± {error:.3f}" in page


def test_contribution_costs_and_trading_are_fractions_of_the_net_worth_before(client: TestClient) -> None:
    # 10 are held throughout; bought 10 at 11 in the second session, sold 4 at 11 in the seventh, for 3 each.
    page = client.get("/tt/portfolio", params={"of": TRADED}).text
    before = [10_000.0 * (1 + 0.005 * at) for at in range(len(STEPS))]
    first = DAYS.index(STEPS[0])
    flows = {1: -10 * 11 - 3, 6: 4 * 11 - 3}
    for number in (1, 2):
        close = [10.0 * number + place % 7 + 0.5 for place in range(first, len(DAYS))]
        earned = sum(
            (10 * (close[at] - close[at - 1]) + flows.get(at, 0)) / before[at - 1] for at in range(1, len(STEPS))
        )
        assert f"{100 * earned:+.2f} %" in page
    paid = 2 * 3 * (1 / before[0] + 1 / before[5])
    traded = 2 * 11 * (10 / before[0] + 4 / before[5]) / 2 / (len(STEPS) - 1)
    assert f"{100 * paid:.2f} % of net worth, all sessions" in page.replace("</b><small>", " ")
    assert f"<b>{100 * traded:.1f} %</b><small>of net worth a session" in page.replace('<b class="">', "<b>")


def test_a_baseline_that_draws_is_one_account_as_in_the_report(client: TestClient, postgres: Database) -> None:
    with postgres.connect() as connection:
        for seed in (0, 1):
            connection.execute(
                "WITH made AS (INSERT INTO tt_episode (window_start, instrument, strategy, seed, start_time, end_time, "
                "stop_reason, max_drawdown, sharpe_ratio, turnover, config_json) SELECT window_start, instrument, "
                "'random', %s, start_time, end_time, stop_reason, 0.1, 1.0, 0.05, config_json FROM tt_episode "
                "WHERE strategy = 'ensemble' RETURNING id) INSERT INTO tt_equity_curve (episode_id, timestamp, "
                "net_worth) SELECT made.id, day, 10000 * (1 - 0.1 * (%s + 1) * (at - 1)) FROM made, "
                "unnest(%s::timestamp[]) WITH ORDINALITY AS days(day, at)",
                [seed, seed, STEPS[:2]],
            )
    try:
        answer = client.get("/tt/portfolio", params={"of": TRADED, "csv": "equity"})
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert float(rows[-1]["Random weights, one draw"]) == pytest.approx(-10.0)
    finally:
        with postgres.connect() as connection:
            connection.execute("DELETE FROM tt_episode WHERE strategy = 'random'")


def test_a_step_says_what_was_wanted_and_done(client: TestClient) -> None:
    page = client.get("/tt/episode", params={"id": "1", "instrument": "BRK B", "step": f"{STEPS[0]:%Y-%m-%d}"}).text
    assert "buy 10.000 at 11.00" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "return_1 t" in page


def test_a_decision_on_promotion_shows_each_rule(client: TestClient) -> None:
    page = client.get("/tt/trials").text
    assert all(text in page for text in ("not promoted", "p 0.3", "p 0.05", RULE))
    assert "not promoted" in client.get("/tt").text


def test_a_failed_partition_says_why(client: TestClient) -> None:
    page = client.get("/tt/partition/tt_prices", params={"key": f"{DAYS[3]:%Y-%m-%d}|BRK B"}).text
    assert REASON in page
    told = json.loads(re.search(r'id="matrix-told">(.*?)</script>', client.get("/tt/partitions").text).group(1))
    assert told["instruments"] == list(NAMES)
    assert told["lines"][0][:7] == "dddfdsd"


def test_the_reader_can_read_and_nothing_else(site: Site) -> None:
    refused = (
        "INSERT INTO tt_prices (instrument) VALUES ('X')", "DELETE FROM tt_prices", "CREATE TABLE x (a int)",
        "CREATE TEMP TABLE x (a int)", "SELECT pg_read_file('/etc/passwd')", "COPY tt_prices TO '/tmp/x'",
        "COPY (SELECT 1) TO PROGRAM 'id'", "SET ROLE postgres", "SELECT lo_creat(-1)", "SELECT pg_ls_dir('/')",
        "SET SESSION AUTHORIZATION postgres", "SELECT nextval('tt_slice_fetch')", "SELECT rolpassword FROM pg_authid",
    )  # fmt: skip
    for statement in refused:
        with looking(site.database) as connection, pytest.raises(psycopg.Error) as raised:
            connection.execute(statement)
        assert not isinstance(raised.value, psycopg.errors.SyntaxError), statement
    with looking(site.database) as connection:
        assert connection.execute("SELECT current_user, session_user").fetchone() == (READER, READER)
        assert connection.execute("SELECT count(*) FROM tt_prices").fetchone() == (len(DAYS) * 2,)
    with site.database.connect(autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")  # anybody may; the tables are closed all the same
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO tt_prices (instrument) VALUES ('X')")


def test_a_statement_that_takes_too_long_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from tt_assets.postgres import reader

    monkeypatch.setattr(reader, "STATEMENT_LIMIT", 100)
    with looking(site.database) as connection, pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(30)")


def test_the_library_of_charts_is_the_one_that_was_published() -> None:
    assert hashlib.sha256(LIBRARY.read_bytes()).hexdigest() == LIBRARY_SHA256
    assert LIBRARY.with_name("lightweight-charts-LICENSE.txt").read_text().lstrip().startswith("Apache License")


def test_a_chart_is_json_that_no_page_can_be_broken_by() -> None:
    chart = Chart("x", "</script>", "", ["2012-05-18", "2012-05-21"], [Series("=A", [float("nan"), 1.0], "#000000")])
    assert "</script" not in chart.json()
    assert json.loads(chart.json())["series"][0]["values"] == [None, 1.0]
    assert chart.csv() == "date,'=A\n2012-05-18,\n2012-05-21,1.0\n"


@pytest.mark.parametrize(("route", "what"), [("/tt/portfolio", "portfolio"), ("/tt/instrument", "instrument")])
def test_what_is_not_there_is_named(client: TestClient, route: str, what: str) -> None:
    answer = client.get(route, params={"of": "zzz"})
    assert answer.status_code == 404
    assert f"There is no {what} &#34;zzz&#34; here." in answer.text
    assert "no of" not in answer.text


def test_one_trial_is_not_compared_with_itself(client: TestClient) -> None:
    page = client.get("/tt/trials").text
    assert "Return of trial" in page
    assert "both trials" not in page
    assert "Settings that differ" not in page
    assert "beside" not in page


def test_a_run_of_many_tables_says_how_many_more() -> None:
    def run(*tables: str) -> dg.DagsterRun:
        return dg.DagsterRun("job", asset_selection={dg.AssetKey(table) for table in tables})

    assert _made(run("tt_features", "tt_prices")) == "tt_prices, tt_features"
    assert _made(run(*TABLES)) == f"{', '.join(list(TABLES)[:3])} and {len(TABLES) - 3} more"


def test_the_first_page_begins_with_the_conclusion_of_the_verdict(site: Site, client: TestClient) -> None:
    conclusion = "This is no evidence of skill: it is luck. 229 sessions are less than a year."
    told = {"conclusion": conclusion, "verdict": f"{conclusion} It returned -5.6 %. So did others."}
    site.instance.report_runless_asset_event(dg.AssetMaterialization("report", partition=TRADED, metadata=told))
    page = client.get("/tt").text
    assert f'<p class="verdict"><b>{conclusion}</b></p><details>' in page
    assert '<p class="verdict">It returned -5.6 %. So did others.</p></details>' in page


def test_a_verdict_of_before_there_were_conclusions_has_none_in_bold(site: Site, client: TestClient) -> None:
    told = {"verdict": "Out of sample over 229 sessions it returned -5.6 %. This is no evidence of skill."}
    site.instance.report_runless_asset_event(dg.AssetMaterialization("report", partition=TRADED, metadata=told))
    page = client.get("/tt").text
    assert f'<p class="verdict">{told["verdict"]}</p>' in page
    assert "What it follows from" not in page
