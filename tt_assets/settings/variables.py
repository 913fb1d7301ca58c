"""Every variable of the settings: its name, what it means, what an empty one means, and who wrote its value.

`tt settings`, the reference page, the errors and the warning about a misspelt variable all ask here, so they name the
same variables in the same words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tt_assets.errors import nearest_of
from tt_assets.settings.dot_env import ENV_FILE, DotEnvFile, believed, dot_env_files, not_believed
from tt_assets.settings.environment import NESTED, PREFIX, nested_fields
from tt_assets.settings.model import Settings

DEFAULT, ENVIRONMENT = "default", "environment"

OF_THE_PLATFORM = frozenset(
    {"TT_DAGSTER_LOGS", "TT_READY", "TT_SERVED_BY", "TT_SERVED_AS", "TT_NAMES_CHECKED", ENV_FILE}
)
"""Variables that the platform sets for the processes it starts, and the place of settings: no settings, no mistake."""

CHECKED = "TT_NAMES_CHECKED"
"""Set once a process has looked for misspelt names, so that those it starts do not say the same again."""

EMPTY = {
    "TT_HOME": "`.tt` at the top of a checkout, else `~/.tt_assets`",
    "TT_DATABASE_URL": "the embedded server",
    "TT_PG_BIN": "the programs that are found",
    "TT_PG_PORT": "no network port at all",
    "TT_START_DATE": "the first session of the bars file, or 3 years ago",
    "TT_END_DATE": "today (the bundled sample: its last session)",
    "TT_WATCHLIST": "the instruments of the bars files (the bundled sample: its own list)",
    "TT_TRAIN_WORKERS": "one for each core",
    "TT_SHARED_FOLDER": "TT_HOME",
    "TT_K8S_LAUNCHER": "none; the chart in deploy/ writes one",
    "TT_EMBARGO_SESSIONS": "what an observation looks back over",
    "TT_UI_TOKEN": "nobody is asked, and --host has to be a loopback address",
    "TT_ALERT_WEBHOOK": "alerts go to the log alone",
}
"""What an empty variable means where that is no fixed value."""


@dataclass(frozen=True)
class Variable:
    """One setting as the environment has it; `path` leads to its value in the settings."""

    name: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def secret(self) -> bool:
        """Whether its value is kept out of every print."""
        annotation = self.field.annotation
        return SecretStr in getattr(annotation, "__args__", (annotation,))

    @property
    def meaning(self) -> str:
        """What it is, in one sentence or two."""
        return self.field.description or ""

    def value(self, settings: Settings) -> Any:
        """Its value in `settings`."""
        found: Any = settings
        for name in self.path:
            found = getattr(found, name)
        return found

    def empty(self) -> str:
        """What it means to leave it empty, in words or as the value it then has."""
        if self.name in EMPTY:
            return EMPTY[self.name]
        default = self.field.get_default(call_default_factory=True, validated_data={})
        return "none" if default in (None, (), "", PydanticUndefined) else as_written(default)


def variables() -> Iterator[Variable]:
    """Every variable in the order of declaration; those of a nested configuration where it stands."""
    for name, field in Settings.model_fields.items():
        if name not in NESTED:
            yield Variable(f"{PREFIX}{name.upper()}", (name,), field)
            continue
        model, _ = NESTED[name]
        for variable, own in nested_fields(name):
            yield Variable(variable, (name, own), model.model_fields[own])


def variable_at(place: Sequence[str | int]) -> Variable | None:
    """The variable that an error of pydantic at `place` is about, None where it is about several."""
    path = tuple(str(part) for part in place)
    for variable in variables():
        # The place of a part of a list goes deeper, and an environment variable is at times named instead of its field.
        if path[: len(variable.path)] == variable.path or path[:1] == (variable.name.lower(),):
            return variable
    return None


def as_written(value: Any) -> str:
    """A value as an environment variable writes it; None is the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def env_files() -> tuple[DotEnvFile, ...]:
    """The `.env` files that are read, the one that wins last."""
    default_home = Settings.model_fields["home"].get_default(call_default_factory=True, validated_data={})
    return dot_env_files(Settings.model_config.get("env_file"), default_home)


@dataclass(frozen=True)
class Written:
    """The text that a person gave a variable, and where: "environment", or the path of a `.env` file."""

    text: str
    origin: str


def written() -> Mapping[str, Written]:
    """Variable → what was written, of every `TT_` variable that is not empty, known or not."""
    found = {
        name: Written(text, str(path.absolute()))
        for name, (text, path) in believed(env_files()).items()
        if name.startswith(PREFIX)
    }
    return found | _of(os.environ, ENVIRONMENT)


def _of(source: Mapping[str, str | None], origin: str) -> dict[str, Written]:
    return {
        name.upper(): Written(text, origin) for name, text in source.items() if text and name.upper().startswith(PREFIX)
    }


def misspelt() -> list[str]:
    """A line for each variable that begins like a setting and is none, with the nearest name. No value is in it."""
    known = [variable.name for variable in variables()]
    lines = []
    for name, given in written().items():
        if name in known or name in OF_THE_PLATFORM:
            continue
        near = nearest_of(name, known)
        remedy = f"did you mean {near}?" if near else "`tt settings` lists them."
        where = "" if given.origin == ENVIRONMENT else f" ({given.origin})"
        lines.append(f"{name}{where} is no setting; {remedy}")
    for name, path in not_believed(env_files()):
        lines.append(
            f"{name} in {path.absolute()} is not read, because it names code or programs: put the line into .env in "
            f"TT_HOME, or set {ENV_FILE} to a file of yours."
        )
    return lines


def misspelt_once() -> list[str]:
    """As `misspelt`, nothing where this process or one that started it has asked before."""
    if os.environ.get(CHECKED):
        return []
    os.environ[CHECKED] = "1"
    return misspelt()
