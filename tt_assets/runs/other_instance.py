"""Noticing that Dagster works on another instance than `tt`, which looks like an empty platform."""

from __future__ import annotations

import logging
import os
from pathlib import Path

NAMED_BY_OURS = "tt_assets.runtime.dagster_instance"
"""What an instance file of ours names: the module with its classes."""


def warn_of_another_instance(ours: Path) -> None:
    """Say in one line what to do where DAGSTER_HOME is a folder whose instance is not that of `tt`.

    Parameters
    ----------
    ours : the DAGSTER_HOME of `tt`'s own processes.

    A warning and no error: a code location may be served by an instance of somebody's own on purpose.
    """
    if told := another_instance(os.environ.get("DAGSTER_HOME", ""), ours):
        logging.getLogger("dagster").warning(told)


def another_instance(home: str, ours: Path) -> str:
    """The line for a DAGSTER_HOME of `home`; empty where it is unset or its instance file is one of ours."""
    if not home or Path(home) == ours:
        return ""
    try:
        configured = (Path(home).expanduser() / "dagster.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        configured = ""
    if NAMED_BY_OURS in configured:
        return ""
    return (
        f"DAGSTER_HOME is {home}, whose instance is not that of tt: no run, partition or instrument of it is there. "
        f'Run `unset DAGSTER_HOME` and stay in the checkout, or `eval "$(tt env)"`, which sets it to {ours}.'
    )
