"""Every mistake of a person's is answered by one line: the thing, the value and the remedy; and by exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_assets.postgres import schema
from tt_assets.postgres.database import Database
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets_tests.commands.conftest import Tt

SECRET = "s3cr3t-w0rd"
NOBODY = f"postgresql://u:{SECRET}@127.0.0.1:1/tt"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["backfill", "pricse"], ["'pricse'", "nearest is prices"]),
        (["backfill", "tt_featurs"], ["'tt_featurs'", "nearest is tt_features"]),
        (["backfill", "nosuch"], ["Unknown table 'nosuch'. Known: prices, features,"]),
        (["backfill", "prices", "--instruments", "growth"], ["Unknown instrument 'growth'. Known: AAPL,"]),
        (["backfill", "markt"], ["'markt'", "nearest is market"]),
        (
            ["backfill", "prices", "--instruments", "AAPLE"],
            ["'AAPLE'", "nearest is AAPL", "`tt watchlist add AAPLE` adds"],
        ),
        (["backfill", "prices", "--instruments", ","], ["--instruments is empty", "AAPL"]),
        (["backfill", "prices", "--instruments", "sample"], ["'sample'", "Known: AAPL, GOOG, IBM, MSFT, FB"]),
        (["train", "--instruments", "smaple"], ["'smaple'", "nearest is sample"]),
        (
            ["backfill", "prices", "--from", "2012-12-03", "--to", "2012-11-01"],
            ["--from 2012-12-03", "did you mean --from 2012-11-01 --to 2012-12-03"],
        ),
        (
            ["backfill", "prices", "--from", "2012-10-29", "--to", "2012-10-30"],
            ["No session lies from 2012-10-29 to 2012-10-30", "the nearest is 2012-10-31"],
        ),
        (["backfill", "prices", "--from", "1999-01-04"], ["2005-03-01 to 2013-03-01", "the nearest is 2005-03-01"]),
        (["backfill", "prices", "--to", "2020-01-02"], ["2005-03-01 to 2013-03-01", "the nearest is 2013-03-01"]),
        (["backfill", "prices", "--from", "12/01/2012"], ["--from '12/01/2012'", "write it as 2012-05-18"]),
        (["backfill"], ["TABLES", "`tt backfill --help`"]),
        (["backfil", "prices"], ["'backfil'", "`tt --help`", "backfill"]),
        (["status", "--jsn"], ["'--jsn'", "`tt status --help`"]),
        (["up", "--port", "99999"], ["--port", "99999", "`tt up --help`"]),
        (["up", "--host", "203.0.113.7"], ["--host 203.0.113.7", "TT_UI_TOKEN", "openssl rand"]),
        (["up", "--host", "::2"], ["--host ::2", "TT_UI_TOKEN"]),
        (["watchlist", "add", "NEW"], ["bundled sample", "TT_WATCHLIST"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistyped_command_is_answered_with_the_nearest_right_one(
    tt: Tt, arguments: list[str], named: list[str]
) -> None:
    told = tt(*arguments)
    assert told.is_one_line_of_advice(), told
    for part in named:
        assert part in told.err


@pytest.mark.parametrize(
    "command", [("train",), ("backfill", "agents"), ("demo",), ("report",), ("sweep",)], ids=" ".join
)
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"TT_AGENT": "pppo"}, ["agent 'pppo' is unknown", "gradient, ppo, ridge, sb3:NAME"]),
        ({"TT_PORTFOLIO_AGENTS": "sample=rigde"}, ["agent 'rigde' is unknown", "ridge"]),
        ({"TT_PORTFOLIO_AGENTS": "smaple=ridge"}, ["TT_PORTFOLIO_AGENTS", "'smaple'", "nearest is sample"]),
        ({"TT_NETWORK": "sahred"}, ["network 'sahred' is unknown", "shared, separate"]),
        (
            {"TT_AGENT": "gradient", "TT_ACTION_SCHEME": "discrete"},
            ["agent gradient needs a scheme", "discrete", "long_only_weights"],
        ),
    ],
    ids=str,
)
def test_a_learner_that_cannot_train_is_said_before_anything_starts(
    tt: Tt, command: tuple[str, ...], settings: dict[str, str], named: list[str]
) -> None:
    told = tt(*command, **settings)
    assert told.is_one_line_of_advice(), told
    for part in named:
        assert part in told.err


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("TT_START_DATE", "foo", "First date of the market partitions"),
        ("TT_EPOCHS", "0", "greater than or equal to 1"),
        ("TT_EXECUTION", "now", "'next_open' or 'next_close'"),
        ("TT_PRICE_SOURCE", "yahoo", "neither file nor ibkr"),
        ("TT_MAX_DRAWDOWN", "20%", "valid number"),
    ],
)
def test_a_setting_that_does_not_parse_is_named_with_its_value_and_meaning(
    tt: Tt, variable: str, value: str, named: str
) -> None:
    told = tt("status", **{variable: value})
    assert told.is_one_line_of_advice(), told
    assert f"{variable} '{value}'" in told.err
    assert named in told.err


def test_dates_of_the_horizon_the_wrong_way_round_are_both_named(tt: Tt) -> None:
    told = tt("status", TT_START_DATE="2012-01-03", TT_END_DATE="2011-01-03")
    assert told.is_one_line_of_advice(), told
    assert "TT_END_DATE 2011-01-03 lies before TT_START_DATE 2012-01-03" in told.err


@pytest.mark.parametrize(
    ("variable", "what", "known"),
    [
        ("TT_ACTION_SCHEME", "action scheme", "volatility_target"),
        ("TT_REWARD_SCHEME", "reward scheme", "risk_aware"),
        ("TT_COST_MODEL", "cost model", "proportional"),
        ("TT_STOPPERS", "stopper", "max_drawdown"),
        ("TT_BASELINES", "baseline", "inverse_volatility"),
    ],
)
def test_an_unknown_scheme_is_refused_before_anything_is_trained(tt: Tt, variable: str, what: str, known: str) -> None:
    told = tt("train", **{variable: "yolo"})
    assert told.is_one_line_of_advice(), told
    assert f"{what} 'yolo' is unknown" in told.err
    assert known in told.err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "there is no watchlist"),
        ("symbol\n", "the watchlist is empty"),
        ("symbol\nIBM\nAAPL\nIBM\n", 'line 4: symbol "IBM" is on line 2 already'),
        ("symbol\nA|B\n", "line 2: symbol \"A|B\" holds the illegal character '|'"),
    ],
    ids=["missing", "empty", "duplicate", "illegal"],
)
@pytest.mark.parametrize("arguments", [["watchlist", "list", "--json"], ["backfill", "market"], ["train"]])
def test_a_bad_watchlist_is_named_with_file_and_line(
    tt: Tt, tmp_path: Path, arguments: list[str], text: str | None, named: str
) -> None:
    path = tmp_path / "watchlist.csv"
    if text is not None:
        path.write_text(text)
    told = tt(*arguments, TT_WATCHLIST=str(path))
    assert told.is_one_line_of_advice(), told
    assert str(path) in told.err
    assert named in told.err
    assert not (tmp_path / "home").exists()  # nothing was started, nothing changed


@pytest.mark.parametrize("text", [None, "instrument,close\nIBM,1\n"], ids=["missing", "no dates"])
@pytest.mark.parametrize("command", [["backfill", "market"], ["demo"]])
def test_a_bars_file_that_bounds_nothing_is_refused_before_a_run(
    tt: Tt, tmp_path: Path, command: list[str], text: str | None
) -> None:
    path = tmp_path / "bars.csv"
    if text is not None:
        path.write_text(text)
    told = tt(*command, TT_BARS_PATH=str(path))
    assert told.is_one_line_of_advice(), told
    assert str(path) in told.err
    assert ("TT_BARS_PATH" if text is None else "timestamp") in told.err
    assert not (tmp_path / "home" / "pgdata").exists()  # no server was started for it


@pytest.mark.parametrize(
    "command", [["status"], ["backfill", "market"], ["train"], ["demo"], ["db", "upgrade"], ["db", "psql"]]
)
def test_an_unreachable_database_is_named_and_its_password_is_not(tt: Tt, command: list[str]) -> None:
    told = tt(*command, TT_DATABASE_URL=NOBODY)
    assert told.code == 2
    line = told.err.splitlines()[-1]
    assert line.startswith("tt: No PostgreSQL answers at 127.0.0.1:1")
    assert "TT_DATABASE_URL" in line
    assert SECRET not in told.err + told.out


@pytest.mark.parametrize("command", [["db", "url"], ["db", "status"], ["db", "status", "--json"], ["settings"]])
def test_no_command_that_shows_the_database_shows_its_password(tt: Tt, command: list[str]) -> None:
    told = tt(*command, TT_DATABASE_URL=NOBODY)
    assert SECRET not in told.out + told.err
    assert "***" in told.out


@pytest.mark.parametrize("url", ["mysql://u@h/tt", f"postgresql://u:{SECRET}/@h/tt", "postgresql://u@h/dagster"])
def test_a_url_that_cannot_be_used_is_answered_with_the_form(tt: Tt, url: str) -> None:
    told = tt("status", TT_DATABASE_URL=url)
    assert told.is_one_line_of_advice(), told
    assert "TT_DATABASE_URL" in told.err
    assert SECRET not in told.err


@pytest.mark.parametrize(
    ("revision", "remedy"), [("0001", "run `tt db upgrade`"), ("9999", "pip install --upgrade tt_assets")]
)
def test_a_schema_of_another_version_is_answered_with_the_remedy(
    tt: Tt, embedded_server: EmbeddedServer, revision: str, remedy: str
) -> None:
    database = Database.on(embedded_server, f"cli_{revision}")
    schema.upgrade(database)
    with database.connect() as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [revision])
    told = tt("status", TT_DATABASE_URL=database.adbc_uri())
    assert told.is_one_line_of_advice(), told
    assert revision in told.err
    assert remedy in told.err
    shown = tt("db", "status", "--json", TT_DATABASE_URL=database.adbc_uri())
    assert (shown.code, remedy in shown.out) == (1, True)
    if revision == "9999":
        refused = tt("db", "upgrade", TT_DATABASE_URL=database.adbc_uri())
        assert refused.is_one_line_of_advice(), refused
        assert remedy in refused.err
