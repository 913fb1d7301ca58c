"""`tt_assets/Portfolio-v0`: what Gymnasium and Stable-Baselines3 ask of an environment, and our books."""

import warnings

import gymnasium
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_for_stable_baselines

from tt_assets import environments
from tt_assets.settings import SAMPLE_BARS
from tt_assets.trading.engines.trader import Engine

PORTFOLIO = ["AAPL", "IBM"]


@pytest.fixture(scope="module")
def bars():
    return pd.read_csv(SAMPLE_BARS, parse_dates=["timestamp"]).query("'2011-06-01' <= timestamp <= '2012-06-29'")


def made(bars, **kwargs):
    return gymnasium.make(environments.ID, bars=bars, portfolio=PORTFOLIO, **kwargs)


@pytest.mark.parametrize("scheme", ["volatility_target", "discrete"])
@pytest.mark.parametrize("length", [None, 63])
def test_both_checkers_are_content(bars, scheme, length):
    env = made(bars, config={"action_scheme": scheme}, episode_sessions=length)
    with warnings.catch_warnings():
        # Observations are scaled, not bounded, and an action of 0 is cash: both are said to be unusual.
        warnings.filterwarnings("ignore", message=".*(Box observation space|symmetric and normalized).*")
        check_env(env.unwrapped, skip_render_check=True)
        check_for_stable_baselines(env.unwrapped)


def test_a_span_is_traded_from_its_first_session_to_its_last_and_then_it_is_over(bars):
    env = made(bars, first="2012-01-03", last="2012-03-30", config={"stoppers": ()})
    _, info = env.reset(seed=1)
    assert (info["session"], info["net_worth"], info["cash"]) == ("2012-01-03", 10_000.0, 10_000.0)
    steps, truncated = 0, False
    while not truncated:
        _, _, terminated, truncated, info = env.step(np.full(2, 0.5, np.float32))
        steps += 1
        assert not terminated
    assert (steps, info["session"]) == (61, "2012-03-30")
    with pytest.raises(environments.NotTradable, match="the episode is over"):
        env.unwrapped.step(np.full(2, 0.5, np.float32))


def test_many_accounts_together_do_what_each_does_alone(bars):
    kwargs = {"first": "2012-01-03", "last": "2012-03-30", "config": {"stoppers": ()}}
    together = gymnasium.make_vec(environments.ID, 3, "vector_entry_point", bars=bars, portfolio=PORTFOLIO, **kwargs)
    alone = [made(bars, **kwargs) for _ in range(3)]
    seen, _ = together.reset(seed=3)
    for account, env in enumerate(alone):
        np.testing.assert_array_equal(seen[account], env.reset()[0])
    together.action_space.seed(5)
    for step in range(61):
        actions = together.action_space.sample()
        seen, rewards, terminated, truncated, infos = together.step(actions)
        for account, env in enumerate(alone):
            own, reward, *ended, info = env.step(actions[account])
            shown = infos["final_obs"][account] if step == 60 else seen[account]
            np.testing.assert_array_equal(shown, own)
            assert (rewards[account], [terminated[account], truncated[account]]) == (reward, ended)
            assert infos["net_worth"][account] == info["net_worth"]
    assert truncated.all()
    assert together.unwrapped.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    np.testing.assert_array_equal(seen, together.reset()[0])


@pytest.mark.parametrize("engine", list(Engine))
def test_a_rolled_agent_has_the_books_it_had_in_the_environment(bars, engine):
    env = made(bars, first="2012-01-03", last="2012-03-30")
    record = env.unwrapped.roll(lambda observation: np.tanh(observation[:2]), "mine", engine)
    seen, info = env.reset()
    net_worth, over = [info["net_worth"]], False
    while not over:
        seen, _, terminated, truncated, info = env.step(np.tanh(seen[:2]))
        net_worth.append(info["net_worth"])
        over = terminated or truncated
    np.testing.assert_allclose(record.equity_curve["net_worth"], net_worth, rtol=1e-7)
    assert set(record.target_weights["instrument"]) == {*PORTFOLIO, "CASH"}


def test_the_same_seed_starts_at_the_same_sessions(bars):
    env = made(bars, episode_sessions=21)
    starts = [[env.reset(seed=seed)[1]["session"] for seed in (1, 2, 3)] for _ in range(2)]
    assert starts[0] == starts[1]
    assert len(set(starts[0])) > 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bars": pd.DataFrame({"close": [1.0]})}, "the bars lack instrument, timestamp"),
        ({"portfolio": ["TSLA"]}, "the portfolio names TSLA; there are bars of AAPL"),
        ({"portfolio": []}, "the portfolio names no instrument"),
        ({"first": "2012-06-29"}, "leave 1 to trade; two are needed"),
        ({"config": {"reward": "x"}}, "unknown trading setting reward"),
    ],
)
def test_what_no_environment_can_be_made_of_is_said_on_one_line(bars, change, said):
    with pytest.raises(Exception, match=said):
        environments.PortfolioEnv(**{"bars": bars, "portfolio": PORTFOLIO, **change})
