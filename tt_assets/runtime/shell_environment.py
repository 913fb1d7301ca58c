"""What a shell, an IDE or a service needs to work on the same home as this `tt`: variables and their values.

A setting that a person has made, in the environment or in a `.env` file, is handed on as it was written, paths made
absolute; a default stays out, so that it can change. Where Dagster finds its instance is added.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from tt_assets.postgres.database import Database
from tt_assets.runtime.platform import environment
from tt_assets.settings import Settings
from tt_assets.settings.variables import variables as setting_variables
from tt_assets.settings.variables import written as settings_written

MASK = "***"


@dataclass(frozen=True)
class Variable:
    """One variable. `masked`: whether the value has a secret left out, so that it is to be read and not to be used."""

    name: str
    value: str
    masked: bool = False


def variables(settings: Settings, *, show_secrets: bool = False) -> list[Variable]:
    """The variables, by name. With `show_secrets` a password or a webhook's address is among the values."""
    written = {name: Variable(name, value) for name, value in environment(settings).items()}
    given = settings_written()
    for variable in setting_variables():
        if variable.name not in given:
            continue
        value = variable.value(settings)
        if isinstance(value, Path):
            written[variable.name] = Variable(variable.name, str(value))
        elif variable.secret and not show_secrets:
            written[variable.name] = _masked(settings, variable.name, given[variable.name].text)
        else:
            written[variable.name] = Variable(variable.name, given[variable.name].text)
    return [written[name] for name in sorted(written) if written[name].value]


def shell_line(variable: Variable, *, export: bool = True) -> str:
    """A line for a POSIX shell, or without `export` for a service's or an IDE's file of variables.

    A masked value is a comment: whoever evaluates the line keeps the variable they have.
    """
    line = f"{'export ' if export else ''}{variable.name}={shlex.quote(variable.value)}"
    return f"# {line}  # --show-password prints it" if variable.masked else line


def _masked(settings: Settings, name: str, text: str) -> Variable:
    """The variable without its secret: of an address of a database all but the password, of another nothing."""
    if name != "TT_DATABASE_URL":
        return Variable(name, MASK, masked=True)
    database = Database.at(settings.database_url, settings.home, settings.pg_bin)
    if database.secrets:
        return Variable(name, database.masked(), masked=True)
    return Variable(name, text)
