"""The page of the commands, out of the tree of click."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tt_assets.cli import commands
from tt_assets_tests.docs.markdown import code, page, table

INTRODUCTION = """\
Declared in `tt_assets/cli.py` and `tt_assets/commands/`. Every command explains itself with `--help`. A mistake is one
line on standard error and exit code 2. Work that failed is listed by partition with the reason, exit code 1. Ctrl-C is
exit code 130. Commands with `--json` print JSON to standard output and nothing else there. Running a command again
repairs what it did not finish."""


def commands_page() -> str:
    """Every command with its arguments and options."""
    leaves = [(context, command) for context, command in walk() if not isinstance(command, click.Group)]
    overview = table(
        ("command", "does"),
        (
            (f"[{context.command_path}](#{context.command_path.replace(' ', '-')})", command.get_short_help_str(200))
            for context, command in leaves
        ),
    )
    return page("Commands", INTRODUCTION, overview, *(_section(context, command) for context, command in leaves))


def walk() -> Iterator[tuple[click.Context, click.Command]]:
    """Every command that is not hidden, groups too, with its context."""
    yield from _below(click.Context(commands, info_name="tt"))


def _below(context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    yield context, context.command
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _below(click.Context(command, info_name=name, parent=context))


def _section(context: click.Context, command: click.Command) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = table(
        ("option", "meaning"), (_option(p) for p in command.params if isinstance(p, click.Option) and not p.hidden)
    )
    paragraphs = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    return "\n\n".join(filter(None, [f"## {context.command_path}", f"    {usage}", paragraphs, options]))


def _option(option: click.Option) -> tuple[str, str]:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    default = f" Default: {option.default}." if option.show_default and not option.is_flag else ""
    return code(", ".join(option.opts) + value), (option.help or "") + default
