"""A request to stop: signal handlers make it, loops that can stop in good order look for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_requested = threading.Event()
_cancelled = threading.Event()
_listeners = 0
_guard = threading.Lock()


def request() -> bool:
    """Asks this process to stop; False if no loop is listening that would stop by itself."""
    _requested.set()
    return _listeners > 0


def requested() -> bool:
    return _requested.is_set()


def cancel() -> None:
    """Like `request`, and work that does not listen stops at its next commit too."""
    _requested.set()
    _cancelled.set()


def cancelled() -> bool:
    """Whether work should stop now: it was cancelled, and no loop is listening that will end it in good order."""
    return _cancelled.is_set() and not _listeners


def clear() -> None:
    """Forgets the request, for the next run in the same process."""
    _requested.clear()
    _cancelled.clear()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """For loops that look at `requested()` and stop in good order: open while the loop runs."""
    global _listeners
    with _guard:
        _listeners += 1
    try:
        yield
    finally:
        with _guard:
            _listeners -= 1
