"""`tt doctor` says what is wrong with the remedy, and starts nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tt_assets.cli import commands
from tt_assets.commands.doctor import examine
from tt_assets.postgres.server.embedded import EmbeddedServer
from tt_assets.runs.process_identity import identity
from tt_assets.runtime.up_record import ChildHealth, Death, Owner, write
from tt_assets.settings import Settings


def test_a_fresh_home_is_told_what_to_do_and_stays_as_it_was() -> None:
    settings = Settings()
    found = examine(settings)
    assert any("tt db start" in line for line in found["wrong"])
    assert found["up"] is None
    assert not settings.home.exists()
    assert not EmbeddedServer(settings.home).is_running()


def test_a_ready_platform_has_nothing_wrong(postgres_instance: object) -> None:
    done = CliRunner().invoke(commands, ["doctor", "--json"], obj=Settings)
    found = json.loads(done.output)
    assert found["wrong"] == []
    assert done.exit_code == 0
    assert found["database"]["ready"] is True


@pytest.mark.parametrize("alive", [True, False])
def test_the_processes_of_up_and_its_last_deaths_are_shown(tmp_path: Path, alive: bool) -> None:
    settings = Settings()
    settings.home.mkdir(parents=True)
    started = str(identity(os.getpid())) if alive else "another boot/1"
    silent = ChildHealth("webserver", 7, "silent", "2026-11-27T10:00:00+00:00", 2)
    death = Death("2026-11-27T09:59:00+00:00", "daemon", "killed by SIGKILL")
    write(settings, Owner(os.getpid(), started, "http://127.0.0.1:3000", "t", (silent,), (death,)))
    done = CliRunner().invoke(commands, ["doctor"], obj=Settings)
    assert done.exit_code == 1
    assert "daemon (killed by SIGKILL)" in done.output
    assert ("The webserver of tt up is silent" in done.output) == alive
    assert ("was killed: `tt down` clears up" in done.output) != alive


def test_a_home_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    settings.home.mkdir(parents=True)
    assert not any("cannot be written" in line for line in examine(settings)["wrong"])
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (settings.home, os.W_OK))  # for root, too
    assert any(
        line.startswith(f"{settings.home} cannot be written") and "TT_HOME" in line
        for line in examine(settings)["wrong"]
    )


def test_dagsters_database_gone_is_named(postgres_instance: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from tt_assets.postgres import database

    monkeypatch.setattr(database, "dagster_name", lambda tables: "no_such_database")
    (line,) = examine(Settings())["wrong"]
    assert 'no database "no_such_database": run `tt db upgrade`' in line
