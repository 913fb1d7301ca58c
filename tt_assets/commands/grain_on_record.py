"""The grain in the `.env` of a home, which is read wherever `tt` is run."""

from __future__ import annotations

from tt_assets.grain import DateGrain
from tt_assets.settings import Settings

VARIABLE = "TT_DATE_GRAIN"


def record_grain(settings: Settings, grain: DateGrain) -> None:
    """Have the home's `.env` name the grain, whatever it named before."""
    path = settings.home / ".env"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip().upper() != VARIABLE]
    staged = path.with_suffix(".new")
    staged.write_text("\n".join([*kept, f"{VARIABLE}={grain}", ""]), encoding="utf-8")
    if path.exists():
        staged.chmod(path.stat().st_mode)
    staged.replace(path)
