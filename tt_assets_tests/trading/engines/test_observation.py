import dataclasses

import numpy as np

from tt_assets.trading.engines.observation import ObservationBuilder, Scaler


def test_each_named_value_is_the_scaled_channel_of_its_instrument_and_session(window_panel, training_panel):
    scaler = Scaler.fit(training_panel)
    builder = ObservationBuilder(window_panel, scaler, window=4)
    row = window_panel.start + 7
    weights = np.array([0.1, 0.2, 0.0, 0.3, 0.05])
    seen = dict(zip(builder.names, builder.observe(np.array([row]), weights[None], np.array([0.35]))[0], strict=True))
    assert len(seen) == len(builder.names) == builder.size
    for column, instrument in enumerate(window_panel.instruments):
        assert seen[f"{instrument} weight"] == np.float32(weights[column])
        for layer, channel in enumerate(window_panel.feature_names):
            span = training_panel.features[training_panel.start :, column, layer]
            span = span[np.isfinite(span)]
            for lag in range(4):
                value = (window_panel.features[row - lag, column, layer] - span.mean()) / span.std()
                name = f"{instrument} {channel} t" + (f"-{lag}" if lag else "")
                np.testing.assert_allclose(seen[name], np.clip(value, -10, 10), rtol=1e-5, atol=1e-6)
    assert seen["cash share"] == np.float32(0.35)


def test_the_scaler_ignores_the_look_back_before_the_training_span(training_panel):
    features = training_panel.features.copy()
    features[: training_panel.start] = 1e6
    changed = Scaler.fit(dataclasses.replace(training_panel, features=features))
    np.testing.assert_array_equal(changed.mean, Scaler.fit(training_panel).mean)
    np.testing.assert_array_equal(changed.std, Scaler.fit(training_panel).std)


def test_an_instrument_without_values_in_training_is_scaled_by_the_pooled_statistics(panel_of):
    panel = panel_of("2011-07-01", "2012-03-30")
    scaler = Scaler.fit(panel)
    fb = panel.instruments.index("FB")
    assert np.isnan(panel.features[:, fb]).all()
    pooled = panel.features[panel.start :, :fb].reshape(-1, len(panel.feature_names))
    np.testing.assert_allclose(scaler.mean[fb], pooled.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(scaler.std[fb], pooled.std(axis=0), rtol=1e-9)


def test_what_is_unknown_is_zero_and_nothing_is_ever_not_finite(training_panel):
    builder = ObservationBuilder(training_panel, Scaler.fit(training_panel), window=40)
    first = builder.observe(np.array([0]), np.zeros((1, 5)), np.ones(1))[0]
    assert not first[: 39 * 15].any()
    every = np.arange(len(training_panel.sessions))
    seen = builder.observe(every, np.zeros((len(every), 5)), np.ones(len(every)))
    assert np.isfinite(seen).all()


def test_a_channel_that_never_varies_is_zero(training_panel):
    features = training_panel.features.copy()
    features[..., 0] = 0.1
    panel = dataclasses.replace(training_panel, features=features)
    assert np.abs(Scaler.fit(panel).scale(features)[..., 0]).max() < 1e-12
