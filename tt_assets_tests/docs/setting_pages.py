"""The page of the settings, out of the settings model."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tt_assets.settings import PACKAGE, Settings
from tt_assets_tests.docs.markdown import code, page, table

INTRODUCTION = """\
Declared in `tt_assets/settings.py`. Each is an environment variable, or a line of a `.env` file in the folder you are
in (or at the top of a checkout). The environment wins over the file. An empty variable is as good as none.
`tt settings` prints the values that hold now."""

WORKED_OUT = {
    "home": "`.tt` at the top of a checkout, else `~/.tt_assets`",
    "train_workers": "one for each core",
}
"""Defaults that hang on the machine, in words."""

BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def settings_page() -> str:
    """Every setting with its type, its default, its bounds and its meaning."""
    rows = (
        (code(variable), _kind(field), _default(name, field), field.description or "")
        for variable, name, field in variables()
    )
    return page("Settings", INTRODUCTION, table(("variable", "value", "default", "meaning"), rows))


def variables() -> Iterator[tuple[str, str, FieldInfo]]:
    """Environment variable, name and field of every setting, in the order of declaration."""
    for name, field in Settings.model_fields.items():
        yield f"TT_{name.upper()}", name, field


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
        (annotation,) = (part for part in typing.get_args(annotation) if part is not types.NoneType)
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


def _default(name: str, field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return WORKED_OUT[name]
    value = field.default
    if value is None or value == ():
        return "empty"
    if isinstance(value, Path):
        return f"bundled {code(value.relative_to(PACKAGE.parent))}"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(",".join(map(str, value)) if isinstance(value, tuple) else value)
