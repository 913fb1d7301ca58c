"""Why a step failed, in the words a person is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

FAILED = "failed_partitions"
"""Metadata of a failed step: partition key → reason."""
FAILED_TOO = "failed_partitions_by_reason"
"""The further ones of many: reason → partition keys."""

FROM_OUTSIDE = "This run has been marked as failed from outside the execution context."
"""Dagster's words of a run that it gives up without any: its process ended, or there never was one."""

PROCESS = "pid"
"""Metadata of Dagster's event that a process has begun to work on a run."""

OF_A_CHANNEL = "of RPC that terminated with"
"""In what gRPC says of an error, which is of channels; what Dagster says of it is for people."""

CLASS_NAME = re.compile(r"^(\w+\.)+\w+: ")
"""What Python puts before the words of an error of a module."""


def failure_reasons(event: dg.DagsterEvent) -> tuple[Mapping[str, str], str]:
    """Partition key → reason where the failed step says so of single partitions, else one line for all of it."""
    failure: Any = event.step_failure_data
    told = failure.user_failure_data.metadata if failure.user_failure_data else {}
    if FAILED in told:
        more = told[FAILED_TOO].value if FAILED_TOO in told else {}
        return {**told[FAILED].value, **{key: reason for reason, keys in more.items() for key in keys}}, ""
    error = failure.error
    if error is not None and error.cause is not None and error.cls_name and error.cls_name.startswith("Dagster"):
        error = error.cause  # what the asset raised, below Dagster's wrapper
    message = (error.message.strip().splitlines() or ["no message"])[0] if error else "no message"
    return {}, CLASS_NAME.sub("", message)


@dataclass
class Beginning:
    """What is known of how a run began, from its events so far.

    Parameters
    ----------
    started : whether a process has begun to work on it.
    error : one line of what Dagster itself met last, with no start after it; empty where it met nothing.
    """

    started: bool = False
    error: str = ""

    def hear(self, event: dg.DagsterEvent) -> None:
        """Take in what one event says."""
        told: Any = event.event_specific_data
        engine = event.event_type is dg.DagsterEventType.ENGINE_EVENT
        if event.event_type is dg.DagsterEventType.RUN_START or (engine and PROCESS in told.metadata):
            self.started, self.error = True, ""
        elif engine and told.error is not None:
            self.error = _first_line(told.error)


def failure_of_run(event: dg.DagsterEvent, beginning: Beginning) -> str:
    """One line of a run that failed outside its steps: what was raised first, else the words of who ended it.

    Parameters
    ----------
    event : says that it failed.
    beginning : of its events before that one.
    """
    told: Any = event.event_specific_data  # none where somebody else ended it
    if told is not None and told.error is not None:
        return _first_line(told.error)
    words = (event.message or FROM_OUTSIDE).strip().splitlines()
    if words and words[0] != FROM_OUTSIDE:
        return CLASS_NAME.sub("", words[0])
    if beginning.error:
        return beginning.error if beginning.started else f"it never began: {beginning.error}"
    if beginning.started:
        return (
            "its process ended in the middle without a word (killed, or the memory ran out); what it stored is whole: "
            "ask for the same again"
        )
    return "it never began, and Dagster does not say why; the events of the run in the UI may"


def _first_line(error: Any) -> str:
    """The first line of what was raised first, without its class."""
    while error.cause is not None and OF_A_CHANNEL not in error.cause.message:
        error = error.cause
    lines = error.message.strip().splitlines()
    return CLASS_NAME.sub("", lines[0]) if lines else "no message"


def in_few_words(reasons: Mapping[str, str], most: int = 3) -> str:
    """The different reasons, each with the first few of its partitions and how many more there are."""
    grouped: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        grouped.setdefault(reason, []).append(key)
    said = [f"{named(keys)}: {reason}" for reason, keys in list(grouped.items())[:most]]
    more = len(grouped) - most
    return "; ".join([*said, *([f"and {more} further reasons"] if more > 0 else [])])


def named(keys: Iterable[str], most: int = 3) -> str:
    """The first few of `keys` and how many more there are."""
    names = list(keys)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
