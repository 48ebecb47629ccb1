"""Fetches small files of an object store in parallel: a request costs tens of milliseconds whatever its size."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.corpus.work_units import TextRange
from pipeline.errors import PipelineError
from pipeline.runtime.process import AT_ONCE
from pipeline.storage.open_storage import is_remote

_SMALL = 1 << 20
"""Files up to this size are fetched ahead, so at most 32 MB are held in memory."""

_fetched: dict[tuple[str, int, int], bytes] = {}
_guard = threading.Lock()


def fetched_ahead(
    ranges: Iterable[TextRange], read: Callable[[str, int, int], bytes]
) -> Generator[TextRange, None, None]:
    """The byte ranges in order; those that are whole small objects have been fetched when they are yielded, for `take`.

    Args:
      read: returns bytes start:start + length of a uri. Errors are ignored here, and come again when the range is read.
    """
    waiting: deque[tuple[TextRange, Future[bytes] | None]] = deque()
    keys: set[tuple[str, int, int]] = set()
    coming = iter(ranges)
    pool: ThreadPoolExecutor | None = None
    try:
        while True:
            while len(waiting) < AT_ONCE and (text_range := next(coming, None)) is not None:
                small = (
                    is_remote(text_range.uri) and text_range.start == 0 and text_range.end == text_range.size <= _SMALL
                )
                if small and pool is None:
                    pool = ThreadPoolExecutor(AT_ONCE)
                waiting.append(
                    (text_range, pool.submit(read, text_range.uri, 0, text_range.size) if small and pool else None)
                )
            if not waiting:
                return
            text_range, future = waiting.popleft()
            if future is not None:
                key = (text_range.uri, 0, text_range.size)
                try:
                    data = future.result()
                except (PipelineError, OSError):
                    pass
                else:
                    keys.add(key)
                    with _guard:
                        _fetched[key] = data
            yield text_range
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        with _guard:
            for key in keys:
                _fetched.pop(key, None)


def take(uri: str, start: int, length: int) -> bytes | None:
    """The bytes if they have been fetched ahead, else None; they are handed out once."""
    if not _fetched:
        return None
    with _guard:
        return _fetched.pop((uri, start, length), None)
