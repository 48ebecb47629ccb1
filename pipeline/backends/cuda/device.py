"""Finds the GPU to train on, or says what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import sys
from typing import Any

from pipeline.runtime.private_folders import NotPrivateError, home_folder, private_folder

OLDEST = 70
"""Compute capability 7.0, the first whose warps can match threads by value."""


class NoGpuError(Exception):
    """There is no GPU to train on; the message says what is missing."""


class NoCupyError(NoGpuError):
    """CuPy is not installed: nobody expects a GPU to be used."""


_CUPYS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
"""Packages that install CuPy, into one folder."""
_OLD_DRIVER, _NO_DEVICE = 35, 100
"""cudaErrorInsufficientDriver, also without any driver; cudaErrorNoDevice."""


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
    _refuse_several()
    _cache_privately()
    try:
        import cupy
    except Exception as error:  # whatever a broken installation raises
        kind = NoCupyError if _is_missing(error) else NoGpuError
        raise kind(f"CuPy cannot be imported ({_said(error)})") from error
    runtime = cupy.cuda.runtime
    try:
        runtime.getDeviceCount()
    except Exception as error:
        raise NoGpuError(_why_no_device(runtime, error)) from error
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
    return Gpu(name, properties["totalGlobalMem"], _shown_version(driver))


def _refuse_several() -> None:
    """NoGpuError if several packages have put their CuPy into one folder: then it is a mixture."""
    installed = _installed()
    if len(installed) > 1:
        raise NoGpuError(
            f"{' and '.join(installed)} are installed, into the same folder: pip uninstall {' '.join(installed)}, and"
            " then install one"
        )


@functools.cache
def _installed() -> tuple[str, ...]:
    """The packages with a CuPy that are installed. To look takes 30 ms."""
    found = []
    for name in _CUPYS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.distribution(name)
            found.append(name)
    return tuple(found)


def _is_missing(error: Exception) -> bool:
    """Whether CuPy is not there at all."""
    return isinstance(error, ModuleNotFoundError) and error.name == "cupy"


def _why_no_device(runtime: Any, error: Exception) -> str:
    status = getattr(error, "status", None)
    if status == _NO_DEVICE:
        return "the driver shows no device: is CUDA_VISIBLE_DEVICES set?"
    if status == _OLD_DRIVER and (driver := runtime.driverGetVersion()):
        needed = runtime.runtimeGetVersion() // 1000
        return f"the driver knows CUDA {_shown_version(driver)}, and this CuPy is for CUDA {needed}: update the driver"
    return f"no NVIDIA driver answers ({_said(error)})"


def _shown_version(cuda: int) -> str:
    return f"{cuda // 1000}.{cuda % 1000 // 10}"


def _cache_privately() -> None:
    """Lets CuPy keep its cache only in a private folder, because it runs the code that it finds there.

    The kernels of training are kept elsewhere (`cubins.py`), so nobody needs to be told. CuPy creates the folder when
    it is imported, even if it then keeps the cache in memory.
    """
    if "cupy" in sys.modules or importlib.util.find_spec("cupy") is None:
        return
    home = home_folder()
    chosen = os.environ.get("CUPY_CACHE_DIR") or (home and os.path.join(home, ".cupy", "kernel_cache"))
    try:
        if not chosen:
            raise NotPrivateError("you have no home")
        os.environ["CUPY_CACHE_DIR"] = folder = private_folder(chosen)
        if not os.access(folder, os.W_OK):
            raise NotPrivateError(f"{folder} cannot be written")
    except NotPrivateError:
        os.environ.update(CUPY_CACHE_DIR="/", CUPY_CACHE_IN_MEMORY="1")  # a folder that is there, and is not used


def _said(error: Exception) -> str:
    """The error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
