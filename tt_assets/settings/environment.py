"""Settings that belong to a nested configuration, read from variables that are flat like all others.

`TT_COMMISSION_BPS` is `settings.trading.commission_bps` and `TT_IBKR_PORT` is `settings.ibkr.port`: where a setting is
declared is no business of who writes it down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

from tt_assets.market.ibkr_config import IbkrConfig
from tt_assets.settings.dot_env import believed, dot_env_files
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.judging.gate_config import GateConfig

PREFIX = "TT_"
type EnvFiles = str | Path | Sequence[str | Path] | None

NESTED: Mapping[str, tuple[type[BaseModel], str]] = {
    "trading": (TradingConfig, PREFIX),
    "ibkr": (IbkrConfig, "TT_IBKR_"),
    "gate": (GateConfig, "TT_GATE_"),
}
"""Field of the settings → the configuration nested there, and what its variables begin with."""


def nested_fields(nested: str) -> Iterator[tuple[str, str]]:
    """The variable and the field of everything in the configuration `nested` that a person may set."""
    model, prefix = NESTED[nested]
    for name in model.model_fields:
        if name not in model.NOT_SETTINGS:  # type: ignore[attr-defined] # both configurations have it
            yield f"{prefix}{name.upper()}", name


def _with_nested(own: dict[str, Any], variables: Mapping[str, str | None]) -> dict[str, Any]:
    """`own` with a part for each nested configuration, out of `variables`, whose names are in small letters."""
    for nested in NESTED:
        own.pop(nested, None)
        found = {name: variables.get(variable.lower()) for variable, name in nested_fields(nested)}
        if given := {name: text for name, text in found.items() if text}:
            own[nested] = given
    return own


class FlatEnvironment(EnvSettingsSource):
    """The environment. An empty variable is no variable."""

    def __call__(self) -> dict[str, Any]:
        """What is set, the nested configurations as parts of their own."""
        return _with_nested(super().__call__(), self.env_vars)


class FlatDotEnv(DotEnvSettingsSource):
    """The `.env` files, of which a later one wins, as far as they are believed. An empty variable is no variable."""

    def __init__(self, settings_cls: type[BaseSettings], env_file: EnvFiles) -> None:
        super().__init__(settings_cls, env_file=None)
        default_home = settings_cls.model_fields["home"].get_default(call_default_factory=True, validated_data={})
        found = believed(dot_env_files(env_file, default_home))
        self.env_vars = {name.lower(): text for name, (text, _) in found.items()}

    def __call__(self) -> dict[str, Any]:
        """What is set, the nested configurations as parts of their own."""
        return _with_nested(super().__call__(), self.env_vars)
