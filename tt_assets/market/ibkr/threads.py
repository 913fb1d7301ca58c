"""A thread with an event loop of its own, for one piece of work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


def run_on_thread[T](work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on a new thread with an event loop of its own and wait for it.

    An interruption of the caller (Ctrl-C, a terminated run) cancels the work and waits until it has cleaned up.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    started = threading.Event()
    handle: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def watched() -> T:
        task = asyncio.current_task()
        if task is not None:
            handle.append((asyncio.get_running_loop(), task))
        started.set()
        return await work

    def body() -> None:
        try:
            results.append(asyncio.run(watched()))
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            errors.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=body, name="ibkr", daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        started.wait()
        for loop, task in handle:
            if thread.is_alive() and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]
