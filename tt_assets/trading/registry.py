"""Looking a class up by its name, with an error that lists the known names."""

from __future__ import annotations

from collections.abc import Mapping

from tt_assets.trading.errors import ConfigError


def named[Kind](registry: Mapping[str, Kind], name: str, what: str) -> Kind:
    """`registry[name]`; ConfigError naming `what` and the known names when there is none."""
    try:
        return registry[name]
    except KeyError:
        raise ConfigError(f"{what} {name!r} is unknown; known are: {', '.join(sorted(registry))}.") from None
