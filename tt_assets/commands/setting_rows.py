"""`tt settings`: every setting, its value, who wrote it, and what an empty one means."""

from __future__ import annotations

from typing import Any

from tt_assets.settings import Settings
from tt_assets.settings.variables import DEFAULT, as_written, variables, written


def setting_rows(settings: Settings, *, empty_apart: bool) -> list[dict[str, Any]]:
    """A row for each variable.

    Parameters
    ----------
    settings : the settings that hold now.
    empty_apart : what an empty variable means is an entry of its own, and else the end of the meaning.

    Returns
    -------
    `variable`, `value` (as a variable writes it; a secret masked), `from` ("default", "environment", or the path of a
    `.env` file), `meaning`, and perhaps `empty`.
    """
    given = written()
    rows = []
    for variable in variables():
        value = variable.value(settings)
        row = {
            "variable": variable.name,
            # The text of a secret has stars for its characters.
            "value": str(value) if variable.secret and value is not None else as_written(value),
            "from": given[variable.name].origin if variable.name in given else DEFAULT,
            "meaning": variable.meaning,
        }
        if empty_apart:
            rows.append({**row, "empty": variable.empty()})
        else:
            rows.append({**row, "meaning": f"{variable.meaning} Empty: {variable.empty()}."})
    return rows
