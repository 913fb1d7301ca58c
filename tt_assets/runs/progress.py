"""Progress of long work: told where the work is done, shown by whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int, str], None]
Reader = Callable[[str], None]

_listeners: list[Listener] = []
_readers: list[Reader] = []


def tell(stage: str, done: int, total: int, note: str = "") -> None:
    """Say that `done` of `total` pieces of `stage` are finished; `note` names the last one."""
    for listener in _listeners:
        listener(stage, done, total, note)


def report(line: str) -> None:
    """Say in a line how a piece of work ended."""
    for reader in _readers:
        reader(line)


@contextmanager
def listening(listener: Listener, reader: Reader = lambda _: None) -> Iterator[None]:
    """Hear what `tell` and `report` say in this process while the block runs."""
    _listeners.append(listener)
    _readers.append(reader)
    try:
        yield
    finally:
        _listeners.remove(listener)
        _readers.remove(reader)
