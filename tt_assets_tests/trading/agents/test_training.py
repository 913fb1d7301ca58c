import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tt_assets.trading.agents.policy import load_policy, seal
from tt_assets.trading.agents.training import first_trained_session, train_policy
from tt_assets.trading.agents.walk_forward import split_span
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.episodes.roll import roll_episode
from tt_assets.trading.errors import ConfigError, NotEnoughHistory, PolicyMismatch
from tt_assets.trading.panel import MarketPanel

IN_ANOTHER_PROCESS = """
import pickle, sys
from tt_assets.trading.agents.training import train_policy
panel, config = pickle.load(sys.stdin.buffer)
print(train_policy(panel, config, 1).sha256)
"""


def test_the_same_seed_gives_the_same_bits_in_two_processes(training_panel, small_config, small_policy):
    other = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=pickle.dumps((training_panel, small_config)),
        capture_output=True,
        check=True,
    )
    assert other.stdout.decode().split()[-1] == small_policy.sha256


def test_training_does_not_depend_on_what_was_drawn_before_and_leaves_the_generators_alone(
    training_panel, small_config, small_policy
):
    import torch

    np.random.seed(99)
    torch.manual_seed(99)
    expected = np.random.get_state()[1].copy(), torch.random.get_rng_state().clone(), torch.get_num_threads()
    assert train_policy(training_panel, small_config, seed=1).sha256 == small_policy.sha256
    np.testing.assert_array_equal(np.random.get_state()[1], expected[0])
    assert torch.equal(torch.random.get_rng_state(), expected[1])
    assert torch.get_num_threads() == expected[2]


def test_another_seed_gives_another_agent(training_panel, small_config, small_policy):
    assert train_policy(training_panel, small_config, seed=2).weights != small_policy.weights


def test_look_back_validation_and_embargo_do_not_reach_the_scaler(training_panel, small_config):
    small_config = small_config.replace(validation_sessions=42, embargo_sessions=29)
    small_policy = train_policy(training_panel, small_config, 1)
    stored = json.loads(small_policy.config_json)
    scaler = Scaler.fit(split_span(training_panel, small_config).training)
    changed = dataclasses.replace(training_panel, features=training_panel.features.copy())
    changed.features[-71:] += 100.0  # 29 sessions of embargo and 42 of validation
    again = Scaler.fit(split_span(changed, small_config).training)
    np.testing.assert_array_equal(again.mean, scaler.mean)
    changed.features[-72] += 100.0
    assert not np.array_equal(Scaler.fit(split_span(changed, small_config).training).mean, scaler.mean)
    assert stored["scaler"]["mean"] == scaler.mean.tolist()
    np.testing.assert_array_equal(small_policy.scaler.std, scaler.std)


def test_progress_reaches_the_total(training_panel, small_config):
    seen: list[tuple[int, int, str]] = []
    train_policy(training_panel, small_config.replace(train_steps=2100), 0, report=lambda *step: seen.append(step))
    assert [done for done, _, _ in seen] == [2048, 2100]
    assert {total for _, total, _ in seen} == {2100}


def test_a_policy_survives_storing_and_acts_the_same_bit_for_bit(small_policy, window_panel):
    loaded = load_policy(small_policy.weights, small_policy.config_json, small_policy.sha256)
    assert loaded.sha256 == hashlib.sha256(small_policy.weights + small_policy.config_json.encode()).hexdigest()
    observation = np.random.default_rng(0).normal(size=loaded.network.inputs).astype(np.float32)
    np.testing.assert_array_equal(loaded.act(observation), small_policy.act(observation))


def test_acting_agrees_with_the_network_that_was_trained(small_policy):
    import torch

    from tt_assets.trading.agents.shared_actor import SharedActor

    actor = SharedActor.loaded(small_policy.network, small_policy.tensors)
    observations = np.random.default_rng(0).normal(size=(50, small_policy.network.inputs)).astype(np.float32)
    with torch.no_grad():
        expected = actor.forward_actor(torch.from_numpy(observations)).numpy().clip(0.0, 1.0)
    acted = np.array([small_policy.act(observation) for observation in observations])
    np.testing.assert_allclose(acted, expected, atol=1e-5)
    assert acted.std() > 1e-3


def test_the_weights_are_safetensors_and_nothing_pickled(small_policy):
    header = int.from_bytes(small_policy.weights[:8], "little")
    tensors = json.loads(small_policy.weights[8 : 8 + header])
    assert set(tensors) == set(small_policy.network.shapes())


def test_a_changed_byte_of_weights_or_config_is_refused_by_name(small_policy):
    weights = bytearray(small_policy.weights)
    weights[-1] ^= 1
    config = small_policy.config_json.replace('"seed":1', '"seed":3')
    for changed in ((bytes(weights), small_policy.config_json), (small_policy.weights, config)):
        with pytest.raises(PolicyMismatch, match="policy 2012Q3/sample: sha256 of weights and config is"):
            load_policy(*changed, small_policy.sha256, name="policy 2012Q3/sample")


