"""A request to stop, from a signal handler to whoever can stop well."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_requested = threading.Event()
_cancelled = threading.Event()
_listeners = 0
_guard = threading.Lock()


def request() -> bool:
    """Ask this process to stop; False when nobody listens who would stop by itself."""
    _requested.set()
    return _listeners > 0


def requested() -> bool:
    return _requested.is_set()


def cancel() -> None:
    """As `request`, and whoever does not listen stops at its next commit."""
    _requested.set()
    _cancelled.set()


def cancelled() -> bool:
    """Whether work should stop at once: nobody is at work who comes to a good end by itself."""
    return _cancelled.is_set() and not _listeners


def clear() -> None:
    """Forget the request: for the next run in the same process."""
    _requested.clear()
    _cancelled.clear()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """While this is open, whoever opened it looks at `requested()` and comes to a good end."""
    global _listeners
    with _guard:
        _listeners += 1
    try:
        yield
    finally:
        with _guard:
            _listeners -= 1
