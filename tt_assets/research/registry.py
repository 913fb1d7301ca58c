"""What a feature and a signal are, and those of a user beside the built-in ones.

The decorators turn a function into a `Feature` or `Signal`, which stays an attribute of its module; `tt_assets.plugins`
finds it there.

    @feature(name="gap_2", lookback=2, unit="fraction")
    def gap_2(bars: BarPanel) -> pd.DataFrame:
        "Open over the close two sessions before, less one."
        return bars.open / bars.close.shift(2) - 1
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType

import pandas as pd

from tt_assets.errors import UserError
from tt_assets.plugins import Plugin, PluginKind, load_plugins, plugin_modules
from tt_assets.research.panel import BAR_FIELDS, BarPanel

ComputeFeature = Callable[[BarPanel], pd.DataFrame]
ComputeSignal = Callable[[BarPanel, Mapping[str, pd.DataFrame]], pd.DataFrame]

BUILT_IN_FEATURES = "tt_assets.research.features"
BUILT_IN_SIGNALS = "tt_assets.research.signals"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")


class RegistryError(UserError):
    """A module of features or signals cannot be used as it stands."""


FEATURES = PluginKind(
    "tt_assets.features", "TT_FEATURE_MODULES", "has no feature of its own. Decorate one with @feature.", RegistryError
)
SIGNALS = PluginKind(
    "tt_assets.signals", "TT_SIGNAL_MODULES", "has no signal of its own. Decorate one with @signal.", RegistryError
)


@dataclass(frozen=True)
class Feature:
    """A named value per instrument and session.

    Parameters
    ----------
    name : unique among features and signals, and no field of the bars.
    lookback : how many sessions before t row t reads (return_1: 1).
    unit : of the value, for people.
    compute : takes a BarPanel and returns float sessions × instruments on its axes; row t uses rows t-lookback … t,
        nothing else, and is known at the close of t. NaN where it is undefined, never infinite.
    description : one line for people.

    Raises
    ------
    RegistryError : the name or the look-back is none that a feature may have.
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
    """A named conviction per instrument and session, -1 (short) to 1 (long).

    Parameters
    ----------
    name : unique among features and signals.
    lookback : how many sessions before t row t reads, of its inputs.
    inputs : features and fields of the bars that it reads.
    method : the formula in one line, for people.
    compute : takes a BarPanel and the frames of the features among `inputs` by name, all sessions × instruments, and
        returns float on the same axes, in [-1, 1]; row t uses rows t-lookback … t and is known at the close of t. NaN
        says no view can be formed.

    Raises
    ------
    RegistryError : the name or the look-back is none that a signal may have.
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
    """Make a Feature of the decorated function.

    Parameters
    ----------
    name, lookback, unit : as of `Feature`.
    description : the first line of the function's docstring where it is None.

    Raises
    ------
    RegistryError : the name or the look-back is none that a feature may have.
    """

    def registered(compute: ComputeFeature) -> Feature:
        text = description or next(iter((compute.__doc__ or "").strip().splitlines()), "")
        return Feature(name, lookback, unit, compute, text)

    return registered


def signal(*, name: str, lookback: int, inputs: Sequence[str], method: str) -> Callable[[ComputeSignal], Signal]:
    """Make a Signal of the decorated function.

    Parameters
    ----------
    name, lookback, inputs, method : as of `Signal`.

    Raises
    ------
    RegistryError : the name or the look-back is none that a signal may have.
    """

    def registered(compute: ComputeSignal) -> Signal:
        return Signal(name, lookback, tuple(inputs), method, compute)

    return registered


def load_features(modules: Sequence[str] = ()) -> tuple[Feature, ...]:
    """The built-in features, then those of `modules` and of entry points, each module in the order of its source.

    Parameters
    ----------
    modules : importable names, as in TT_FEATURE_MODULES.

    Raises
    ------
    RegistryError : naming module and feature; a module that cannot be imported or has no feature of its own, or a name
        used twice.
    """
    plugins = load_plugins(FEATURES, (BUILT_IN_FEATURES, *plugin_modules(FEATURES, modules)), _own(Feature, "feature"))
    return tuple(plugin.item for plugin in plugins)


def load_signals(modules: Sequence[str] = (), features: Sequence[Feature] | None = None) -> tuple[Signal, ...]:
    """The built-in signals, then those of `modules` and of entry points.

    Parameters
    ----------
    modules : importable names, as in TT_SIGNAL_MODULES.
    features : what inputs may name beside fields of the bars; None checks no input.

    Returns
    -------
    Each module in the order of its source.

    Raises
    ------
    RegistryError : as of `load_features`, and with `features` for an input that is neither one of them nor a field of
        the bars, and for a signal named like a feature (an agent sees both side by side).
    """
    plugins = load_plugins(SIGNALS, (BUILT_IN_SIGNALS, *plugin_modules(SIGNALS, modules)), _own(Signal, "signal"))
    signals = tuple(plugin.item for plugin in plugins)
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


def version_of(items: Sequence[Feature] | Sequence[Signal]) -> str:
    """A short text that is another one when what `items` compute may be: their names, look-backs and source."""
    said = hashlib.blake2b(digest_size=8)
    for item in items:
        said.update(repr((item.name, item.lookback, getattr(item, "inputs", ()), _source(item.compute))).encode())
    return said.hexdigest()


def _source(compute: Callable[..., object]) -> str:
    """The text of a function; of one that has none, as in a notebook, its compiled form."""
    try:
        return inspect.getsource(compute)
    except (OSError, TypeError):
        if isinstance(compute, FunctionType):
            return compute.__code__.co_code.hex()
        return type(compute).__qualname__


def _check(name: str, lookback: int) -> None:
    if not _NAME.fullmatch(name):
        raise RegistryError(f'"{name}" is no name for a feature or signal. Use letters, digits and _, a letter first.')
    if not isinstance(lookback, int) or lookback < 0:
        raise RegistryError(f'"{name}" has look-back {lookback!r}. Give the number of sessions before t that it reads.')


def _own[Item: (Feature, Signal)](kind: type[Item], word: str) -> Callable[[ModuleType], Iterator[Plugin[Item]]]:
    def define(module: ModuleType) -> Iterator[Plugin[Item]]:
        for value in vars(module).values():
            if isinstance(value, kind) and value.compute.__module__ == module.__name__:  # not imported from elsewhere
                yield Plugin(word, value.name, value)

    return define