def resealed(policy, **changes):
    return seal(policy.weights, json.dumps(json.loads(policy.config_json) | changes))


def test_a_policy_whose_tensors_differ_from_its_config_is_refused(small_policy):
    from safetensors.numpy import save

    tensors = dict(small_policy.tensors)
    lacking = {name: tensor for name, tensor in tensors.items() if name != "head.2.bias"}
    for weights, said in (
        (save(lacking), "lack tensor head.2.bias"),
        (save(tensors | {"extra": np.zeros(1, np.float32)}), "unknown tensor extra"),
        (save(tensors | {"head.2.bias": np.zeros(4, np.float32)}), r"head.2.bias is float32 \(4,\)"),
        (save(tensors | {"head.2.bias": np.zeros(1, np.float64)}), "head.2.bias is float64"),
        (pickle.dumps(tensors), "no safetensors"),
    ):
        broken = seal(weights, small_policy.config_json)
        with pytest.raises(PolicyMismatch, match=said):
            load_policy(broken.weights, broken.config_json, broken.sha256)


def test_a_policy_of_300_000_tensors_is_refused_before_one_is_read(small_policy, monkeypatch):
    nothing = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{number}": nothing for number in range(300_000)}).encode()
    flooded = seal(len(header).to_bytes(8, "little") + header, small_policy.config_json)
    monkeypatch.setattr("safetensors.numpy.load", lambda _: pytest.fail("it was read"))
    with pytest.raises(PolicyMismatch, match="have a header of"):
        load_policy(flooded.weights, flooded.config_json, flooded.sha256)


def test_a_policy_whose_config_does_not_hang_together_is_refused(small_policy):
    for changes, said in (
        ({"channels": ["a", "b"]}, "network reads 5 instruments, 3 channels"),
        ({"format": 1}, "format is 1"),
        ({"more": 1}, "other keys"),
        ({"scaler": {"mean": [1.0], "std": [1.0]}}, "cannot be read"),
        ({"trading": {"initial_cash": 1.0}}, "cannot be read"),
    ):
        broken = resealed(small_policy, **changes)
        with pytest.raises(PolicyMismatch, match=said):
            load_policy(broken.weights, broken.config_json, broken.sha256)


def test_a_span_too_short_says_how_many_sessions_there_are_and_how_many_are_needed(panel_of, small_config):
    small_config = small_config.replace(validation_sessions=42, embargo_sessions=29)
    with pytest.raises(NotEnoughHistory, match=r"113 sessions have prices and 41 can be traded .* needs 42"):
        train_policy(panel_of("2012-01-03", "2012-06-13"), small_config, 0)
    with pytest.raises(NotEnoughHistory, match=r"FB on 2011-10-03 to 2012-06-29: 30 sessions have prices and 0 can"):
        train_policy(panel_of("2011-10-03", "2012-06-29", instruments=("FB",)), small_config, 0)
    with pytest.raises(NotEnoughHistory, match="0 sessions have prices"):
        train_policy(panel_of("2010-01-04", "2010-09-30", instruments=("FB",)), small_config, 0)
    with pytest.raises(NotEnoughHistory, match="42 of validation and 29 of embargo"):
        train_policy(panel_of("2012-01-03", "2012-03-01"), small_config, 0)


def test_a_portfolio_with_an_instrument_that_is_not_listed_yet_trains(panel_of, small_config):
    panel = panel_of("2011-07-01", "2012-03-30")
    assert np.isnan(panel.close[:, panel.instruments.index("FB")]).all()
    policy = train_policy(panel, small_config.replace(validation_sessions=10, embargo_sessions=20), 0)
    assert np.isfinite(policy.tensors["head.2.weight"]).all()


def test_an_unknown_scheme_is_refused_before_anything_heavy_starts(training_panel, small_config):
    with pytest.raises(ConfigError, match="known are"):
        train_policy(training_panel, small_config.replace(reward_scheme="x"), 0)


def test_random_starts_cover_the_training_span_and_never_leave_it(training_panel, small_config):
    from tt_assets.trading.engines.vec_env import EPISODE_SESSIONS, SimulatorVecEnv

    simulator = Simulator(training_panel, small_config, Scaler.fit(training_panel), 16)
    env = SimulatorVecEnv(simulator, first_trained_session(training_panel, small_config))
    env.seed(0)
    env.reset()
    visited, starts, lengths = set(), set(), []
    begun = simulator.session.copy()
    for _ in range(500):
        visited.update(simulator.session.tolist())
        before = simulator.session.copy()
        *_, done, _ = env.step(np.random.default_rng(1).random((16, 5)))
        lengths.extend((before + 1 - begun)[done])
        starts.update(simulator.session[done].tolist())
        begun[done] = simulator.session[done]
    last = len(training_panel.sessions) - 1
    assert min(visited) == training_panel.start
    assert max(visited) == last - 1
    assert visited == set(range(training_panel.start, last))
    assert training_panel.start <= min(starts) <= max(starts) < last
    assert max(lengths) == EPISODE_SESSIONS


