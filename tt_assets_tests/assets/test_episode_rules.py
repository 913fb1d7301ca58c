"""What an episode is judged on is known at the deciding session: computed channels anew, imported ones as they came."""

import numpy as np
import pandas as pd

from tt_assets.assets.episode_rules import BarsBehind
from tt_assets.research.registry import load_features
from tt_assets_tests.trading.conftest import build_panel, bundled_bars

__all__ = ["bundled_bars"]

CUT = pd.Timestamp("2012-08-10")
IMPORTED = ("momentum", "vol_20")
"""Channels of the panel that are no feature or signal of the platform."""


def test_a_panel_that_ends_earlier_has_the_imported_scores_up_to_then(bundled_bars):
    panel = build_panel(bundled_bars, "2012-07-02", "2012-09-28")
    features = [one for one in load_features() if one.name == "return_1"]
    behind = BarsBehind(bundled_bars, panel.instruments, panel, features, ())
    assert sorted(behind.imported["signal_name"].unique()) == sorted(IMPORTED)
    until = behind.panel_until(bundled_bars[bundled_bars["timestamp"] <= CUT])
    assert until.feature_names == panel.feature_names
    rows = panel.sessions <= CUT.to_datetime64()
    np.testing.assert_array_equal(until.sessions, panel.sessions[rows])
    for layer, name in enumerate(panel.feature_names):
        if name in IMPORTED:
            np.testing.assert_array_equal(until.features[:, :, layer], panel.features[rows][:, :, layer])


def test_what_the_platform_computes_is_never_taken_from_the_panel(bundled_bars):
    panel = build_panel(bundled_bars, "2012-07-02", "2012-09-28")
    behind = BarsBehind(bundled_bars, panel.instruments, panel, load_features(), ())
    assert "return_1" not in set(behind.imported["signal_name"])
