import dataclasses
import json

import numpy as np
import pytest

from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.agents.walk_forward import split_span, training_windows
from tt_assets.trading.config import TradingConfig, TrainingSpan
from tt_assets.trading.engines.trader import Engine
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.errors import NotEnoughHistory

CONFIG = TradingConfig(
    observation_window=2,
    train_steps=5 * 1024,
    train_accounts=64,
    validation_sessions=30,
    embargo_sessions=22,
)


def test_a_span_is_cut_into_training_validation_and_embargo_without_overlap_or_gap(training_panel):
    split = split_span(training_panel, CONFIG)
    sessions, start = training_panel.sessions, training_panel.start
    np.testing.assert_array_equal(split.training.sessions[split.training.start :], sessions[start:-52])
    np.testing.assert_array_equal(split.validation.sessions[split.validation.start :], sessions[-52:-22])
    np.testing.assert_array_equal(split.validation.close, training_panel.close[:-22])
    assert split.embargo == 22
    whole = split_span(training_panel, CONFIG.replace(validation_sessions=0, embargo_sessions=0))
    assert whole.validation is None
    np.testing.assert_array_equal(whole.training.sessions, sessions)


def test_a_span_shorter_than_validation_and_embargo_is_refused(panel_of):
    with pytest.raises(NotEnoughHistory, match="30 of validation and 22 of embargo"):
        split_span(panel_of("2012-05-01", "2012-07-13"), CONFIG)


def test_the_reach_of_an_observation_is_its_window_and_the_look_back_of_its_channels():
    assert TradingConfig(observation_window=10).reach(20) == 29
    assert TradingConfig(observation_window=1).reach(1) == 20


def test_rolling_trains_on_the_windows_before_and_anchored_on_all_of_them():
    assert list(training_windows(7, 3, TrainingSpan.ROLLING)) == [4, 5, 6]
    assert list(training_windows(7, 3, TrainingSpan.ANCHORED)) == [0, 1, 2, 3, 4, 5, 6]
    for span in TrainingSpan:
        assert list(training_windows(3, 3, span)) == [0, 1, 2]
        assert list(training_windows(2, 3, span)) == []


@pytest.fixture(scope="module")
def trained(training_panel):
    return train_policy(training_panel, CONFIG, 2)


def noisy(panel, rows: slice):
    """The panel with other bars and channels in `rows`."""
    random = np.random.default_rng(1)
    changed = {}
    for name in ("open", "high", "low", "close", "features"):
        values = getattr(panel, name).copy()
        values[rows] *= np.exp(
            random.normal(0, 0.02, values[rows].shape[:2]).reshape(values[rows].shape[:2] + (1,) * (values.ndim - 2))
        )
        changed[name] = values
    return dataclasses.replace(panel, **changed)


def test_nothing_of_the_embargo_reaches_the_agent(training_panel, trained):
    assert train_policy(noisy(training_panel, slice(-22, None)), CONFIG, 2).sha256 == trained.sha256
    assert train_policy(noisy(training_panel, slice(-53, -52)), CONFIG, 2).weights != trained.weights


def test_validation_chooses_among_the_checkpoints_and_changes_none_of_them(training_panel, trained):
    """Under other validation bars the scaler and the agents tried are the same; only the choice may differ."""
    stored = json.loads(trained.config_json)["training"]
    assert stored["checkpoints_tried"] == 5
    by_steps = {}
    for steps in range(1024, 5 * 1024 + 1, 1024):
        last = train_policy(
            training_panel,
            CONFIG.replace(validation_sessions=0, embargo_sessions=52, train_steps=steps),
            2,
        )
        by_steps[steps] = last
    assert by_steps[stored["checkpoint_steps"]].weights == trained.weights
    validation = split_span(training_panel, CONFIG).validation
    scores = {
        steps: roll_episode(policy, validation, policy.config.replace(stoppers=()), Engine.SIMULATOR)
        .reward["reward_value"]
        .sum()
        for steps, policy in by_steps.items()
    }
    assert len(set(scores.values())) == 5
    assert max(scores, key=scores.get) == stored["checkpoint_steps"]
    assert scores[stored["checkpoint_steps"]] == pytest.approx(stored["checkpoint_score"], abs=1e-3)
    other = train_policy(noisy(training_panel, slice(-52, -22)), CONFIG, 2)
    assert other.weights in {policy.weights for policy in by_steps.values()}
    assert json.loads(other.config_json)["scaler"] == json.loads(trained.config_json)["scaler"]


def test_the_config_of_an_agent_says_what_it_learned_from(training_panel, trained):
    stored = json.loads(trained.config_json)["training"]
    days = [str(day)[:10] for day in training_panel.sessions]
    assert stored["span"] == "rolling"
    assert stored["first_session"] == days[training_panel.start]
    assert stored["last_session"] == days[-53]
    assert (stored["validation_sessions"], stored["validation_last_session"]) == (30, days[-23])
    assert (stored["embargo_sessions"], stored["embargo_last_session"]) == (22, days[-1])
