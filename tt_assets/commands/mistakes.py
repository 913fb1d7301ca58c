"""What a person sees of a mistake: one line on standard error that names the thing, the value and the remedy."""

from __future__ import annotations

import click
from pydantic import ValidationError

from tt_assets.errors import nearest_of, one_line
from tt_assets.settings.variables import variable_at


def describe_setting(error: ValidationError) -> str:
    """The first setting that does not parse: variable, value, what is wrong with it and what it means."""
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not first["loc"]:
        return f"{reason}."  # a rule over several settings names them itself
    variable = variable_at(first["loc"])
    if variable is None:
        return f"{'.'.join(map(str, first['loc']))} is not valid: {reason}."
    value = "" if variable.secret else f" {_short(str(first['input']))!r}"
    meaning = f" It is: {variable.meaning}" if variable.meaning else ""
    return one_line(f"{variable.name}{value} is not valid: {reason[:1].lower() + reason[1:]}.{meaning}")


def _short(value: str, most: int = 120) -> str:
    """A value as far as a line has room for it."""
    return value if len(value) <= most else f"{value[:most]}…"


_BY_STATE = {
    "42501": "The user of TT_DATABASE_URL lacks a right ({reason}): use a login that may write (GRANT tt_writer), "
    "and have the owner of the tables run `tt db upgrade`, which gives it what it needs in both databases.",
    "3D000": "A database or table went missing ({reason}): run `tt db upgrade`, then the same command again.",
    "53300": "The server has no connection left ({reason}): end sessions that nobody needs (they are in "
    "pg_stat_activity), or raise its max_connections, then run the same command again.",
    "53100": "The server's disk is full ({reason}): make room for it, then run the same command again; what was not "
    "committed is not stored.",
    "55P03": "Somebody keeps a table locked ({reason}): see who in pg_stat_activity, have that transaction ended, then "
    "run the same command again.",
}
"""What is to be said by the state that the server gives an error."""


def describe_database(error: BaseException) -> str | None:
    """What is to be said of an error that a database driver raised, be it wrapped; None for any other error."""
    import psycopg
    import psycopg2

    found: BaseException | None = error
    while found is not None and not isinstance(found, psycopg.Error | psycopg2.Error):
        found = getattr(found, "orig", None) or found.__cause__ or found.__context__
    if found is None:
        return None
    state = getattr(found, "sqlstate", None) or getattr(found, "pgcode", None) or ""
    reason = next((line.strip().rstrip(".:") for line in str(found).splitlines() if line.strip()), type(found).__name__)
    if state not in _BY_STATE:
        if "does not exist" in reason:
            state = "3D000"
        elif "too many clients" in reason or "connection slots" in reason:
            state = "53300"
    if state in _BY_STATE:
        return _BY_STATE[state].format(reason=reason)
    if state[:2] in ("08", "57", "") and isinstance(found, psycopg.OperationalError | psycopg2.Error):
        return (
            f"The database went away in the middle ({reason}): `tt db status` shows how it is; running the same "
            "command again takes it up."
        )
    return None


def describe_usage(error: click.ClickException) -> str:
    """A mistake in the words of a command, with the nearest right one and where the right ones are listed."""
    text = error.format_message().strip().rstrip(".").replace("\n", " ")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return f"{text}."
    near = ""
    if isinstance(context.command, click.Group) and text.startswith("No such command"):
        typed = text.split("'")[1] if "'" in text else ""
        found = nearest_of(typed, context.command.list_commands(context))
        near = f" Did you mean {found}?" if found and "mean" not in text else ""
    return f"{text}.{near} See `{context.command_path} --help`."
