"""Why a step failed, in the words a person is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

FAILED = "failed_partitions"
"""Metadata of a failed step: partition key → reason."""
FAILED_TOO = "failed_partitions_by_reason"
"""The further ones of many: reason → partition keys."""

FROM_OUTSIDE = "This run has been marked as failed from outside the execution context."
"""Dagster's words of a run whose process ended without any."""

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


def failure_of_run(event: dg.DagsterEvent) -> str:
    """One line of a run that failed outside its steps: what was raised first, else the words of who ended it."""
    told: Any = event.event_specific_data  # none where somebody else ended it
    error = told.error if told else None
    while error is not None and error.cause is not None:
        error = error.cause
    lines = (error.message if error else event.message or "").strip().splitlines()
    if not lines or lines[0] == FROM_OUTSIDE:
        return (
            "its process ended in the middle without a word (killed, or the memory ran out); what it stored is whole: "
            "ask for the same again"
        )
    return CLASS_NAME.sub("", lines[0])


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
