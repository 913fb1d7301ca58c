"""What a feature and a signal are, and how those of a user are found beside the built-in ones.

Nothing is kept in a global list. The decorators turn a function into a `Feature` or `Signal`, which stays
an attribute of its module; loading a module means looking at its attributes, so the same modules give the same registry
in the same order whatever else the process has imported.

    @feature(name="gap_2", lookback=2, unit="fraction")
    def gap_2(bars: BarPanel) -> pd.DataFrame:
        "Open over the close two sessions before, less one."
        return bars.open / bars.close.shift(2) - 1
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import pandas as pd

from tt_assets.errors import UserError
from tt_assets.research.panel import BAR_FIELDS, BarPanel

ComputeFeature = Callable[[BarPanel], pd.DataFrame]
ComputeSignal = Callable[[BarPanel, Mapping[str, pd.DataFrame]], pd.DataFrame]

BUILT_IN_FEATURES = "tt_assets.research.features"
BUILT_IN_SIGNALS = "tt_assets.research.signals"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")


class RegistryError(UserError):
    """A module of features or signals cannot be used as it stands."""


@dataclass(frozen=True)
class Feature:
    """A named value per instrument and session.

    `compute` takes the panel and returns sessions × instruments on its axes; row t may read rows t-lookback … t,
    nothing else, and is known at the close of t. NaN says undefined. `lookback` counts the sessions before t
    (return_1: 1).
    """

    name: str
    lookback: int
    unit: str
    compute: ComputeFeature
    description: str

    def __post_init__(self) -> None:
        _check(self.name, self.lookback)
        if self.name in BAR_FIELDS:
            raise RegistryError(f'Feature "{self.name}" has the name of a field of the bars. Choose another name.')


@dataclass(frozen=True)
class Signal:
    """A named conviction in [-1, 1] per instrument and session.

    `compute` takes the panel and the frames of the features among `inputs` (features and bar fields it reads), all
    sessions × instruments; row t may read rows t-lookback … t of them. `method` says the formula in one line.
    """

    name: str
    lookback: int
    inputs: tuple[str, ...]
    method: str
    compute: ComputeSignal

    def __post_init__(self) -> None:
        _check(self.name, self.lookback)


def feature(
    *, name: str, lookback: int, unit: str, description: str | None = None
) -> Callable[[ComputeFeature], Feature]:
    """Make a Feature of the decorated function; the description defaults to the first line of its docstring."""

    def registered(compute: ComputeFeature) -> Feature:
        text = description or next(iter((compute.__doc__ or "").strip().splitlines()), "")
        return Feature(name, lookback, unit, compute, text)

    return registered


def signal(*, name: str, lookback: int, inputs: Sequence[str], method: str) -> Callable[[ComputeSignal], Signal]:
    """Make a Signal of the decorated function."""

    def registered(compute: ComputeSignal) -> Signal:
        return Signal(name, lookback, tuple(inputs), method, compute)

    return registered


def load_features(modules: Sequence[str] = ()) -> tuple[Feature, ...]:
    """The built-in features, then those of `modules`, each module in the order of its source.

    Raises RegistryError, naming module and feature, for a module that cannot be imported or has no feature of its own,
    and for a name used twice.
    """
    return _load(Feature, "feature", "TT_FEATURE_MODULES", (BUILT_IN_FEATURES, *modules))


def load_signals(modules: Sequence[str] = (), features: Sequence[Feature] | None = None) -> tuple[Signal, ...]:
    """The built-in signals, then those of `modules`; errors as in `load_features`.

    With `features`, also raises RegistryError for an input that is neither one of them nor a field of the bars, and for
    a signal named like a feature (an agent sees both side by side).
    """
    signals = _load(Signal, "signal", "TT_SIGNAL_MODULES", (BUILT_IN_SIGNALS, *modules))
    if features is not None:
        names = {known.name for known in features}
        for item in signals:
            if item.name in names:
                raise RegistryError(f'Signal "{item.name}" has the name of a feature. Choose another name.')
            for unknown in sorted({*item.inputs} - names - {*BAR_FIELDS}):
                raise RegistryError(
                    f'Signal "{item.name}" reads "{unknown}", which is neither a feature nor one of '
                    f"{', '.join(BAR_FIELDS)}. Name its module in TT_FEATURE_MODULES, or mend the inputs."
                )
    return signals


def longest_lookback(items: Sequence[Feature] | Sequence[Signal]) -> int:
    """Sessions before t that the most far-sighted of `items` reads; 0 without items."""
    return max((item.lookback for item in items), default=0)


def _check(name: str, lookback: int) -> None:
    if not _NAME.fullmatch(name):
        raise RegistryError(f'"{name}" is no name for a feature or signal. Use letters, digits and _, a letter first.')
    if not isinstance(lookback, int) or lookback < 0:
        raise RegistryError(f'"{name}" has look-back {lookback!r}. Give the number of sessions before t that it reads.')


def _load[Item: (Feature, Signal)](
    kind: type[Item], word: str, setting: str, modules: Sequence[str]
) -> tuple[Item, ...]:
    found: dict[str, tuple[Item, str]] = {}
    for name in dict.fromkeys(modules):
        own = [value for value in vars(_import(name, setting)).values() if isinstance(value, kind)]
        own = [item for item in own if item.compute.__module__ == name]  # not those imported from elsewhere
        if not own:
            raise RegistryError(f'Module "{name}" in {setting} has no {word} of its own. Decorate one with @{word}.')
        for item in own:
            if item.name in found and found[item.name][0] is not item:
                raise RegistryError(
                    f'{word.capitalize()} "{item.name}" is in both {found[item.name][1]} and {name}. Rename one.'
                )
            found[item.name] = (item, name)
    return tuple(item for item, _ in found.values())


def _import(name: str, setting: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise RegistryError(
                f'Module "{name}" in {setting} cannot be found. Fix the name, or put its folder on PYTHONPATH.'
            ) from error
        raise _failed(name, setting, error) from error
    except Exception as error:
        raise _failed(name, setting, error) from error


def _failed(name: str, setting: str, error: Exception) -> RegistryError:
    text = " ".join(str(error).split())
    return RegistryError(f'Module "{name}" in {setting} fails on import: {type(error).__name__}: {text}. Mend it.')
