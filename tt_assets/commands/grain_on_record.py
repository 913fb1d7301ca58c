"""The grain in the `.env` of a home, which is read wherever `tt` is run, and who says otherwise."""

from __future__ import annotations

import os

from tt_assets.grain import DateGrain
from tt_assets.runtime.home import make_home
from tt_assets.settings import Settings
from tt_assets.settings.dot_env import believed, dot_env_files

GRAIN_VARIABLE = "TT_DATE_GRAIN"


def record_grain(settings: Settings, grain: DateGrain) -> None:
    """Have the home's `.env` name the grain, whatever it named before."""
    make_home(settings.home)
    path = settings.home / ".env"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip().upper() != GRAIN_VARIABLE]
    staged = path.with_suffix(".new")
    staged.write_text("\n".join([*kept, f"{GRAIN_VARIABLE}={grain}", ""]), encoding="utf-8")
    if path.exists():
        staged.chmod(path.stat().st_mode)
    staged.replace(path)


def outweighing(settings: Settings, grain: DateGrain) -> str:
    """Who says another grain than `grain` and is heard before the home's `.env`, and the remedy; empty where nobody."""
    own = settings.home / ".env"
    said, where = os.environ.get(GRAIN_VARIABLE, ""), "the environment"
    files = list(dot_env_files(settings.model_config.get("env_file"), settings.home))
    behind = next((place + 1 for place, file in enumerate(files) if file.path.resolve() == own.resolve()), 0)
    if not said and (found := believed(files[behind:]).get(GRAIN_VARIABLE)):
        said, where = found[0], str(found[1].absolute())
    if not said or said == grain:
        return ""
    return f"{GRAIN_VARIABLE}={said} stands in {where}, which outweighs {own}: take it out, or set it to {grain}."
