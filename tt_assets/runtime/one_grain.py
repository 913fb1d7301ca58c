"""One grain a home: what the ledger knows by session is never continued by month, unless a person moves it."""

from __future__ import annotations

from pathlib import Path

from tt_assets.errors import UserError
from tt_assets.grain import DateGrain
from tt_assets.postgres.database import Database
from tt_assets.postgres.patience import patient_on_database
from tt_assets.postgres.stored_grain import grain_of
from tt_assets.settings import Settings


class OtherGrain(UserError):
    """The stored partitions are of another width than TT_DATE_GRAIN."""


def hold_grain(settings: Settings, database: Database) -> None:
    """Refuse stored partitions of another grain, and a home that was left half way from one to another.

    Raises OtherGrain.
    """
    if under_way := moving_to(settings):
        raise OtherGrain(f"`tt grain {under_way}` was stopped half way; run it again, which takes it up.")
    found = _stored(database, settings.date_grain)
    if found is settings.date_grain:
        return
    stored = f"those of a {found}" if found else "of several widths"
    back = f"set it back to {found}, or " if found else ""
    raise OtherGrain(
        f"TT_DATE_GRAIN is {settings.date_grain}, and the partitions on record are {stored}: {back}move them with `tt "
        f"grain {settings.date_grain}`."
    )


def moving_to(settings: Settings) -> DateGrain | None:
    """The grain that a move was begun to and is not finished; None without one."""
    path = mark(settings)
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    return DateGrain(text) if text in set(DateGrain) else None


def mark(settings: Settings) -> Path:
    """The file that is there while a move goes on."""
    return settings.home / "moving_to_grain"


@patient_on_database
def _stored(database: Database, likely: DateGrain) -> DateGrain | None:
    with database.connect() as connection:
        return grain_of(connection, (likely, *DateGrain))
