"""The page of the settings, out of the settings model."""

from __future__ import annotations

import types
import typing
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from tt_assets.settings import PACKAGE
from tt_assets.settings.variables import EMPTY, Variable, variables
from tt_assets_tests.docs.markdown import code, page, table

INTRODUCTION = """\
Declared in `tt_assets/settings/model.py`, those of trading in `tt_assets/trading/config.py` and those of Interactive
Brokers in `tt_assets/market/ibkr_config.py`. Each is an environment variable, or a line of a `.env` file: at the top of
a checkout, in `TT_HOME`, in the folder you are in, or the file that `TT_ENV_FILE` names; the last of these wins, the
environment over all. A file in the folder you are in names no code and no programs (`TT_*_MODULES`, `TT_PG_BIN`): that
line is left out, and it is said. An empty variable is as good as none, and means what the third column says.
`tt settings` prints the values that hold now and where each comes from."""

BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def settings_page() -> str:
    """Every setting with its type, its default, its bounds and its meaning."""
    rows = (
        (code(variable.name), _kind(variable.field), _empty(variable), variable.meaning) for variable in variables()
    )
    return page("Settings", INTRODUCTION, table(("variable", "value", "empty", "meaning"), rows))


def _kind(field: FieldInfo) -> str:
    bounds = [
        f"{words} {getattr(limit, name)}"
        for limit in field.metadata
        for name, words in BOUNDS.items()
        if hasattr(limit, name)
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(_type(part) for part in typing.get_args(annotation) if part is not types.NoneType)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(map(code, annotation))
    if typing.get_origin(annotation) is tuple:
        return "numbers" if int in typing.get_args(annotation) else "names, separated by commas"
    return {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "name",
        Path: "path",
        date: "date",
        SecretStr: "address, kept out of every print",
    }[annotation]


def _empty(variable: Variable) -> str:
    """What an empty variable means."""
    default = variable.field.default
    if isinstance(default, Path) and variable.name not in EMPTY:
        return f"bundled {code(default.relative_to(PACKAGE.parent))}"
    empty = variable.empty()
    return empty if variable.name in EMPTY or empty == "none" else code(empty)
