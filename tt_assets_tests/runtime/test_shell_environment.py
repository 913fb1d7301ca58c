"""What `tt env` prints: what was set, as it was written, and no secret unless it is asked for."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tt_assets.runs.other_instance import another_instance
from tt_assets.settings import Settings, shared_file
from tt_assets_tests.commands.conftest import Tt, tt  # noqa: F401 - a fixture

PASSWORD = "s%40crET"
ADDRESS = f"postgresql://me:{PASSWORD}@db.example:5433/mine?sslmode=prefer"


def _evaluated(lines: str) -> dict[str, str]:
    """What a shell has after it evaluated `lines`."""
    names = ["DAGSTER_HOME", "TT_HOME", "TT_DATABASE_URL", "TT_FEATURE_MODULES", "TT_BARS_PATH"]
    shown = " ".join(f'"${{{name}-unset}}"' for name in names)
    told = subprocess.run(
        ["bash", "-c", f"{lines}\nprintf '%s\\n' {shown}"], env={}, capture_output=True, text=True, check=True
    )
    return dict(zip(names, told.stdout.splitlines(), strict=True))


def test_a_shell_that_evaluates_it_has_what_was_set(tt: Tt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    told = tt(
        "env",
        "--show-password",
        TT_HOME=str(tmp_path / "my home"),
        TT_DATABASE_URL=ADDRESS,
        TT_FEATURE_MODULES="mine, 'hers'",
        TT_BARS_PATH="bars.csv",
    )
    assert told.code == 0, told.err
    home = tmp_path / "my home"
    assert _evaluated(told.out) == {
        "DAGSTER_HOME": str(home / "dagster"),
        "TT_HOME": str(home),
        "TT_DATABASE_URL": ADDRESS,
        "TT_FEATURE_MODULES": "mine, 'hers'",
        "TT_BARS_PATH": str(tmp_path / "bars.csv"),  # the shell may be in another folder
    }
    assert (home / "dagster" / "dagster.yaml").read_bytes() == shared_file("dagster.yaml").read_bytes()


def test_a_password_is_masked_and_its_line_changes_nothing(tt: Tt) -> None:  # noqa: F811
    hook = "https://hooks.example/T0/SECRET"
    told = tt("env", TT_DATABASE_URL=ADDRESS, TT_ALERT_WEBHOOK=hook)
    assert "crET" not in told.out + told.err
    assert "SECRET" not in told.out + told.err
    assert _evaluated(told.out)["TT_DATABASE_URL"] == "unset"
    (line,) = [line for line in told.out.splitlines() if "TT_DATABASE_URL" in line]
    assert line.startswith("# export TT_DATABASE_URL='postgresql://me:***@db.example:5433/mine'")
    masked = json.loads(tt("env", "--json", TT_DATABASE_URL=ADDRESS).out)
    assert masked["TT_DATABASE_URL"] == "postgresql://me:***@db.example:5433/mine"


def test_an_address_without_a_password_is_printed_as_it_was_written(tt: Tt) -> None:  # noqa: F811
    address = "postgresql://me@db.example/mine?sslmode=require"
    assert json.loads(tt("env", "--json", TT_DATABASE_URL=address).out)["TT_DATABASE_URL"] == address


def test_defaults_stay_out_and_a_service_gets_plain_lines(tt: Tt) -> None:  # noqa: F811
    lines = tt("env", "--no-export", TT_SEEDS="2").out.splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert found["TT_SEEDS"] == "2"
    assert "TT_TRAIN_STEPS" not in found
    assert all(shlex.split(value) for value in found.values())


def test_a_setting_of_a_file_is_handed_on(
    tt: Tt,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / ".env").write_text("TT_SEEDS=7\nOTHER=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", (str(tmp_path / "none.env"), ".env"))
    found = json.loads(tt("env", "--json").out)
    assert found["TT_SEEDS"] == "7"
    assert "OTHER" not in found


def test_another_instance_is_named_with_what_to_do(tmp_path: Path) -> None:
    ours, other, copied = tmp_path / "ours", tmp_path / "other", tmp_path / "copied"
    for folder in (ours, other, copied):
        folder.mkdir()
    (other / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (copied / "dagster.yaml").write_bytes(shared_file("dagster.yaml").read_bytes())
    assert another_instance("", ours) == ""
    assert another_instance(str(ours), ours) == ""
    assert another_instance(str(copied), ours) == ""
    for home in (other, tmp_path / "absent"):
        told = another_instance(str(home), ours)
        assert told.startswith(f"DAGSTER_HOME is {home}")
        assert 'eval "$(tt env)"' in told
        assert "\n" not in told
