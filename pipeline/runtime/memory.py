"""Returns freed memory to the system.

The stages of a run need memory for different things and from different threads. By default allocators keep what each
thread once had: a run over 23M words took 1.37 GB in place of 0.8 GB, at the same speed.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt()."""
_ARENAS = 2
_LARGE = 1 << 20
"""Blocks of at least so many bytes get pages of their own, which are returned when the block is freed. Setting it also
keeps glibc from raising it to 32 MB. With 4 MB a run is 3% faster, and needs 10% more memory if it is long."""
_LARGE_AGAIN = 3 << 20
"""The same in loops that allocate blocks of equal sizes again and again: those of a batch with the default window.
With 8 MB a run needed a sixth more memory."""
GROUPS_AGAIN = 32 << 20
"""The same where row groups of Parquet are read or written one by one."""
_set_up = False
_loops: list[int] = []
"""What the loops that reuse memory now have asked for; replicas may train side by side."""
_guard = threading.Lock()


def return_early() -> None:
    """Makes this process return memory early. Call it before there are threads; it does nothing without glibc."""
    global _set_up
    _set_up = _mallopt(_ARENA_MAX, _ARENAS)
    _return_from(_LARGE)
    if _set_up:
        pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Returns memory that is free between blocks in use; called between stages, whose needs differ."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def reused(size: int = _LARGE_AGAIN) -> Iterator[None]:
    """While open, this process keeps memory that is freed, for a loop that allocates it again at once.

    New pages for the rows of each step range took a tenth of the time of training.

    Args:
      size: bytes from which on a block is returned all the same.
    """
    with _guard:
        _loops.append(size)
        _set_threshold()
    try:
        yield
    finally:
        with _guard:
            _loops.remove(size)
            _set_threshold()
        give_back()


def _set_threshold() -> None:
    if _set_up:
        _return_from(max(_loops, default=_LARGE))


def _return_from(size: int) -> None:
    _mallopt(_MMAP_THRESHOLD, size)
    _mallopt(_TRIM_THRESHOLD, size)


def _mallopt(parameter: int, value: int) -> bool:
    """Whether the C library has accepted the parameter."""
    try:
        return bool(ctypes.CDLL(None).mallopt(parameter, value))
    except (AttributeError, OSError):
        return False
