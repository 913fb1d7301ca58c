"""Memory that a run is done with goes back to the system.

The allocator keeps what was freed between pieces in use, some 10 MB a run, so that a load of hundreds of runs in one
process would grow by gigabytes though nothing is held.
"""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect what is unreachable and have the C library give free memory back, where it can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
