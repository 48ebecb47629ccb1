"""Finds the GPU to train on, or says what is missing."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys

from pipeline.runtime.messages import warn
from pipeline.runtime.private_folders import NotPrivateError, home_folder, private_folder

OLDEST = 70
"""Compute capability 7.0, the first whose warps can match threads by value."""


class NoGpuError(Exception):
    """There is no GPU to train on; the message says what is missing."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """The device that CuPy uses."""

    name: str
    memory: int
    """bytes"""
    driver: str
    """the newest CUDA that it knows"""

    def __str__(self) -> str:
        return f"{self.name} ({self.memory / 2**30:.1f} GiB, driver for CUDA {self.driver})"


def find_gpu() -> Gpu:
    """The GPU, after a small test that it answers.

    Raises:
      NoGpuError: CuPy, the compiler or the driver is missing, or there is no device, or it does not answer.
    """
    _cache_privately()
    try:
        import cupy
    except Exception as error:  # whatever a broken installation raises
        raise NoGpuError(f"CuPy cannot be imported ({_said(error)})") from error
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except Exception as error:
        raise NoGpuError(f"no NVIDIA driver answers ({_said(error)})") from error
    if not count:
        raise NoGpuError("the driver shows no device: is CUDA_VISIBLE_DEVICES set?")
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        raise NoGpuError(f"NVRTC, the compiler that CuPy uses, is not found ({_said(error)})") from error
    try:
        device = cupy.cuda.Device()
        properties = runtime.getDeviceProperties(device.id)
        capability = int(device.compute_capability)
        cupy.empty(1, "int32")
        device.synchronize()
        driver = runtime.driverGetVersion()
    except Exception as error:
        raise NoGpuError(f"the device does not answer ({_said(error)})") from error
    name = properties["name"].decode()
    if capability < OLDEST:
        raise NoGpuError(f"{name} has compute capability {capability / 10}, {OLDEST / 10} or later is needed")
    return Gpu(name, properties["totalGlobalMem"], f"{driver // 1000}.{driver % 1000 // 10}")


def _cache_privately() -> None:
    """Lets CuPy keep its cache only in a private folder, because it runs the code that it finds there.

    CuPy creates the folder when it is imported, even if it then keeps the cache in memory.
    """
    if "cupy" in sys.modules or importlib.util.find_spec("cupy") is None:
        return
    home = home_folder()
    chosen = os.environ.get("CUPY_CACHE_DIR") or (home and os.path.join(home, ".cupy", "kernel_cache"))
    try:
        if not chosen:
            raise NotPrivateError("you have no home")
        os.environ["CUPY_CACHE_DIR"] = private_folder(chosen)
    except NotPrivateError as error:
        os.environ.update(CUPY_CACHE_DIR="/", CUPY_CACHE_IN_MEMORY="1")  # a folder that is there, and is not used
        if "WORKER_ID" not in os.environ:
            warn(
                f"compiled GPU kernels are not kept, so each command compiles them again ({error}): set CUPY_CACHE_DIR "
                "to a folder of your own"
            )


def _said(error: Exception) -> str:
    """The error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
