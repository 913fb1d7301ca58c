"""Looking a class up by its name, among the built-in ones and those of the user's own modules.

Nothing is kept in a global list. A config names the modules it needs (`trading_modules`), so the same
config finds the same classes in every process, and a stored agent says where its own came from.

    class HalfInvested(ActionScheme):
        "Half of net worth in equal parts, whatever the agent says."
        name = "half_invested"

        def scale(self, panel):
            return np.where(panel.listed, 0.5 / len(panel.instruments), 0.0)
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from tt_assets.errors import UserError
from tt_assets.trading.errors import ConfigError

if TYPE_CHECKING:
    from tt_assets.trading.rules.costs import CostModel
    from tt_assets.trading.rules.rewards import RewardScheme
    from tt_assets.trading.rules.schemes import ActionScheme
    from tt_assets.trading.rules.stoppers import Stopper

SETTING = "TT_TRADING_MODULES"


def named[Kind](registry: Mapping[str, Kind], name: str, what: str) -> Kind:
    """`registry[name]`; ConfigError naming `what` and the known names when there is none."""
    try:
        return registry[name]
    except KeyError:
        raise ConfigError(f"{what} {name!r} is unknown; known are: {', '.join(sorted(registry))}.") from None


@dataclass(frozen=True)
class Extensions:
    """The user's own classes, by name."""

    action_schemes: Mapping[str, type[ActionScheme]]
    reward_schemes: Mapping[str, type[RewardScheme]]
    cost_models: Mapping[str, type[CostModel]]
    stoppers: Mapping[str, type[Stopper]]


def load_extensions(modules: Sequence[str]) -> Extensions:
    """The schemes, rewards, cost models and stoppers that `modules` define.

    A class counts when it is complete, has a `name` and is defined in the module itself. Raises ConfigError, on one
    line with module and class, for a module that cannot be imported or has none, and for a name that is taken.
    """
    return _load(tuple(dict.fromkeys(modules)))


@cache
def _load(modules: tuple[str, ...]) -> Extensions:
    from tt_assets.trading.rules.costs import COST_MODELS, CostModel
    from tt_assets.trading.rules.rewards import REWARD_SCHEMES, RewardScheme
    from tt_assets.trading.rules.schemes import ACTION_SCHEMES, ActionScheme
    from tt_assets.trading.rules.stoppers import STOPPERS, Stopper

    for module in modules:
        if not any(_own(module, kind) for kind in (ActionScheme, RewardScheme, CostModel, Stopper)):
            raise ConfigError(
                f'module "{module}" in {SETTING} defines no action scheme, reward scheme, cost model or stopper with a '
                "name and all its methods. Derive a class from one of them, or take the module out."
            )
    return Extensions(
        _of_kind(ActionScheme, ACTION_SCHEMES, modules),  # type: ignore[type-abstract]
        _of_kind(RewardScheme, REWARD_SCHEMES, modules),  # type: ignore[type-abstract]
        _of_kind(CostModel, COST_MODELS, modules),  # type: ignore[type-abstract]
        _of_kind(Stopper, STOPPERS, modules),  # type: ignore[type-abstract]
    )


def _of_kind[Kind](
    kind: type[Kind], taken: Mapping[str, type[Kind]], modules: tuple[str, ...]
) -> dict[str, type[Kind]]:
    found: dict[str, type[Kind]] = {}
    for module in modules:
        for own in _own(module, kind):
            name = own.name  # type: ignore[attr-defined]
            if name in taken or name in found:
                raise ConfigError(
                    f'{own.__qualname__} in module "{module}" is named {name!r}, which is taken. Rename it.'
                )
            found[name] = own
    return found


def _own[Kind](module: str, kind: type[Kind]) -> list[type[Kind]]:
    return [
        value
        for value in vars(_import(module)).values()
        if inspect.isclass(value)
        and issubclass(value, kind)
        and not inspect.isabstract(value)
        and isinstance(getattr(value, "name", None), str)
        and value.__module__ == module  # not those imported from elsewhere
    ]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f'module "{name}" in {SETTING} cannot be found. Fix the name, or put its folder on PYTHONPATH.'
            ) from error
        text = " ".join(str(error).split())
        raise ConfigError(
            f'module "{name}" in {SETTING} fails on import: {type(error).__name__}: {text}. Mend it.'
        ) from error
