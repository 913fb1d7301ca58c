"""How much of what can be known agents learn, at their defaults, in worlds with a known answer.

A figure is a share: growth of the agent over that of the better of two simple learners on the same observation, both
net of costs on unseen sessions. Beside it stand equal weights, who knows the truth, and CPU seconds of a training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets_tests.benchmarks.worlds import Outcome, World, always, drawn, traded_by, truth

SIMPLE = ("ridge", "gradient")


@dataclass(frozen=True)
class Case:
    """Worlds of one kind and the seeds of the agents that are trained in each."""

    kind: str
    instruments: int
    r2: float = 0.05
    worlds: tuple[int, ...] = (0, 1, 2)
    seeds: tuple[int, ...] = (0, 1)
    trained: int = 189


CASES = (
    Case("planted", 1, 0.05, (0, 1, 2, 3, 4, 5)),
    Case("planted", 5, 0.05),
    Case("planted", 20, 0.05, (0, 1)),
    Case("planted", 50, 0.05, (0,), (0,)),
    Case("planted", 1, 0.20),
    Case("planted", 5, 0.20),
    Case("planted", 20, 0.20, (0, 1), (0,)),
    Case("momentum", 20, 0.05, (0, 1), (0,)),
    Case("regimes", 5, worlds=(0, 1), trained=1_000),
    Case("noise", 5),
    Case("noise", 20, worlds=(0, 1), seeds=(0,)),
)


@dataclass(frozen=True)
class Trained:
    """One agent in one world: what it earned, and the CPU seconds of its training."""

    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Found:
    """What came of a case: agents by (world, seed), simple learners, equal weights and the truth by world."""

    agents: Mapping[tuple[int, int], Trained]
    simple: Mapping[tuple[int, str], Trained]
    equal: Mapping[int, Outcome]
    known: Mapping[int, Outcome]

    def best(self, world: int) -> float:
        """Growth of the better of the simple learners in a world, % a year."""
        return max(self.simple[world, name].outcome.growth for name in SIMPLE)

    def growth(self) -> float:
        """Mean growth of the agents, % a year."""
        return mean(trained.outcome.growth for trained in self.agents.values())

    def share(self) -> float:
        """Mean growth of the agents over the mean of the better simple learner of their worlds."""
        return self.growth() / mean(self.best(world) for world, _ in self.agents)


def run_case(case: Case, config: TradingConfig | None = None) -> Found:
    """Train and trade every agent of `case`, under `config` (the defaults)."""
    config = config or TradingConfig()
    agents, simple, equal, known = {}, {}, {}, {}
    for number in case.worlds:
        world = drawn(World(case.kind, case.instruments, case.r2, number, trained=case.trained))
        equal[number] = always(1.0 / case.instruments, world, config)
        known[number] = truth(world, config)
        for name in SIMPLE:
            simple[number, name] = _trained(world, config.replace(agent=name), 0)
        for seed in case.seeds:
            agents[number, seed] = _trained(world, config, seed)
    return Found(agents, simple, equal, known)


def run_agents(case: Case, config: TradingConfig) -> Mapping[tuple[int, int], Trained]:
    """The agents of `case` alone, by (world, seed)."""
    worlds = {
        number: drawn(World(case.kind, case.instruments, case.r2, number, trained=case.trained))
        for number in case.worlds
    }
    return {(number, seed): _trained(worlds[number], config, seed) for number in worlds for seed in case.seeds}


def _trained(world: Any, config: TradingConfig, seed: int) -> Trained:
    started = time.process_time()
    policy = train_policy(world.training, config, seed)
    seconds = time.process_time() - started
    return Trained(traded_by(policy, world), seconds)


def measure() -> Iterator[Mapping[str, Any]]:
    """A line for each case; growth in % a year, net of 10 basis points a trade."""
    for case in CASES:
        found = run_case(case)
        outcomes = [trained.outcome for trained in found.agents.values()]
        yield {
            "world": case.kind,
            "r2": case.r2,
            "instruments": case.instruments,
            "agent": [round(outcome.growth, 1) for outcome in outcomes],
            "ridge": [round(found.simple[world, "ridge"].outcome.growth, 1) for world in case.worlds],
            "gradient": [round(found.simple[world, "gradient"].outcome.growth, 1) for world in case.worlds],
            "equal_weight": [round(found.equal[world].growth, 1) for world in case.worlds],
            "truth": [round(found.known[world].growth, 1) for world in case.worlds],
            "share": round(found.share(), 2),
            "gross": round(mean(outcome.gross for outcome in outcomes), 2),
            "turnover": round(mean(outcome.turnover for outcome in outcomes), 3),
            **(
                {
                    "gross_good": [round(outcome.good, 2) for outcome in outcomes],
                    "gross_bad": [round(outcome.bad, 2) for outcome in outcomes],
                }
                if case.kind == "regimes"
                else {}
            ),
            "cpu_seconds": round(mean(trained.seconds for trained in found.agents.values()), 2),
        }
