"""The settings of the platform: what they are, what a person wrote, and the database they name."""

from tt_assets.grain import DateGrain
from tt_assets.settings.model import (
    PACKAGE,
    SAMPLE_BARS,
    SAMPLE_FIRST_SESSION,
    SAMPLE_LAST_SESSION,
    SAMPLE_WATCHLIST,
    PriceSourceName,
    RunLauncherName,
    Settings,
    checkout,
    database_of,
    shared_file,
)

__all__ = [
    "PACKAGE",
    "SAMPLE_BARS",
    "SAMPLE_FIRST_SESSION",
    "SAMPLE_LAST_SESSION",
    "SAMPLE_WATCHLIST",
    "DateGrain",
    "PriceSourceName",
    "RunLauncherName",
    "Settings",
    "checkout",
    "database_of",
    "shared_file",
]
