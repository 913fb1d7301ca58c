"""What `tt cluster env` gives another machine: everything that was set but where this one's home is, and no secret."""

from __future__ import annotations

import json

from tt_assets_tests.commands.conftest import Tt, tt  # noqa: F401 - a fixture

PASSWORD = "s%40crET"
ADDRESS = f"postgresql://me:{PASSWORD}@db.example:5433/mine"


def test_a_worker_gets_what_was_set_and_that_it_is_one(tt: Tt) -> None:  # noqa: F811
    told = tt("cluster", "env", "--json", "--show-password", TT_DATABASE_URL=ADDRESS, TT_SEEDS="2", TT_PG_PORT="7777")
    assert told.code == 0, told.err
    found = json.loads(told.out)
    assert found["variables"]["TT_DATABASE_URL"] == ADDRESS
    assert found["variables"]["TT_WORKER"] == "true"
    assert found["variables"]["TT_SEEDS"] == "2"
    # Without it the bookkeeping of a thousand partitions takes a minute.
    assert found["variables"]["DAGSTER_EVENT_BATCH_SIZE"] == "1000"
    assert not {"TT_HOME", "DAGSTER_HOME", "TT_DAGSTER_LOGS", "PYTHONPATH", "TT_PG_PORT"} & set(found["variables"])
    assert set(found["versions"]) == {"python", "tt_assets", "dagster", "dagster-ray", "ray"}


def test_a_password_is_left_out_unless_it_is_asked_for(tt: Tt) -> None:  # noqa: F811
    told = tt("cluster", "env", TT_DATABASE_URL=ADDRESS)
    assert "crET" not in told.out + told.err
    (line,) = [line for line in told.out.splitlines() if "TT_DATABASE_URL" in line]
    assert line.startswith("# export TT_DATABASE_URL='postgresql://me:***@db.example:5433/mine'")


def test_the_secrets_of_the_ui_and_of_alerts_stay_on_the_head(tt: Tt) -> None:  # noqa: F811
    secrets = {"TT_UI_TOKEN": "0123456789abcdef", "TT_ALERT_WEBHOOK": "https://hooks.example/services/abc"}
    for option in ("--json", "--no-export"):
        told = tt("cluster", "env", option, "--show-password", TT_DATABASE_URL=ADDRESS, **secrets)
        assert told.code == 0, told.err
        assert ADDRESS in told.out
        assert not [text for name, value in secrets.items() for text in (name, value) if text in told.out]


def test_an_address_that_leads_back_to_this_machine_is_said(tt: Tt) -> None:  # noqa: F811
    for host in ("localhost", "127.0.0.1"):
        told = tt("cluster", "env", TT_DATABASE_URL=f"postgresql://me@{host}/tt")
        assert f"# TT_DATABASE_URL leads to this machine as {host}" in told.out
    assert "leads to this machine" not in tt("cluster", "env", TT_DATABASE_URL=ADDRESS).out


def test_the_embedded_server_is_no_server_for_others(tt: Tt) -> None:  # noqa: F811
    told = tt("cluster", "env")
    assert told.code == 2
    assert "set TT_DATABASE_URL" in told.err
