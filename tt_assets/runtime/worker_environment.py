"""What another machine needs to carry out runs of this platform: variables, and the versions it has to have.

A worker has a home of its own, a copy of the bars and of the watchlist, and the database. Where its home is, is its own
affair, and what only `tt up` needs stays with it; everything else a person has set is handed on as it was written.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from tt_assets.errors import UserError
from tt_assets.postgres.database_url import parse_url
from tt_assets.runtime.shell_environment import Variable, variables
from tt_assets.settings import Settings

OF_ONE_MACHINE = frozenset(
    {"DAGSTER_HOME", "PYTHONPATH", "TT_DAGSTER_LOGS", "TT_HOME", "TT_K8S_LAUNCHER", "TT_PG_BIN", "TT_PG_PORT"}
)
"""Variables whose values another machine has of its own."""
OF_THE_HEAD = frozenset({"TT_ALERT_WEBHOOK", "TT_UI_TOKEN"})
"""Secrets of what only `tt up` does, the UI and alerts; a worker has no need of them."""
COMPARED = ("tt_assets", "dagster", "dagster-ray", "ray")
"""Packages of which every machine has the same version."""
LOOPBACK = ("localhost", "127.", "::1", "/")
"""How the host of an address begins that leads every machine to itself."""


def worker_variables(settings: Settings, *, show_secrets: bool = False) -> list[Variable]:
    """The variables of a worker, by name; with `show_secrets` passwords are among the values.

    Raises
    ------
    UserError : the platform has no database that others could reach.
    """
    if settings.database_url is None:
        raise UserError(
            "The embedded server is this machine's alone: set TT_DATABASE_URL to a PostgreSQL that all machines reach "
            "(`tt db dump` and `tt db restore` move what there is)."
        )
    stay = OF_ONE_MACHINE | OF_THE_HEAD | {"TT_WORKER"}
    handed = [each for each in variables(settings, show_secrets=show_secrets) if each.name not in stay]
    return sorted([*handed, Variable("TT_WORKER", "true")], key=_name)


def versions() -> Mapping[str, str]:
    """What every machine has to have the same of: Python and some packages, "-" where one is not installed."""
    found = {"python": platform.python_version()}
    for package in COMPARED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "-"
    return found


def leads_back(settings: Settings) -> str:
    """What is wrong with the address of the database for other machines, in a sentence; empty where nothing is."""
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    host = parse_url(url).get("host", "")
    if not host or host.startswith(LOOPBACK):
        return f"TT_DATABASE_URL leads to this machine as {host or 'its socket'}: give workers its name in the network."
    return ""


def unshared(settings: Settings) -> str:
    """What people will miss without a folder that all machines see, in a sentence; empty where there is one."""
    if settings.shared_folder is not None:
        return ""
    return "TT_SHARED_FOLDER is not set: logs, pictures and reports of a run stay on the machine that made it."


def _name(variable: Variable) -> str:
    return variable.name
