"""What a process does first when it is to work on a run that another process began."""

from __future__ import annotations

import logging
import os
import threading

from pipeline.runtime import memory, progress

_guard = threading.Lock()
_done = False


def set_up() -> None:
    """Memory settings, and progress in lines that name this worker; once, and not where a command runs itself.

    Called wherever the context of a run arrives, so that it holds for every kind of worker: a
    process beside the command, a pool, a container.
    """
    global _done
    with _guard:
        if _done or progress.owns_terminal():
            return
        _done = True
    memory.return_early()
    progress.name_lines(os.environ.get("WORKER_ID") or f"worker {os.getpid()}")  # Beam's name for it, where it has one
    logging.getLogger("pipeline").setLevel(logging.INFO)