def test_the_simulator_keeps_the_contract_of_a_vec_env(training_panel, small_config):
    from stable_baselines3.common.vec_env import VecMonitor

    from tt_assets.trading.engines.vec_env import SimulatorVecEnv

    config = small_config.replace(max_drawdown=0.03)
    simulator = Simulator(training_panel, config, Scaler.fit(training_panel), 8)
    env = VecMonitor(SimulatorVecEnv(simulator, first_trained_session(training_panel, config)))
    env.seed(3)
    observation = env.reset()
    assert observation.shape == (8, *env.observation_space.shape)
    random = np.random.default_rng(0)
    ends = {True: 0, False: 0}
    for _ in range(200):
        assert env.observation_space.contains(observation[0])
        previous, kept = observation, observation.copy()
        observation, reward, done, infos = env.step(
            np.array([env.action_space.sample() for _ in range(8)]) * random.random()
        )
        np.testing.assert_array_equal(previous, kept)
        assert reward.shape == done.shape == (8,)
        assert np.isfinite(observation).all()
        for account in range(8):
            if done[account]:
                ends[infos[account]["TimeLimit.truncated"]] += 1
                last = infos[account]["terminal_observation"]
                assert last.shape == env.observation_space.shape
                assert not np.array_equal(last, observation[account])
                assert observation[account][-1] == 1.0
            else:
                assert "terminal_observation" not in infos[account]
    assert ends[True] > 0
    assert ends[False] > 0
    assert env.env_is_wrapped(VecMonitor, indices=[0, 1]) == [False] * 2
    assert len(env.get_attr("first")) == 8


@pytest.mark.slow
def test_an_agent_learns_a_signal_that_gives_tomorrow_away():
    random = np.random.default_rng(4)
    sessions = 400
    returns = random.normal(0, 0.01, (sessions, 2))
    close = 50.0 * np.exp(np.cumsum(returns, axis=0))
    opened = np.vstack([close[:1], close[:-1]])
    tomorrow = np.sign(np.vstack([returns[1:], np.zeros((1, 2))]))[..., None]
    days = np.datetime64("2010-01-01") + np.arange(sessions)

    def panel(first: int, last: int) -> MarketPanel:
        cut = slice(first - 30, last)
        price = close[cut]
        return MarketPanel(
            days[cut].astype("datetime64[ns]"), ("UP", "DOWN"), opened[cut], np.maximum(price, opened[cut]),
            np.minimum(price, opened[cut]), price, np.ones_like(price), tomorrow[cut], ("tomorrow",), start=30,
        )  # fmt: skip

    config = TradingConfig(commission_bps=0.0)
    policy = train_policy(panel(30, 220), config, 0)
    window = panel(220, 400)
    scaled = policy.scaler.scale(window.features)
    up_down = []
    for row in range(window.start, len(window.sessions) - 1):
        observation = np.concatenate([scaled[row].ravel(), [0.3, 0.3, 0.4]]).astype(np.float32)
        up_down.append((policy.act(observation), window.features[row, :, 0] > 0))
    acted, rising = (np.array(rows) for rows in zip(*up_down, strict=True))
    assert acted[rising].mean() > acted[~rising].mean() + 0.3


FORMAT_2 = Path(__file__).with_name("format_2")


@pytest.mark.parametrize("scheme", ["volatility_target", "discrete"])
def test_agents_stored_before_there_was_a_choice_of_learners_act_and_roll_as_they_did(scheme, window_panel):
    from tt_assets.trading.judging.checks import stored_config

    weights, config = (FORMAT_2 / f"{scheme}.safetensors").read_bytes(), (FORMAT_2 / f"{scheme}.json").read_text()
    expected = json.loads((FORMAT_2 / f"{scheme}.expected.json").read_text())
    policy = load_policy(weights, config, expected["sha256"])
    assert (policy.agent, policy.config.discount, policy.config.observation_window) == ("ppo", 0.95, 3)
    observations = np.random.default_rng(0).normal(size=(5, policy.network.inputs)).astype(np.float32)
    assert [policy.act(observation).tolist() for observation in observations] == expected["actions"]
    record = roll_episode(policy, window_panel, policy.config)
    assert record.equity_curve["net_worth"].tolist() == expected["net_worth"]
    rolled_then = dataclasses.replace(record, config_json=expected["episode_config"])
    assert TradingConfig.from_mapping(stored_config(rolled_then)["trading"]) == policy.config
