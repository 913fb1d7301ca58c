"""Learners beside each other: the same contract, other ways."""

import json

import numpy as np
import pytest

from tt_assets.trading.agents.learners import learner_of, load_learners
from tt_assets.trading.agents.policy import load_policy
from tt_assets.trading.agents.ridge import next_returns_over_sigma, ridge
from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.choice import Engine
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.errors import ConfigError, NotEnoughHistory

OWN = """
import numpy as np
from tt_assets.trading.agents.learner import Learned, Learner
from tt_assets.trading.agents.networks import Dense
from tt_assets.trading.rules.registry import action_scheme


class AlwaysHalf(Learner):
    name = "always_half"

    def train(self, lesson):
        network = Dense(**lesson.shape(action_scheme(lesson.config)), hidden=(), activation="tanh", squashed=0)
        zeros = np.zeros((network.instruments, network.inputs), np.float32)
        tensors = {"layers.0.weight": zeros, "layers.0.bias": np.full(network.instruments, 0.5, np.float32)}
        return Learned(network, tensors, steps=0, checkpoint_steps=0)
"""


@pytest.mark.parametrize("agent", ["ppo", "gradient", "ridge", "sb3:A2C"])
@pytest.mark.parametrize("scheme", ["volatility_target", "long_only_weights"])
def test_every_learner_trains_stores_rolls_and_gives_the_same_bits_again(agent, scheme, training_panel, window_panel):
    config = TradingConfig(agent=agent, action_scheme=scheme, train_steps=256, account_group=4, train_accounts=16)
    policy = train_policy(training_panel, config, 3)
    assert train_policy(training_panel, config, 3).sha256 == policy.sha256
    stored = load_policy(policy.weights, policy.config_json, policy.sha256)
    assert (stored.agent, stored.config) == (agent, config)
    record = roll_episode(stored, window_panel, config, Engine.SIMULATOR)
    assert np.isfinite(record.equity_curve["net_worth"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["sb3:TD3", "sb3:SAC", "sb3:DDPG", "sb3:TRPO", "sb3:TQC"])
def test_algorithms_of_stable_baselines_are_stored_as_they_act(agent, training_panel):
    policy = train_policy(training_panel, TradingConfig(agent=agent, train_steps=512, train_accounts=16), 0)
    assert policy.network.kind == "dense"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent": "nobody"}, r"agent 'nobody' is unknown; known are: gradient, ppo, ridge, sb3:NAME"),
        ({"agent": "sb3:Nothing"}, r"agent sb3:Nothing is unknown; known are: .*A2C.*TD3"),
        ({"agent": "sb3:DQN"}, r"agent sb3:DQN cannot trade the actions of volatility_target"),
        ({"agent": "gradient", "action_scheme": "discrete"}, "agent gradient needs a scheme whose actions are numbers"),
        ({"network": "deep"}, r"network 'deep' is unknown; known are: shared, separate"),
    ],
)
def test_what_does_not_go_together_is_one_line(changes, said, training_panel):
    with pytest.raises(ConfigError, match=said) as refused:
        train_policy(training_panel, TradingConfig(**changes), 0)
    assert "\n" not in str(refused.value)


def test_ridge_in_closed_form_equals_an_augmented_least_squares():
    random = np.random.default_rng(0)
    inputs, target = random.normal(size=(200, 6)), random.normal(size=200)
    coefficients, intercept = ridge(inputs, target, 30.0)
    # Ridge is least squares with √penalty rows of its own for each centred coefficient.
    centred = inputs - inputs.mean(axis=0)
    rows = np.vstack([centred, np.sqrt(30.0) * np.eye(6)])
    expected, *_ = np.linalg.lstsq(rows, np.concatenate([target - target.mean(), np.zeros(6)]), rcond=None)
    np.testing.assert_allclose(coefficients, expected, atol=1e-10)
    assert intercept == pytest.approx(target.mean() - inputs.mean(axis=0) @ expected)


def test_ridge_reads_no_return_after_the_span(training_panel):
    outcome = next_returns_over_sigma(training_panel)
    assert np.isnan(outcome[-1]).all()
    shortened = next_returns_over_sigma(training_panel.until(len(training_panel.sessions) - 1))
    np.testing.assert_array_equal(outcome[: len(shortened) - 1], shortened[:-1])


def test_a_learner_of_ones_own_is_found_by_its_module(tmp_path, monkeypatch, training_panel):
    (tmp_path / "my_learners_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = TradingConfig(agent="always_half", learner_modules=("my_learners_of_a_test",))
    policy = train_policy(training_panel, config, 0)
    np.testing.assert_array_equal(policy.act(np.ones(policy.network.inputs, np.float32)), np.full(5, 0.5))
    assert set(load_learners()) == {"ppo", "gradient", "ridge"}
    with pytest.raises(ConfigError, match="always_half"):
        learner_of(TradingConfig(agent="always_half"))


@pytest.mark.parametrize("agent", ["ppo", "gradient", "ridge"])
def test_one_instrument_a_constant_channel_and_one_that_is_never_known_train(agent, panel_of):
    panel = panel_of("2011-10-03", "2012-06-29", instruments=("AAPL",))
    panel.features[:, :, 0], panel.features[:, :, 1] = 1.0, np.nan
    policy = train_policy(panel, TradingConfig(agent=agent, train_steps=4_096), 0)
    assert np.isfinite(policy.act(np.zeros(policy.network.inputs, np.float32))).all()


def test_a_span_without_two_returns_is_too_short_for_ridge(panel_of):
    with pytest.raises(NotEnoughHistory):
        train_policy(panel_of("2012-05-18", "2012-06-15", instruments=("FB",)), TradingConfig(agent="ridge"), 0)


def test_two_hundred_instruments_train(panel_of):
    import dataclasses

    panel = panel_of("2011-10-03", "2012-06-29")
    names = tuple(f"S{number:03d}" for number in range(200))
    many = {name: np.tile(getattr(panel, name), (1, 40)) for name in ("open", "high", "low", "close", "volume")}
    wide = dataclasses.replace(panel, instruments=names, features=np.tile(panel.features, (1, 40, 1)), **many)
    policy = train_policy(wide, TradingConfig(train_steps=2_048), 0)
    assert policy.act(np.zeros(policy.network.inputs, np.float32)).shape == (200,)
    assert len(policy.weights) < 10_000


def test_the_learning_curve_and_the_settings_are_in_the_config(small_policy):
    stored = json.loads(small_policy.config_json)
    assert stored["agent"] == "ppo"
    assert stored["trading"]["learning_rate"] == 1.5e-3
    assert len(stored["training"]["curve"]) == 1
