"""Memory that a run is done with goes back to the system, and is looked for when it is worth it.

The allocator keeps what was freed between pieces in use, some 10 MB a run, so that a load of hundreds of runs in one
process would grow by gigabytes though nothing is held.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS_BETWEEN_LOOKS = 50_000


def give_back() -> None:
    """Collect what is unreachable and have the C library give free memory back, where it can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def looked_for_rarely() -> Iterator[None]:
    """Have the collector of circular garbage look after every 50,000 new objects, not every 700.

    A range run makes some hundreds of objects a partition and hardly a circle among them: looking took a twentieth of
    its time.
    """
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
