"""Asset-based data platform for portfolio agents on daily bars.

`tt_assets.read(table, instruments, start, end)` gives any table as a typed frame, `tt_assets.population` writes by
hand. Both are imported when they are first asked for, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tt_assets import population
    from tt_assets.notebook.reading import read

__version__ = "0.1.0"
"""The one place of the version: `setup.py` and `tt --version` read it from here."""

__all__ = ["population", "read"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "read":
        return import_module("tt_assets.notebook.reading").read
    if name == "population":
        return import_module("tt_assets.population")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
