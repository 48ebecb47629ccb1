"""Sets up a process when work arrives in it; runs work in threads beside other work."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.runtime import memory, progress

AT_ONCE = 32
Item = TypeVar("Item")
Result = TypeVar("Result")

_guard = threading.Lock()
_done = False


def set_up() -> None:
    """Sets up a worker process, once: memory is returned early, and lines of progress name the worker.

    It is called wherever the context of a run arrives, so it works for every kind of worker: a process beside the
    command, a pool, a container. In the process of the command itself it does nothing.
    """
    global _done
    with _guard:
        if _done or progress.runs_the_job():
            return
        _done = True
    memory.return_early()
    progress.name_lines(
        os.environ.get("WORKER_ID") or f"worker {os.getpid()}"
    )  # Beam's name for the worker, if it has one
    logging.getLogger("pipeline").setLevel(logging.INFO)


def each(
    function: Callable[[Item], Result], items: Sequence[Item], remote: bool, threads: int = AT_ONCE
) -> list[Result]:
    """[function(item) for item in items]. With `remote`, in parallel.

    A request to an object store costs tens of milliseconds whatever its size, so remote items are worth threads.
    """
    if not remote or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items; a thread makes each while the caller uses the one before."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as maker:
        coming = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item
