"""Settings come from TT_* variables, typed and checked; what is left empty means the sensible thing."""

from __future__ import annotations

import ast
import errno
import os
import re
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from tt_assets.settings import PACKAGE, SAMPLE_BARS, SAMPLE_WATCHLIST, DateGrain, PriceSourceName, Settings, shared_file
from tt_assets.settings.variables import EMPTY, OF_THE_PLATFORM, misspelt, variable_at, variables, written
from tt_assets.trading.config import Execution


def test_nothing_set_means_the_bundled_sample_on_the_embedded_server():
    settings = Settings()
    assert settings.is_sample
    assert settings.database_url is None
    assert (settings.bars_path, settings.watchlist) == (SAMPLE_BARS, SAMPLE_WATCHLIST)
    assert settings.date_grain is DateGrain.SESSION


def test_the_documented_trading_defaults():
    settings = Settings()
    trading = settings.trading
    assert trading.initial_cash == 10_000
    assert trading.commission_bps == 10
    assert trading.slippage_bps == 0
    assert trading.execution is Execution.NEXT_OPEN
    assert (trading.max_drawdown, trading.risk_target, trading.max_leverage) == (0.2, 0.01, 1.0)
    assert settings.train_windows == 3


def test_a_variable_is_read_and_typed(monkeypatch):
    monkeypatch.setenv("TT_START_DATE", "2010-01-04")
    monkeypatch.setenv("TT_DATE_GRAIN", "month")
    monkeypatch.setenv("TT_FEATURE_MODULES", "mine.features, theirs")
    monkeypatch.setenv("TT_SEEDS", "5")
    settings = Settings()
    assert settings.start_date == date(2010, 1, 4)
    assert settings.date_grain is DateGrain.MONTH
    assert settings.feature_modules == ("mine.features", "theirs")
    assert settings.seeds == 5


