"""What is measured in a process of its own: a command of `tt`, or range runs through the market tables.

`python -m tt_assets_tests.benchmarks.child tt backfill market` is `tt backfill market` without the user's `.env`;
`… one-run` is one range run over the whole grid, however many cells, `… single-runs N` is N runs of one cell each, and
`… ticks N` is N ticks of every sensor.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from tt_assets.settings import Settings

SKIPPED_SESSIONS = 40
"""Single runs begin after the warm-up of every feature and signal, so that each writes all its rows."""


PEAK_FILE = "BENCH_PEAK_FILE"
"""Variable that names the file the peak is written to."""


def main(arguments: list[str]) -> None:
    """Do what `arguments` name."""
    try:
        _do(arguments)
    finally:
        if path := os.environ.get(PEAK_FILE):
            Path(path).write_text(str(peak_bytes()), encoding="utf-8")


def peak_bytes() -> int:
    """Peak of this process' resident set and of its waited-for children.

    The kernel's account of a finished process starts with what its parent held when it forked, so a process asks about
    itself: on Linux the high-water mark begins anew with the program.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        own = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max(own, children)


def _do(arguments: list[str]) -> None:
    Settings.model_config["env_file"] = None
    if arguments[0] == "tt":
        from tt_assets.cli import main as tt

        sys.argv = arguments
        tt()
    elif arguments[0] == "one-run":
        _one_run()
    elif arguments[0] == "single-runs":
        _single_runs(int(arguments[1]))
    elif arguments[0] == "ticks":
        _ticks(int(arguments[1]))
    else:
        sys.exit(f"nothing is called {arguments[0]!r} here")


def _one_run() -> None:
    from tt_assets.grid.blueprint import blueprint
    from tt_assets.grid.rectangles import Rectangle
    from tt_assets.runtime.current import current_settings
    from tt_assets.runtime.platform import open_instance, prepare

    settings = current_settings()
    prepare(settings)
    instance = open_instance()
    days = blueprint(settings).market_partitions.get_partitions_def_for_dimension("date").get_partition_keys()
    instruments = tuple(instance.get_dynamic_partitions("instrument"))
    _materialize(instance, Rectangle(days[0], days[-1], instruments, len(days) * len(instruments)))


def _single_runs(count: int) -> None:
    """Run one cell after another; prints the seconds of each run but the first, whose imports are its own."""
    from tt_assets.grid.blueprint import blueprint
    from tt_assets.grid.rectangles import Rectangle
    from tt_assets.runtime.current import current_settings
    from tt_assets.runtime.platform import open_instance, prepare

    settings = current_settings()
    prepare(settings)
    instance = open_instance()
    days = (
        blueprint(settings)
        .market_partitions.get_partitions_def_for_dimension("date")
        .get_partition_keys()[SKIPPED_SESSIONS:]
    )
    instrument = instance.get_dynamic_partitions("instrument")[0]
    seconds = []
    for day in days[: count + 1]:
        began = time.perf_counter()
        _materialize(instance, Rectangle(day, day, (instrument,), 1))
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds[1:]))


def _ticks(count: int) -> None:
    """Evaluate every sensor that is code of the platform; prints the seconds of each tick by sensor.

    A tick starts from the cursor of the one before, as the daemon has it.
    """
    import dagster as dg

    from tt_assets.runtime.current import current_settings
    from tt_assets.runtime.platform import open_instance, prepare

    settings = current_settings()
    prepare(settings)
    instance = open_instance()
    from tt_assets.definitions import definitions

    repository = definitions(settings).get_repository_def()
    seconds: dict[str, list[float]] = {}
    for sensor in repository.sensor_defs:
        if isinstance(sensor, dg.AutomationConditionSensorDefinition):
            continue  # Dagster's own code
        cursor = None
        for _ in range(count):
            context = dg.build_sensor_context(instance, cursor=cursor, repository_def=repository)
            began = time.perf_counter()
            answer = sensor.evaluate_tick(context)
            seconds.setdefault(sensor.name, []).append(time.perf_counter() - began)
            cursor = answer.cursor or cursor
    print(json.dumps(seconds))


def _materialize(instance: object, rectangle: object) -> None:
    from tt_assets.automation import MARKET_JOB
    from tt_assets.runs.bulk import run_rectangle
    from tt_assets.runtime.current import current_settings
    from tt_assets.runtime.jobs_in_process import job_named
    from tt_assets.tables import MARKET_TABLES

    outcome = run_rectangle(
        instance, job_named(current_settings(), MARKET_JOB), MARKET_TABLES, rectangle, lambda event: None
    )  # type: ignore[arg-type]
    if not outcome.ok:
        sys.exit(f"the run failed: {outcome.errors or outcome.failed}")


if __name__ == "__main__":
    main(sys.argv[1:])
