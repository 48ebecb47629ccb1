"""IEEE's default float mode, in spite of libraries that switch it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from pipeline.kernels import lanes
from pipeline.kernels.compile import kernel


@contextlib.contextmanager
def default_float_mode() -> Iterator[None]:
    """While open, this thread rounds to nearest and keeps denormal numbers; also usable as a decorator.

    A library built with -ffast-math switches denormal numbers off in the thread that loads it, and in threads that
    this one starts. Kernels that train set the mode themselves.
    """
    before = _switch(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    try:
        yield
    finally:
        _switch(before)


@kernel(allocates=False)
def _switch(mode):
    return lanes.set_float_mode(mode)