@pytest.mark.parametrize("name", [variable.name for variable in variables() if variable.name != "TT_HOME"])
def test_an_empty_variable_is_no_variable(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    unset = Settings()
    monkeypatch.setenv(name, "")
    assert Settings() == unset


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TT_START_DATE", "foo"),
        ("TT_DATE_GRAIN", "week"),
        ("TT_PRICE_SOURCE", "yahoo"),
        ("TT_SEEDS", "0"),
        ("TT_TRAIN_STEPS", "many"),
        ("TT_COMMISSION_BPS", "-1"),
        ("TT_MAX_DRAWDOWN", "1.5"),
        ("TT_MAX_LEVERAGE", "2"),
        ("TT_EXECUTION", "now"),
        ("TT_WHOLE_SHARES", "perhaps"),
        ("TT_IBKR_PORT", "0"),
        ("TT_IBKR_PORT", "70000"),
        ("TT_IBKR_TIMEOUT", "0"),
        ("TT_IBKR_CLIENT_IDS", "0-3"),
        ("TT_IBKR_CLIENT_IDS", "eighty"),
        ("TT_IBKR_HOST", " "),
        ("TT_TRAIN_SLOTS", "1001"),
        ("TT_SHARED_FOLDER", "/dev/null"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    (error,) = refused.value.errors()
    assert variable_at(error["loc"]).name == name
    assert error["input"] == value


def test_an_end_before_the_start_is_refused_with_both_dates(monkeypatch):
    monkeypatch.setenv("TT_START_DATE", "2012-05-18")
    monkeypatch.setenv("TT_END_DATE", "2012-05-01")
    with pytest.raises(ValidationError, match="TT_END_DATE 2012-05-01 lies before TT_START_DATE 2012-05-18"):
        Settings()


def test_paths_are_absolute_and_know_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("TT_BARS_PATH", "bars.csv")
    monkeypatch.setenv("TT_HOME", "~/tt")
    settings = Settings()
    assert settings.bars_path == tmp_path / "bars.csv"
    assert settings.home == tmp_path / "me" / "tt"


def test_a_password_is_not_in_what_settings_print(monkeypatch):
    secret = "geheim"
    monkeypatch.setenv("TT_DATABASE_URL", f"postgresql://me:{secret}@host/tt")
    settings = Settings()
    assert secret not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.database_url.get_secret_value().endswith(f"{secret}@host/tt")


def test_a_bars_file_of_ones_own_is_not_the_sample(monkeypatch, tmp_path):
    monkeypatch.setenv("TT_BARS_PATH", str(tmp_path / "bars.csv"))
    assert not Settings().is_sample
    assert not Settings(price_source=PriceSourceName.IBKR, bars_path=SAMPLE_BARS).is_sample


def test_every_setting_says_what_it_means():
    assert [variable.name for variable in variables() if not variable.meaning] == []


def test_the_files_dagster_needs_are_where_the_package_says():
    for name in ("dagster.yaml", "workspace.yaml"):
        assert shared_file(name).exists()
        assert isinstance(shared_file(name), Path)


def test_a_nested_setting_is_read_from_its_flat_variable_and_the_others_keep_their_defaults(monkeypatch, tmp_path):
    monkeypatch.setenv("TT_COMMISSION_BPS", "2.5")
    monkeypatch.setenv("TT_IBKR_PORT", "7497")
    monkeypatch.setenv("TT_IBKR_CLIENT_IDS", "81-83, 90")
    file = tmp_path / "own.env"
    file.write_text("TT_COMMISSION_BPS=9\nTT_SLIPPAGE_BPS=3\nTT_IBKR_REFETCH=true\nTT_IBKR_TIMEOUT=\n")
    settings = Settings(_env_file=file)
    assert (settings.trading.commission_bps, settings.trading.slippage_bps) == (2.5, 3.0)
    assert (settings.ibkr.port, settings.ibkr.refetch, settings.ibkr.timeout) == (7497, True, 60.0)
    assert settings.ibkr.client_ids == (81, 82, 83, 90)
    assert settings.trading.initial_cash == 10_000


def test_every_variable_is_listed_once():
    names = [variable.name for variable in variables()]
    assert len(names) == len(set(names))
    assert set(EMPTY) <= set(names)
    assert not OF_THE_PLATFORM & set(names)


def test_a_misspelt_variable_is_said_with_the_nearest_name_and_without_its_value(monkeypatch, tmp_path):
    monkeypatch.setenv("TT_TRIAN_STEPS", "geheim")
    monkeypatch.setenv("TT_TRAIN_STEPS", "5")
    monkeypatch.setenv("TT_XYZZY", "geheim")
    file = tmp_path / ".env"
    file.write_text("TT_COMISSION_BPS=geheim\nTT_SEEDS=1\nOTHER=2\n")
    monkeypatch.setitem(Settings.model_config, "env_file", str(file))
    said = misspelt()
    assert "TT_TRIAN_STEPS is no setting; did you mean TT_TRAIN_STEPS?" in said
    assert f"TT_COMISSION_BPS ({file}) is no setting; did you mean TT_COMMISSION_BPS?" in said
    assert "TT_XYZZY is no setting; `tt settings` lists them." in said
    assert len(said) == 3
    assert "geheim" not in " ".join(said)


def test_variables_that_the_platform_sets_are_no_mistake(monkeypatch):
    from tt_assets.assets.pictures import LOGS
    from tt_assets.runtime.platform import READY, environment
    from tt_assets.runtime.served import ROLE, TOKEN
    from tt_assets.settings.variables import CHECKED

    set_by_us = {name for name in environment(Settings()) if name.startswith("TT_")} | {
        LOGS,
        READY,
        TOKEN,
        ROLE,
        CHECKED,
    }
    for name in set_by_us:
        monkeypatch.setenv(name, "1")
    assert misspelt() == []
    assert set_by_us - {"TT_HOME"} == OF_THE_PLATFORM - {"TT_ENV_FILE"}


def test_who_wrote_a_value_is_known(monkeypatch, tmp_path):
    file = tmp_path / ".env"
    file.write_text("TT_SEEDS=2\nTT_TRAIN_STEPS=\nTT_IBKR_PORT=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", (str(tmp_path / "none.env"), str(file)))
    monkeypatch.setenv("TT_IBKR_PORT", "7497")
    given = written()
    assert given["TT_SEEDS"].origin == str(file)
    assert given["TT_IBKR_PORT"].origin == "environment"
    assert "TT_TRAIN_STEPS" not in given
    assert "TT_PRICE_SOURCE" not in given


ALLOWED = {"definitions.py", "cli.py", "runtime/current.py", "runtime/dagster_instance.py"}
"""Where the settings are made; everybody else is handed what it needs."""


def test_settings_are_made_in_few_places():
    made = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Settings"
    }
    assert made == ALLOWED


def test_one_place_reads_the_clock_for_market_time_and_names_new_york():
    sources = {file.relative_to(PACKAGE).as_posix(): file.read_text("utf-8") for file in PACKAGE.rglob("*.py")}
    assert [name for name, text in sources.items() if "datetime.now(NEW_YORK" in text] == ["market/clock.py"]
    assert [name for name, text in sources.items() if 'ZoneInfo("America/New_York")' in text] == ["market/calendar.py"]
    assert [name for name, text in sources.items() if 'CASH = "CASH"' in text] == ["market/watchlist_format.py"]


NO_NAME = "n" * 300
"""A name that no file system has, so that looking for it is an error, as it is behind a parent that is closed."""


def test_a_shared_folder_that_cannot_be_looked_for_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("TT_SHARED_FOLDER", f"/tmp/{NO_NAME}/shared")
    with pytest.raises(ValidationError, match="it cannot be looked for") as refused:
        Settings()
    (error,) = refused.value.errors()
    assert variable_at(error["loc"]).name == "TT_SHARED_FOLDER"


@pytest.mark.parametrize("reason", [errno.EACCES, errno.ESTALE, errno.EIO])
def test_so_is_one_whose_parent_is_closed_or_gone(monkeypatch, tmp_path, reason):
    closed, stat = tmp_path / "closed", Path.stat

    def of(path, **kwargs):
        if path.is_relative_to(closed):
            raise OSError(reason, os.strerror(reason), str(path))
        return stat(path, **kwargs)

    monkeypatch.setattr(Path, "stat", of)
    monkeypatch.setenv("TT_SHARED_FOLDER", str(closed / "shared"))
    with pytest.raises(ValidationError, match=re.escape(os.strerror(reason))):
        Settings()


def test_a_home_of_nobody_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    monkeypatch.setenv("TT_HOME", "~nobody-has-this-name/tt")
    with pytest.raises(ValidationError, match="knows no home of ~nobody-has-this-name"):
        Settings()
