"""What each ingredient of the default agent is worth: growth in three worlds with it taken out, beside the whole.

One agent and world each, so a difference of a few points says nothing; what is carried stands out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

from tt_assets.trading.config import TradingConfig
from tt_assets_tests.benchmarks.agents import Case, run_agents

CASES = (
    Case("planted", 5, 0.05, (0,), (0, 1)),
    Case("planted", 20, 0.05, (0,), (0,)),
    Case("planted", 20, 0.20, (0,), (0,)),
)

WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "whole": {},
    "weights of its own for each instrument": {"network": "separate"},
    "no group mean": {"account_group": 1},
    "narrow exploration": {"exploration": 0.37},
    "no common exploration": {"common_exploration": 0.0},
    "no noise on inputs": {"input_noise": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "discount and lambda 0.95": {"discount": 0.95, "gae_lambda": 0.95},
    "window of ten sessions": {"observation_window": 10},
    "42 sessions of validation, 29 of embargo": {"validation_sessions": 42, "embargo_sessions": 29},
    "reward log_growth": {"reward_scheme": "log_growth"},
    "reward drawdown_rise": {"reward_scheme": "drawdown_rise"},
    "scheme long_only_weights": {"action_scheme": "long_only_weights"},
}
"""What is taken out or exchanged → the settings that do it."""


def measure() -> Iterator[Mapping[str, Any]]:
    """A line for each ingredient; growth in % a year, net of 10 basis points a trade."""
    for name, changes in WITHOUT.items():
        config = TradingConfig().replace(**changes)
        found = [run_agents(case, config) for case in CASES]
        yield {
            "without": name,
            **{
                f"r2 {case.r2} n {case.instruments}": round(mean(one.outcome.growth for one in agents.values()), 1)
                for case, agents in zip(CASES, found, strict=True)
            },
            "cpu_seconds": round(mean(one.seconds for agents in found for one in agents.values()), 2),
        }
