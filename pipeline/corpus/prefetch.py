"""Many small requests to an object store at once: each takes some tens of milliseconds, however little it is for."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pipeline.corpus.work_units import TextRange
from pipeline.errors import PipelineError

AT_ONCE = 32
_SMALL = 1 << 20
"""Files up to this size are fetched ahead: 32 MB at most are held."""

_REMOTE = re.compile(r"^(?!file://)[A-Za-z][A-Za-z0-9+.-]*://")
_fetched: dict[tuple[str, int, int], bytes] = {}
_guard = threading.Lock()

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_remote(uri: str) -> bool:
    return bool(_REMOTE.match(uri))


def each(
    function: Callable[[Item], Result], items: Sequence[Item], remote: bool, threads: int = AT_ONCE
) -> list[Result]:
    """[function(item) for item in items]; for `remote` ones many at once."""
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
    """What has been read ahead of a uri, once; None where nothing has."""
    if not _fetched:
        return None
    with _guard:
        return _fetched.pop((uri, start, length), None)
