"""Bars for the research tests: the bundled sample, and small random panels with gaps and ties."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

SAMPLE = Path(__file__).parents[2] / "tt_assets" / "sample" / "daily_bars_2005_2013.csv"


@pytest.fixture(scope="session")
def real_bars() -> pd.DataFrame:
    """The bundled bars in long form: AAPL, GOOG, IBM, MSFT from 2005-03-01, FB from 2012-05-18."""
    return pd.read_csv(SAMPLE, parse_dates=["timestamp"], dtype={"volume": float})
