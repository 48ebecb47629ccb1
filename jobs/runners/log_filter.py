"""Hides log lines about errors that the command reports itself.

Beam's worker prints and logs each error with its traceback, the runner logs it again, and workers
whose job has ended fail once more when they next ask the runner for something.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

from jobs.runners.worker_failures import worker_trouble
from pipeline.errors import PipelineError, find_in_text

_RUNNER_IS_GONE = (
    "_InactiveRpcError",
    "_MultiThreadedRendezvous",
    "Channel closed prematurely",
    "Instruction cleaned up already",
    "Unknown process bundle id",
    "Shutdown invoked",
    "raise RuntimeError()",
    "raise rpc_error",
)
"""In tracebacks of workers whose runner has ended the job, and of a runner whose worker is gone."""
_NO_NEWS = (
    "Waiting for grpc channel",  # a server takes its time to start
    "Unparseable argument",  # one of the runner's options, or it was refused before
    "No semi_persistent_directory found",  # of a container
    "If direct_num_workers is not equal to 1",  # in one process they work at once all the same: a test sees to it
)
_left_out: list[PipelineError] = []
_elsewhere = threading.Event()
_over = threading.Event()


def begin() -> None:
    """Forgets what an earlier job in this process has hidden."""
    _left_out.clear()
    _elsewhere.clear()
    _over.clear()


def workers_are_elsewhere() -> None:
    """From now on, a log line that a worker cannot start is about a worker of the job, so it tells why the job ends."""
    _elsewhere.set()


def job_is_over() -> None:
    """Hides failures in threads of workers from now on."""
    _over.set()


def cause_of(error: Exception) -> PipelineError | None:
    """The last hidden error, if `error` is only its consequence; else None.

    For a runner elsewhere that ends a job by another: by the lost connection that followed from it, say. An error
    that quotes what a worker raised stands for itself.
    """
    text = str(error)
    follows = "Traceback (" not in text or _is_of_the_end(text)
    return _left_out[0] if _elsewhere.is_set() and _left_out and follows else None


def is_news(record: logging.LogRecord) -> bool:
    """Whether a log line tells the user something that the error at the end will not."""
    message = record.getMessage()
    if message.startswith(_NO_NEWS) or record.name == "PrismRunner":
        return False
    error = record.exc_info[1] if record.exc_info else None
    return not _is_told_otherwise(message + ("\n" + "".join(traceback.format_exception(error)) if error else ""))


@contextlib.contextmanager
def left_out(for_good: bool) -> Iterator[None]:
    """While open, does not print tracebacks of threads that the error at the end makes superfluous.

    Args:
      for_good: not afterwards either. Threads of workers outlive the job, and in the command's own process they have
        nothing more to say.
    """
    hook = threading.excepthook

    def excepthook(failed: Any) -> None:
        if not _is_told_otherwise("".join(traceback.format_exception(failed.exc_value))):
            hook(failed)

    threading.excepthook = excepthook
    try:
        yield
    finally:
        if not for_good:
            threading.excepthook = hook


def print_news(text: str, file: TextIO) -> None:
    """Stands for `print` in Beam's worker, which prints each error with its traceback; hides what is told otherwise."""
    if not _is_told_otherwise(text):
        print(text, file=file)


def _is_told_otherwise(text: str) -> bool:
    """Whether a message or traceback quotes the error that will end the command, or is a consequence of its end."""
    # In this process all modules are there, and one that a user's tokenizer misses is its own affair.
    if ours := find_in_text(text) or (worker_trouble(text) if _elsewhere.is_set() else None):
        _left_out[:] = [ours]
        return True
    if _over.is_set() and "Traceback " in text and threading.current_thread() is not threading.main_thread():
        return True
    return _is_of_the_end(text)


def _is_of_the_end(text: str) -> bool:
    """Whether a text is about a worker whose runner is gone, or has ended the job."""
    return any(sign in text for sign in _RUNNER_IS_GONE)
