"""The rules a config names, built-in ones and those of the user's own modules, and how they are made from it.

A config lists the modules it needs (`trading_modules`), so the same config finds the same classes in every process, and
a stored agent says where its own came from.

    class HalfInvested(ActionScheme):
        "Half of net worth in equal parts, whatever the agent says."
        name = "half_invested"

        def scale(self, panel):
            return np.where(panel.listed, 0.5 / len(panel.instruments), 0.0)
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from tt_assets.plugins import Plugin, PluginKind, load_plugins, plugin_modules
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.errors import ConfigError
from tt_assets.trading.rules import costs, rewards, schemes
from tt_assets.trading.rules import stoppers as stopping
from tt_assets.trading.rules.costs import CostModel
from tt_assets.trading.rules.rewards import RewardScheme
from tt_assets.trading.rules.schemes import ActionScheme
from tt_assets.trading.rules.stoppers import Stopper

RULES = PluginKind(
    "tt_assets.rules",
    "TT_TRADING_MODULES",
    "defines no action scheme, reward scheme, cost model or stopper with a name and all its methods. Derive a class "
    "from one of them, or take the module out.",
    ConfigError,
)

BUILT_IN = tuple(module.__name__ for module in (schemes, rewards, costs, stopping))

type Rule = ActionScheme | RewardScheme | CostModel | Stopper


@dataclass(frozen=True)
class Rules:
    """Every rule there is to choose from, by the name that a config calls it.

    Parameters
    ----------
    action_schemes, reward_schemes, cost_models, stoppers : name → class.
    """

    action_schemes: Mapping[str, type[ActionScheme]]
    reward_schemes: Mapping[str, type[RewardScheme]]
    cost_models: Mapping[str, type[CostModel]]
    stoppers: Mapping[str, type[Stopper]]


def trading_modules(named: Sequence[str]) -> tuple[str, ...]:
    """What belongs into `TradingConfig.trading_modules`: the modules that the setting names and those of entry points.

    A config that is made of settings lists both, so that an agent is stored with all the modules it was made with.
    """
    return plugin_modules(RULES, named)


def load_rules(modules: Sequence[str] = ()) -> Rules:
    """The built-in rules and those that `modules` define.

    A class counts when it is complete, has a `name` and is defined in the module itself. Raises ConfigError, on one
    line, for a module that cannot be imported or has none, and for a name that is taken.
    """
    return _load(tuple(dict.fromkeys(modules)))


def action_scheme(config: TradingConfig) -> ActionScheme:
    """The action scheme of `config`; an unknown name raises ConfigError listing the known ones."""
    known = load_rules(config.trading_modules).action_schemes
    return named(known, config.action_scheme, "action scheme").from_config(config)


def reward_scheme(config: TradingConfig, accounts: int) -> RewardScheme:
    """The reward scheme of `config`, with nothing past.

    Parameters
    ----------
    config : its `reward_scheme`; an unknown name raises ConfigError listing the known ones.
    accounts : accounts (B) that are stepped together.
    """
    known = load_rules(config.trading_modules).reward_schemes
    return named(known, config.reward_scheme, "reward scheme")(accounts)


def cost_model(config: TradingConfig) -> CostModel:
    """The cost model of `config` times its `cost_multiple`; an unknown name raises ConfigError listing the known."""
    known = load_rules(config.trading_modules).cost_models
    model = named(known, config.cost_model, "cost model").from_config(config)
    return model if config.cost_multiple == 1.0 else model.times(config.cost_multiple)


def stoppers(config: TradingConfig) -> tuple[Stopper, ...]:
    """The stoppers that `config` names, in its order; an unknown name raises ConfigError listing the known ones."""
    known = load_rules(config.trading_modules).stoppers
    return tuple(named(known, name, "stopper").from_config(config) for name in config.stoppers)


def named[Kind](registry: Mapping[str, Kind], name: str, what: str) -> Kind:
    """The rule of a name.

    Parameters
    ----------
    registry : name → rule.
    name : as the config or the user has it.
    what : the kind of rule, for the message.

    Raises
    ------
    ConfigError : there is none of this name; lists the known ones.
    """
    try:
        return registry[name]
    except KeyError:
        raise ConfigError(f"{what} {name!r} is unknown; known are: {', '.join(sorted(registry))}.") from None


@cache
def _load(modules: tuple[str, ...]) -> Rules:
    found = [plugin.item for plugin in load_plugins(RULES, (*BUILT_IN, *modules), _own)]
    return Rules(
        {rule.name: rule for rule in found if issubclass(rule, ActionScheme)},
        {rule.name: rule for rule in found if issubclass(rule, RewardScheme)},
        {rule.name: rule for rule in found if issubclass(rule, CostModel)},
        {rule.name: rule for rule in found if issubclass(rule, Stopper)},
    )


_WORDS: Mapping[type[Rule], str] = {
    ActionScheme: "action scheme",
    RewardScheme: "reward scheme",
    CostModel: "cost model",
    Stopper: "stopper",
}


def _own(module: ModuleType) -> Iterator[Plugin[type[Rule]]]:
    for value in vars(module).values():
        if not inspect.isclass(value) or inspect.isabstract(value) or value.__module__ != module.__name__:
            continue  # no rule, one to derive from, or one that the module imports from elsewhere
        for kind, word in _WORDS.items():
            if issubclass(value, kind) and isinstance(getattr(value, "name", None), str):
                yield Plugin(word, value.name, value)
