"""The settings of this process, read when they are asked for.

A notebook calls functions without handing settings in; they get them here.
"""

from __future__ import annotations

from tt_assets.settings import Settings


def current_settings() -> Settings:
    """The settings as environment and `.env` have them now. Raises pydantic's ValidationError for one that is wrong."""
    return Settings()
