"""Functions of a loaded CuPy that call Python instead."""

from __future__ import annotations

import ctypes
import mmap
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from tools.cuda.emulator.emulation import COMPILER

HERE = pathlib.Path(__file__).parent
WANTED = HERE / "requirements.txt"
UNKNOWN = 999
"""cudaErrorUnknown."""
_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_long] * 11)
_JUMP = b"\xff\x25\x00\x00\x00\x00"
"""jmp *[rip]: to the address that follows."""
_RETURN_0 = b"\x31\xc0\xc3"
"""xor eax, eax; ret"""
_WITH_TEXT = ("cudaGetErrorName", "cudaGetErrorString")
"""They return text, and need no driver."""
DRIVER = (
    "cuGetErrorName",
    "cuGetErrorString",
    "cuLaunchKernel",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
)
"""Functions of the driver, as against those of the runtime inside CuPy."""
_libc = ctypes.CDLL(None)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class NotHereError(Exception):
    """Real CuPy cannot be patched on this machine; the message says why."""


def libcuda() -> ctypes.PyDLL:
    """The driver, loaded under its name, so that CuPy finds it. Call it before CuPy is imported."""
    if platform.machine() != "x86_64" or not COMPILER or not shutil.which("nm"):
        raise NotHereError("real CuPy is patched on x86-64 only, with g++ and nm")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "libcuda.so.1")
        command = [
            COMPILER,
            "-O1",
            "-shared",
            "-fPIC",
            "-Wl,-soname,libcuda.so.1",
            str(HERE / "libcuda.cpp"),
            "-o",
            path,
        ]
        subprocess.run(command, check=True)
        # PyDLL keeps the GIL, which callbacks want
        return ctypes.PyDLL(path, mode=ctypes.RTLD_GLOBAL)


def check_version(cupy: Any) -> None:
    """NotHereError unless CuPy is the one that the patches are for."""
    wanted = next(line for line in WANTED.read_text().splitlines() if line.startswith("cupy-")).partition("==")[2]
    if cupy.__version__ != wanted:
        raise NotHereError(f"the fake driver is for CuPy {wanted}, and this is {cupy.__version__}: see {WANTED.name}")


class Patches:
    """Puts functions of Python in the place of those of the CUDA runtime and of the driver."""

    def __init__(self, driver: ctypes.PyDLL, report: Callable[[str, BaseException], None]):
        """Args:
        report: is told of a function's name and of what it has raised.
        """
        from cupy_backends.cuda.api import runtime

        self._driver, self._report = driver, report
        self._base, self._symbols = _loaded_at(runtime.__file__), _functions(runtime.__file__)
        self._kept: list[Any] = []
        """callbacks, which ctypes does not keep"""
        self.calls: dict[str, int] = {}

    def install(self, functions: Mapping[str, Callable[..., int | None]]) -> None:
        """All functions of the runtime: the given ones, and errors for the others.

        Args:
          functions: CUDA's name -> function of eleven numbers (of pointers, the addresses), which returns an error's
            number, or None for success.
        """
        self._install(lambda name: self._callback(name, functions.get(name)))

    def install_native(self, function_of: Callable[[str], Any]) -> None:
        """All functions, by functions of a library of C."""
        self._install(lambda name: ctypes.cast(function_of(name), ctypes.c_void_p).value)

    def _install(self, address_of: Callable[[str], int | None]) -> None:
        for name in self._symbols:
            if name not in _WITH_TEXT:
                self._write(name, _JUMP + struct.pack("<Q", address_of(name)))
        for name in DRIVER:
            ctypes.c_void_p.in_dll(self._driver, f"python_{name}").value = address_of(name)

    def retire(self) -> None:
        """From now on all functions succeed and do nothing: while a process ends, Python can no longer be called."""
        for name in self._symbols:
            if name not in _WITH_TEXT:
                self._write(name, _RETURN_0)
        nothing = ctypes.cast(self._driver.do_nothing, ctypes.c_void_p).value
        for name in DRIVER:
            ctypes.c_void_p.in_dll(self._driver, f"python_{name}").value = nothing

    def _callback(self, name: str, function: Callable[..., int | None] | None) -> int | None:
        def call(*given: int) -> int:
            self.calls[name] = self.calls.get(name, 0) + 1
            try:
                if function is None:
                    raise NotImplementedError(f"{name} is not known to the fake driver")
                return function(*given) or 0
            except BaseException as error:
                self._report(name, error)
                traceback.print_exc()
                return UNKNOWN

        kept = _PROTOTYPE(call)
        self._kept.append(kept)
        return ctypes.cast(kept, ctypes.c_void_p).value

    def _write(self, name: str, code: bytes) -> None:
        at = self._base + self._symbols[name]
        page = at & -mmap.PAGESIZE
        if _libc.mprotect(page, 2 * mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC):
            raise NotHereError("this system lets no process change its own code")
        ctypes.memmove(at, code, len(code))


def _loaded_at(path: str) -> int:
    name = os.path.basename(path)
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    return min(int(line.partition("-")[0], 16) for line in lines if line.endswith(name))


def _functions(path: str) -> dict[str, int]:
    """Functions of the CUDA runtime in a library that has it inside: name -> offset."""
    lines = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines()
    parts = [line.split() for line in lines]
    return {p[2]: int(p[0], 16) for p in parts if len(p) == 3 and p[1] in "tT" and p[2].startswith("cuda")}
