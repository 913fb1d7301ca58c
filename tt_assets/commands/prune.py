"""`tt db prune`: what of Dagster's history nothing shows any more goes, and what went is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tt_assets.errors import UserError
from tt_assets.runtime.prune import Pruned
from tt_assets.settings import Settings

_AGE = re.compile(r"(\d{1,5})([dwy])", re.ASCII)
_DAYS = {"d": 1, "w": 7, "y": 365}


def age(text: str) -> timedelta:
    """An age such as `90d`, `12w` or `2y`. Raises UserError."""
    found = _AGE.fullmatch(text.strip())
    if not found or not int(found[1]):
        raise UserError(f"--older-than {text!r} is no age: give days, weeks or years, such as 90d, 12w or 2y.")
    return timedelta(days=int(found[1]) * _DAYS[found[2]])


def prune_history(settings: Settings, older_than: timedelta, *, reuse: bool, tell: Callable[[Pruned], None]) -> Pruned:
    """Prune what is older than an age; `tell` hears of the whole so far, after each step.

    `reuse` has the server reuse the space at once. Raises as `platform.attach`.
    """
    from tt_assets.runs.superseded import vacuum
    from tt_assets.runtime.instance_file import dagster_home, logs_folder
    from tt_assets.runtime.platform import attach, open_instance
    from tt_assets.runtime.prune import prune

    platform = attach(settings)
    pruned = Pruned()
    with open_instance() as instance:
        before = datetime.now(UTC) - older_than
        for step in prune(instance, platform.database, logs_folder(settings), dagster_home(settings), before):
            pruned += step
            tell(pruned)
    if reuse:
        vacuum(platform.database.dagster())
    return pruned


def in_words(pruned: Pruned) -> str:
    """What was removed, for a person."""
    removed = pruned.removed
    return (
        f"{pruned.runs:,} runs, {removed.events:,} events and {removed.results:,} results of checks "
        f"({removed.bytes / 1e6:,.1f} MB), {pruned.files:,} files ({pruned.bytes_of_files / 1e6:,.1f} MB)"
    )
