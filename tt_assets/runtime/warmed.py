"""Imported by the process that runs are forked from: everything a run would import, once.

What cannot be imported is tried again by the run, which can say why.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module

from tt_assets.runtime.children import SERVED_CODE

AT_WORK = (
    # What stores and draws imports these when it is first asked to.
    "adbc_driver_postgresql.dbapi",
    "dagster_postgres",
    "matplotlib.backends.backend_agg",
    "matplotlib.dates",
    "matplotlib.figure",
    "matplotlib.style",
    "tt_assets.report.heat_maps",
    "tt_assets.report.market_plots",
    "tt_assets.runs.dagster_storage",
    "upath",
)

for name in ("tt_assets.runtime.forked_runs", SERVED_CODE, *AT_WORK):
    with suppress(Exception):
        import_module(name)

gc.collect()
gc.freeze()  # the collector leaves alone what is there, so that the runs go on sharing its memory
