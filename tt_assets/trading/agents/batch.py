"""Many independent trainings side by side, in processes of their own.

Processes, not threads: a training keeps one core busy in Python and in torch. Each is started afresh (spawn), so its
bits do not depend on what its neighbours or the caller have done before.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from tt_assets.errors import UserError
from tt_assets.trading.agents.learner import Report
from tt_assets.trading.agents.policy import TrainedPolicy
from tt_assets.trading.agents.training import train_policy
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.panel import MarketPanel


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """One training.

    Parameters
    ----------
    name : what progress and errors call it.
    panel, config, seed : as of `train_policy`.
    """

    name: str
    panel: MarketPanel
    config: TradingConfig
    seed: int


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A policy, or the error that prevented it.

    Parameters
    ----------
    name : of the job.
    policy : None where there is an error.
    error : what the training, or its process, ended with.
    traceback : of the error; empty for a UserError, which says all there is on its one line.
    """

    name: str
    policy: TrainedPolicy | None
    error: Exception | None = None
    traceback: str = ""


def train_many(
    jobs: Sequence[TrainingJob],
    workers: int,
    report: Report | None = None,
    *,
    apart: bool = False,
    pool: Executor | None = None,
) -> list[TrainingResult]:
    """Train every job; an error is a result and ends no other training.

    Parameters
    ----------
    jobs : in any order; their agents do not depend on it, or on `workers`.
    workers : processes at once. With one of them, or one job, the training runs in this process.
    report : called as each ends, in whatever order they end, with jobs done, jobs, and its name.
    apart : whether one training has a process of its own all the same: torch takes 600 MB that a process keeps to its
        end.
    pool : of `training_pool`; its processes train, and stay.

    Returns
    -------
    One result per job, in the order of `jobs`.
    """
    results: list[TrainingResult | None] = [None] * len(jobs)
    workers = min(workers, len(jobs))
    if not jobs or (pool is None and workers <= 1 and not apart):
        for place, job in enumerate(jobs):
            results[place] = _train(job)
            _tell(report, place + 1, len(jobs), job)
        return [result for result in results if result is not None]

    with nullcontext(pool) if pool is not None else training_pool(workers) as processes:
        with _interrupts_not_inherited():
            waiting = {processes.submit(_train, job): place for place, job in enumerate(jobs)}
        for done, future in enumerate(as_completed(waiting), start=1):
            place = waiting[future]
            try:
                results[place] = future.result()
            except Exception as error:  # noqa: BLE001 - a killed worker must not take the other trainings with it
                results[place] = _failed(jobs[place], error)
            _tell(report, done, len(jobs), jobs[place])
    return [result for result in results if result is not None]


@contextmanager
def training_pool(workers: int) -> Iterator[Executor]:
    """Processes that train for any number of calls of `train_many`, so that torch is loaded once in each."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker) as pool:
        try:
            yield pool
        except BaseException:
            # Ctrl-C or a cancelled run: leaving the block would wait for every training that has not begun.
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _train(job: TrainingJob) -> TrainingResult:
    try:
        return TrainingResult(job.name, train_policy(job.panel, job.config, job.seed))
    except Exception as error:  # noqa: BLE001 - one failed training is a result, not the end of the batch
        return _failed(job, error)


def _failed(job: TrainingJob, error: Exception) -> TrainingResult:
    lines = "" if isinstance(error, UserError) else "".join(traceback.format_exception(error))
    return TrainingResult(job.name, None, error, lines)


@contextmanager
def _interrupts_not_inherited() -> Iterator[None]:
    """Processes started in this block leave Ctrl-C, which a terminal sends to all of them, to their parent."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change a handler
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _begin_worker() -> None:
    # Read by OpenMP and OpenBLAS when torch is imported, which is after this.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    leave_out_the_compiler()
    atexit.register(_end_worker)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that asked for the training is gone: a killed one cannot say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end_worker() -> None:
    """End at once: by the time this is called the results are sent and queues are closed.

    Otherwise the libraries that torch has linked take themselves apart, which loads another 130 MB of them first.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def leave_out_the_compiler() -> None:
    """Let this process import torch without its compiler, for which nothing here has a use; call it before torch.

    Every optimizer of torch asks the compiler not to compile it, and loads it for that, and triton with it: 150 MB and
    a second. In its place stands a module that answers as the compiler does when it compiles nothing.
    """
    compiler = types.ModuleType("torch._dynamo", "Nothing is compiled here.")
    compiler.graph_break = lambda: None  # type: ignore[attr-defined]
    compiler.disable = lambda function, recursive=True, wrapping=True: function  # type: ignore[attr-defined]
    sys.modules["torch._dynamo"] = compiler
    sys.modules["triton"] = None  # type: ignore[assignment] # to Python: cannot be imported


def _tell(report: Report | None, done: int, total: int, job: TrainingJob) -> None:
    if report is not None:
        report(done, total, job.name)
