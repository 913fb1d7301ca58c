"""How a command gets the settings: `tt` hands them in when the command runs.

Not before, because `--help` and the mistakes of the command line need none, and a wrong setting would hide them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """`command` with the settings as its first argument, read by what `tt` has put into the context."""

    @click.pass_obj
    @wraps(command)
    def run(read_settings: Callable[[], Any], *arguments: Any, **options: Any) -> Any:
        return command(read_settings(), *arguments, **options)

    return run
