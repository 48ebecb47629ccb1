"""Floats as IEEE has them by default, whatever a library of the process has switched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from pipeline.kernels import lanes
from pipeline.kernels.compile import kernel


@contextlib.contextmanager
def default_float_mode() -> Iterator[None]:
    """While open, this thread rounds to nearest and keeps denormal numbers; decorates functions too.

    A library built with -ffast-math switches them off for the thread that loads it, and for those
    which that one starts. Kernels that train switch by themselves.
    """
    before = _switch(np.uint32(lanes.DEFAULT_FLOAT_MODE))
    try:
        yield
    finally:
        _switch(before)


@kernel(allocates=False)
def _switch(mode):
    return lanes.set_float_mode(mode)
