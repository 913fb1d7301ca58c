"""Everything here kills, cuts off or fills up what it works on."""

from __future__ import annotations

import pytest


@pytest.fixture
def small_platform(request, postgres_instance, connected, tmp_path, sample_bars, monkeypatch):
    """A platform with one instrument, empty yet; without agents where the parameter of the fixture is False."""
    from tt_assets_tests.faults.small_platform import SETTINGS, SmallPlatform

    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TT_BARS_PATH", str(tmp_path / "bars.parquet"))
    monkeypatch.setenv("TT_WATCHLIST", str(tmp_path / "watchlist.csv"))
    trades = getattr(request, "param", True)
    return SmallPlatform(postgres_instance, connected, tmp_path, sample_bars, monkeypatch, trades=trades)
