"""The one loader of plug-ins: modules of the user's own that add features, signals and trading rules.

A module is named by a setting, or by an entry point of an installed distribution. Nothing is registered on import:
loading a module means looking at what it defines, so the same modules give the same plug-ins in the same order in
every process, whatever else it has imported.

    [project.entry-points."tt_assets.features"]
    gaps = "my_gaps.features"

Which modules are imported is decided here and by the settings alone. A stored agent or episode says which ones it was
made with, and is refused where they differ; what stands in a row never chooses an import.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from types import ModuleType

from tt_assets.errors import UserError


@dataclass(frozen=True)
class PluginKind:
    """What a module may add, and how it is named.

    Parameters
    ----------
    group : entry point group. An entry point of it names a module ("package.module"), as the setting does.
    setting : the environment variable that lists modules.
    empty : what is wrong with a module that defines nothing, and the remedy: follows the module's name.
    error : the error that is raised for a module that cannot be used.
    """

    group: str
    setting: str
    empty: str
    error: type[UserError]


@dataclass(frozen=True)
class Plugin[Item]:
    """Something a module defines.

    Parameters
    ----------
    word : what it is: "feature", "stopper".
    name : what a setting or a config calls it; taken once for each word.
    item : the thing itself.
    """

    word: str
    name: str
    item: Item


def plugin_modules(kind: PluginKind, named: Sequence[str] = ()) -> tuple[str, ...]:
    """The modules to load, each once: those the setting names, then those of entry points.

    Parameters
    ----------
    kind : what is loaded; its error is raised for an entry point that names something in a module.
    named : modules of the setting, in its order.

    Returns
    -------
    Importable names; those of entry points are sorted, since installed distributions have no order.
    """
    installed = _installed(kind.group)
    for module, (entry, distribution) in sorted(installed.items()):
        if ":" in module:
            raise kind.error(
                f'entry point "{entry}" of {distribution} in group {kind.group} is "{module}", which is no module. '
                f'Name the module alone: "{module.partition(":")[0]}".'
            )
    return tuple(dict.fromkeys((*named, *sorted(installed))))


def load_plugins[Item](
    kind: PluginKind, modules: Sequence[str], define: Callable[[ModuleType], Iterable[Plugin[Item]]]
) -> tuple[Plugin[Item], ...]:
    """What `modules` define, each module in the order of its source.

    Parameters
    ----------
    kind : what is loaded.
    modules : names of modules, built-in ones first; a name that comes twice counts once. Entry points are not looked up
        here: `plugin_modules` adds them to the names.
    define : the plug-ins that a module defines itself, not those it imported from elsewhere.

    Returns
    -------
    In the order of `modules`; never two of one word and name.

    Raises
    ------
    UserError : the kind's error, on one line that names the module and where its name comes from: it cannot be found,
        it fails on import, it defines nothing, or a name of it is taken.
    """
    found: dict[tuple[str, str], tuple[Plugin[Item], str]] = {}
    for module in dict.fromkeys(modules):
        own = tuple(define(_import(kind, module)))
        if not own:
            raise kind.error(f"{_described(kind, module)} {kind.empty}")
        for plugin in own:
            earlier, where = found.setdefault((plugin.word, plugin.name), (plugin, module))
            # One object under two names of a module is still one plug-in.
            if earlier.item is not plugin.item:
                raise kind.error(f'{plugin.word} "{plugin.name}" is in both {where} and {module}. Rename one.')
    return tuple(plugin for plugin, _ in found.values())


def _import(kind: PluginKind, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except UserError:
        raise
    except Exception as error:
        # The module or a package above it is missing, and not a library that the module asks for in vain.
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise kind.error(
                f"{_described(kind, module)} cannot be found. Fix the name, or put its folder on PYTHONPATH."
            ) from error
        text = " ".join(str(error).split())
        raise kind.error(
            f"{_described(kind, module)} fails on import: {type(error).__name__}: {text}. Mend it."
        ) from error


def _described(kind: PluginKind, module: str) -> str:
    """The module and who names it."""
    entry = _installed(kind.group).get(module)
    source = f'of entry point "{entry[0]}" in {entry[1]}' if entry else f"in {kind.setting}"
    return f'module "{module}" {source}'


def _installed(group: str) -> Mapping[str, tuple[str, str]]:
    """What each entry point of `group` names → its name and its distribution."""
    found: dict[str, tuple[str, str]] = {}
    for entry in _entry_points(tuple(sys.path)).select(group=group):
        found.setdefault(entry.value, (entry.name, entry.dist.name if entry.dist else "an unnamed distribution"))
    return found


@cache
def _entry_points(path: tuple[str, ...]) -> EntryPoints:
    """Those of everything installed on `path`, which is sys.path: read once, as that opens a file per distribution."""
    return entry_points()
