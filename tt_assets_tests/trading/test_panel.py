import dataclasses

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.config import Execution, TradingConfig
from tt_assets.trading.errors import NotEnoughHistory
from tt_assets.trading.panel import MarketPanel
from tt_assets.trading.rules.registry import action_scheme
from tt_assets_tests.trading.conftest import build_panel, channels_of, wide


def test_every_bar_and_channel_lands_in_its_session_and_instrument(bundled_bars, window_panel):
    panel = window_panel
    assert panel.feature_names == ("momentum", "return_1", "vol_20")
    features, scores = channels_of(bundled_bars)
    keyed = bundled_bars.set_index(["instrument", "timestamp"])
    values = features.set_index(["instrument", "timestamp", "feature"])["value"]
    signals = scores.set_index(["instrument", "timestamp"])["score"]
    for row, session in enumerate(panel.sessions):
        for column, instrument in enumerate(panel.instruments):
            key = (instrument, pd.Timestamp(session))
            for field in ("open", "high", "low", "close", "volume"):
                stored = getattr(panel, field)[row, column]
                assert stored == keyed[field].get(key) or (np.isnan(stored) and key not in keyed.index)
            seen = panel.features[row, column]
            expected = (signals.get(key, np.nan), *(values.get((*key, n), np.nan) for n in ("return_1", "vol_20")))
            np.testing.assert_array_equal(seen, expected)


def test_the_order_of_the_rows_does_not_matter(bundled_bars):
    bars = bundled_bars[bundled_bars["timestamp"] >= "2012-01-01"]
    one = build_panel(bars, "2012-06-01", "2012-07-31")
    other = build_panel(bars.sample(frac=1.0, random_state=3), "2012-06-01", "2012-07-31")
    for field in dataclasses.fields(MarketPanel):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_sigma_is_the_standard_deviation_of_the_last_20_returns(bundled_bars, window_panel):
    close = wide(bundled_bars, "close")
    expected = close.pct_change(fill_method=None).rolling(20).std()
    span = window_panel.sessions[window_panel.start :]
    expected = expected.loc[span, list(window_panel.instruments)].to_numpy()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(window_panel.sigma[window_panel.start :], expected, rtol=1e-9)


def test_sigma_marks_and_scale_do_not_change_when_the_future_is_cut_off(window_panel):
    scheme = action_scheme(TradingConfig())
    for cut in (25, 40, 60):
        past = dataclasses.replace(
            window_panel,
            sessions=window_panel.sessions[:cut],
            **{
                name: getattr(window_panel, name)[:cut]
                for name in ("open", "high", "low", "close", "volume", "features")
            },
            start=0,
        )
        np.testing.assert_array_equal(past.sigma, window_panel.sigma[:cut])
        np.testing.assert_array_equal(past.marks, window_panel.marks[:cut])
        np.testing.assert_array_equal(scheme.scale(past), scheme.scale(window_panel)[:cut])


def test_a_missing_bar_is_marked_at_the_last_close_and_fills_nothing(bundled_bars):
    gone = (bundled_bars["instrument"] == "IBM") & (bundled_bars["timestamp"] == "2012-08-15")
    panel = build_panel(bundled_bars[~gone], "2012-07-02", "2012-09-28")
    row, column = int(np.searchsorted(panel.sessions, np.datetime64("2012-08-15"))), panel.instruments.index("IBM")
    assert np.isnan(panel.close[row, column])
    assert panel.marks[row, column] == panel.close[row - 1, column]
    for execution in Execution:
        assert np.isnan(panel.fill_prices(execution)[row, column])
        assert np.isfinite(panel.fill_prices(execution)[row + 1, column])


def test_a_session_without_volume_fills_nothing(window_panel):
    volume = window_panel.volume.copy()
    volume[40, 0] = 0.0
    panel = dataclasses.replace(window_panel, volume=volume)
    assert np.isnan(panel.fill_prices(Execution.NEXT_OPEN)[40, 0])


def test_an_instrument_that_is_not_listed_yet_has_no_mark_and_no_scale(panel_of):
    panel = panel_of("2012-05-01", "2012-06-29")
    listing = int(np.searchsorted(panel.sessions, np.datetime64("2012-05-18")))
    fb = panel.instruments.index("FB")
    assert not panel.listed[:listing, fb].any()
    assert panel.listed[listing:, fb].all()
    assert (panel.marks[:listing, fb] == 0.0).all()
    scale = action_scheme(TradingConfig()).scale(panel)
    assert (scale[: listing + 20, fb] == 0.0).all()
    assert (scale[listing + 20 :, fb] > 0.0).all()


def test_a_span_that_starts_after_its_last_session_is_not_enough_history(panel_of):
    with pytest.raises(NotEnoughHistory, match="choose a later end"):
        panel_of("2014-01-02", "2014-03-31")
