"""Imported by the process that runs are forked from: everything a run would import, once.

What cannot be imported is tried again by the run, which can say why.
"""

from __future__ import annotations

import gc
from contextlib import suppress

with suppress(Exception):
    import tt_assets.runtime.served_code  # noqa: F401

gc.collect()
gc.freeze()  # the collector leaves alone what is there, so that the runs go on sharing its memory
