"""Small files of an object store, read many at once: a request costs tens of milliseconds whatever its size."""

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
"""Files up to this size are fetched ahead: 32 MB at most are held."""

_fetched: dict[tuple[str, int, int], bytes] = {}
_guard = threading.Lock()


def fetched_ahead(
    ranges: Iterable[TextRange], read: Callable[[str, int, int], bytes]
) -> Generator[TextRange, None, None]:
    """The ranges in order; whole small objects among them have been read when they come, for `take`.

    Args:
      read: gives bytes start:start + length of a uri; its failures are left to who reads the range.
    """
    waiting: deque[tuple[TextRange, Future[bytes] | None]] = deque()
    keys: set[tuple[str, int, int]] = set()
    coming = iter(ranges)
    pool: ThreadPoolExecutor | None = None
    try:
        while True:
            while len(waiting) < AT_ONCE and (part := next(coming, None)) is not None:
                small = is_remote(part.uri) and part.start == 0 and part.end == part.size <= _SMALL
                if small and pool is None:
                    pool = ThreadPoolExecutor(AT_ONCE)
                waiting.append((part, pool.submit(read, part.uri, 0, part.size) if small and pool else None))
            if not waiting:
                return
            part, future = waiting.popleft()
            if future is not None:
                key = (part.uri, 0, part.size)
                try:
                    data = future.result()
                except (PipelineError, OSError):
                    pass
                else:
                    keys.add(key)
                    with _guard:
                        _fetched[key] = data
            yield part
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        with _guard:
            for key in keys:
                _fetched.pop(key, None)


def take(uri: str, start: int, length: int) -> bytes | None:
    """What has been read ahead of a uri, once; None if nothing has."""
    if not _fetched:
        return None
    with _guard:
        return _fetched.pop((uri, start, length), None)
