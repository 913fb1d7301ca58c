"""The partition grids and code versions the assets share, read once when the code location loads."""

from __future__ import annotations

from tt_assets.grid.partitions import market_grid, window_grid
from tt_assets.settings import Settings

settings = Settings()

MARKET = market_grid(settings)
"""Trading session (or month) × instrument."""

WINDOWS = window_grid(settings)
"""Walk-forward quarter × traded."""
