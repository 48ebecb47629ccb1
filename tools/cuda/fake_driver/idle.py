"""Real CuPy over a CUDA that does nothing, in machine code: what is left is the time of host code and CuPy."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

from tools.cuda.fake_driver.patches import NotHereError, Patches, check_version, libcuda

_HANDLES = (
    "cudaStreamCreateWithPriority",
    "cudaEventCreateWithFlags",
    "cudaGraphInstantiate",
    "cuModuleLoadData",
    "cuModuleGetFunction",
)


@functools.cache
def idle_cuda() -> Any:
    """CuPy, from now on without a device in this process. Arrays have addresses, and nothing at them."""
    if "cupy" in sys.modules:
        raise NotHereError("CuPy was imported before its driver")
    library = libcuda()
    import cupy

    check_version(cupy)
    patches = Patches(library, lambda name, error: None)
    patches.install_native(lambda name: _function(library, name))
    return cupy


def _function(library: ctypes.PyDLL, name: str) -> Any:
    if name in _HANDLES:
        return library.idle_new_handle
    return getattr(library, f"idle_{name}", library.do_nothing)
