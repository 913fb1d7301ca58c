"""Progress of long work: told where the work is done, shown by whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int, str], None]

_listeners: list[Listener] = []


def tell(stage: str, done: int, total: int, note: str = "") -> None:
    """Say that `done` of `total` pieces of `stage` are finished; `note` names the last one."""
    for listener in _listeners:
        listener(stage, done, total, note)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hear what `tell` says in this process while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
