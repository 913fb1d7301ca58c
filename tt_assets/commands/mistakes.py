"""What a person sees of a mistake: one line on standard error that names the thing, the value and the remedy."""

from __future__ import annotations

import difflib

import click
from pydantic import SecretStr, ValidationError

from tt_assets.settings import Settings


def describe_setting(error: ValidationError) -> str:
    """The first setting that does not parse: variable, value, what is wrong with it and what it means."""
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not first["loc"]:
        return f"{reason}."  # a rule over several settings names them itself
    name = str(first["loc"][0])
    field = Settings.model_fields.get(name)
    secret = field is not None and SecretStr in getattr(field.annotation, "__args__", (field.annotation,))
    value = "" if secret else f" {str(first['input'])!r}"
    meaning = f" It is: {field.description}" if field and field.description else ""
    return f"TT_{name.upper()}{value} is not valid: {reason[:1].lower() + reason[1:]}.{meaning}"


def describe_usage(error: click.ClickException) -> str:
    """A mistake in the words of a command, with the nearest right one and where the right ones are listed."""
    text = error.format_message().strip().rstrip(".").replace("\n", " ")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return f"{text}."
    near = ""
    if isinstance(context.command, click.Group) and text.startswith("No such command"):
        typed = text.split("'")[1] if "'" in text else ""
        found = difflib.get_close_matches(typed, context.command.list_commands(context), n=1)
        near = f" Did you mean {found[0]}?" if found and "mean" not in text else ""
    return f"{text}.{near} See `{context.command_path} --help`."
