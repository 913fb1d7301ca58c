"""The learners by name: those built in, any algorithm of Stable-Baselines3, and those of the user's own modules."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType

from tt_assets.plugins import Plugin, PluginKind, load_plugins, plugin_modules
from tt_assets.trading.agents import gradient, ppo, ridge
from tt_assets.trading.agents.learner import Learner
from tt_assets.trading.agents.stable_baselines import PREFIX, StableBaselines
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.errors import ConfigError

PLUGINS = PluginKind(
    "tt_assets.learners",
    "TT_LEARNER_MODULES",
    "defines no learner with a name and a method train. Derive a class from Learner, or take the module out.",
    ConfigError,
)

BUILT_IN = tuple(module.__name__ for module in (ppo, gradient, ridge))


def learner_modules(named: Sequence[str]) -> tuple[str, ...]:
    """What belongs into `TradingConfig.learner_modules`: modules the setting names and those of entry points."""
    return plugin_modules(PLUGINS, named)


def load_learners(modules: Sequence[str] = ()) -> Mapping[str, type[Learner]]:
    """Learners by name: those built in and those that `modules` define. Raises ConfigError as `load_rules` does."""
    found = load_plugins(PLUGINS, (*BUILT_IN, *modules), _own)
    return {plugin.name: plugin.item for plugin in found}


def learner_of(config: TradingConfig) -> Learner:
    """The learner that `config.agent` names.

    Raises
    ------
    ConfigError : there is none of this name, listing the known ones; a module of `config.learner_modules` is amiss.
    """
    if config.agent.startswith(PREFIX):
        return StableBaselines(config.agent.removeprefix(PREFIX))
    known = load_learners(config.learner_modules)
    if config.agent not in known:
        names = ", ".join([*sorted(known), f"{PREFIX}NAME"])
        raise ConfigError(f"agent {config.agent!r} is unknown; known are: {names}.")
    return known[config.agent]()


def _own(module: ModuleType) -> Iterator[Plugin[type[Learner]]]:
    for value in vars(module).values():
        if not inspect.isclass(value) or not issubclass(value, Learner) or value.__module__ != module.__name__:
            continue
        if not inspect.isabstract(value) and isinstance(getattr(value, "name", None), str):
            yield Plugin("learner", value.name, value)
