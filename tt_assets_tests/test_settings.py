"""Settings come from TT_* variables, typed and checked; what is left empty means the sensible thing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from tt_assets.settings import SAMPLE_BARS, SAMPLE_WATCHLIST, DateGrain, PriceSourceName, Settings, shared_file
from tt_assets.trading.config import Execution


def test_nothing_set_means_the_bundled_sample_on_the_embedded_server():
    settings = Settings()
    assert settings.is_sample
    assert settings.database_url is None
    assert (settings.bars_path, settings.watchlist) == (SAMPLE_BARS, SAMPLE_WATCHLIST)
    assert settings.date_grain is DateGrain.SESSION


def test_the_documented_trading_defaults():
    settings = Settings()
    assert settings.initial_cash == 10_000
    assert settings.commission_bps == 10
    assert settings.slippage_bps == 0
    assert settings.execution is Execution.NEXT_OPEN
    assert (settings.max_drawdown, settings.risk_target, settings.max_leverage) == (0.2, 0.01, 1.0)
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


@pytest.mark.parametrize("name", ["TT_START_DATE", "TT_DATABASE_URL", "TT_PG_BIN", "TT_FEATURE_MODULES", "TT_SEEDS"])
def test_an_empty_variable_is_no_variable(monkeypatch, name):
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
    ],
)
def test_a_value_out_of_its_range_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    (error,) = refused.value.errors()
    assert f"TT_{str(error['loc'][0]).removeprefix('TT_').upper()}" == name
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
    monkeypatch.setenv("TT_DATABASE_URL", "postgresql://me:geheim@host/tt")
    settings = Settings()
    assert "geheim" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.database_url.get_secret_value().endswith("geheim@host/tt")


def test_a_bars_file_of_ones_own_is_not_the_sample(monkeypatch, tmp_path):
    monkeypatch.setenv("TT_BARS_PATH", str(tmp_path / "bars.csv"))
    assert not Settings().is_sample
    assert not Settings(price_source=PriceSourceName.IBKR, bars_path=SAMPLE_BARS).is_sample


def test_every_setting_says_what_it_means():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_files_dagster_needs_are_where_the_package_says():
    for name in ("dagster.yaml", "workspace.yaml"):
        assert shared_file(name).exists()
        assert isinstance(shared_file(name), Path)
