"""Compiles CUDA sources for the CPU, on top of emulator.cpp: by g++ alone, or what NVIDIA's compiler made of them."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.backends.cuda.launcher import Parameter, signatures
from tools.cuda import nvrtc
from tools.cuda.emulator import ptx

HERE = pathlib.Path(__file__).parent
CACHE = HERE.parents[2] / ".pytest_cache" / "emulated"
_OURS = [HERE / name for name in ("emulator.h", "emulator.cpp", "ptx.h", "trace.cpp")]
COMPILER = shutil.which("g++")
# -ffp-contract=off: no multiplication and addition becomes one operation that was not written as one
FLAGS = ["-O1", "-std=c++17", "-fPIC", "-w", "-ffp-contract=off", f"-I{HERE}"]
if platform.machine() == "x86_64":
    FLAGS.append("-mfma")
C_TYPES = {
    "int32": ctypes.c_int,
    "uint32": ctypes.c_uint,
    "float32": ctypes.c_float,
    "int64": ctypes.c_longlong,
    "uint64": ctypes.c_ulonglong,
}


class EmulationError(AssertionError):
    """A kernel did what a device would not forgive."""


class Library:
    """Kernels as functions (grid, block, schedule, seed, arguments)."""

    def __init__(
        self,
        code: str,
        flags: Sequence[str],
        build_for: Callable[[int], nvrtc.Build] | None = None,
        architecture: int = 0,
    ):
        """Compiles the kernels for the CPU.

        Args:
          code: CUDA.
          build_for: what NVIDIA's compiler makes of it for an architecture, to run that of one.
        """
        # PyDLL keeps other threads of Python out: one may drop an array, which a running kernel would notice
        found = signatures(code)
        self.build_for, self.build = build_for, build_for(architecture) if build_for else None
        self.program = ptx.translate(self.build.ptx, found, "-DTRACED" in flags) if self.build else None
        text = self.program.code if self.program else f'#include "emulator.h"\n{code}'
        self.functions = ctypes.PyDLL(_library(text, found, tuple(flags)))
        self.kernels = {name: functools.partial(self._run, name, given) for name, given in found.items()}
        _libraries.append(self.functions)
        for begin, size in _memory.items():
            self.functions.emulator_allocate(ctypes.c_size_t(begin), ctypes.c_long(size))

    def _run(
        self,
        name: str,
        parameters: Sequence[Parameter],
        grid: int,
        block: int,
        schedule: int,
        seed: int,
        arguments: Sequence[Any],
    ) -> None:
        launch = getattr(self.functions, f"launch_{name}")
        launch.restype = ctypes.c_char_p
        given = [
            ctypes.c_void_p(value.data.ptr) if parameter.pointer else C_TYPES[parameter.dtype.name](value.item())
            for parameter, value in zip(parameters, arguments)
        ]
        failed = launch(grid, block, schedule, ctypes.c_ulong(seed), *given)
        if failed:
            raise EmulationError(failed.decode())


_libraries: list[ctypes.PyDLL] = []
_memory: dict[int, int] = {}
"""Arrays of the device: begin -> bytes."""


def note_memory(begin: int, size: int, there: bool) -> None:
    """Arrays come and go; kernels that are watched may touch no others."""
    if there:
        _memory[begin] = size
    else:
        _memory.pop(begin, None)
    for library in _libraries:
        if there:
            library.emulator_allocate(ctypes.c_size_t(begin), ctypes.c_long(size))
        else:
            library.emulator_free(ctypes.c_size_t(begin))


@functools.cache
def _compiled(code: str, defines: tuple[str, ...], watched: bool, architecture: int, traced: bool) -> Library:
    if not architecture:
        return Library(code, [*FLAGS, *defines, *(["-fsanitize=thread"] if watched else [])])
    defined = {name: int(value) for name, value in (define.removeprefix("-D").split("=") for define in defines)}
    flags = [*FLAGS, *(["-DWATCHED"] if watched else []), *(["-DTRACED"] if traced else [])]
    # line numbers lead from machine code back to the PTX, and change neither
    return Library(code, flags, lambda chosen: nvrtc.build(code, defined, chosen, ["-lineinfo"]), architecture)


def compiled(
    code: str, defines: Sequence[str], watched: bool = False, architecture: int = 0, traced: bool = False
) -> Library:
    """Compile a source, once.

    Args:
      defines: -DNAME=value.
      watched: notice races and accesses outside of arrays; slower.
      architecture: run the PTX that NVIDIA's compiler makes for it (80 is compute capability 8.0), if not 0.
      traced: count what the PTX does (trace.cpp).
    """
    return _compiled(code, tuple(defines), watched, architecture, traced)


def _launcher(kernel: str, parameters: Sequence[Parameter]) -> str:
    declared = ", ".join(f"{ptx.c_type(parameter)}{parameter.name}" for parameter in parameters)
    names = ", ".join(parameter.name for parameter in parameters)
    return f"""
extern "C" const char *launch_{kernel}(int grid_, int block_, int schedule_, unsigned long seed_, {declared}) {{
  auto body_ = [&]() UNWATCHED {{ {kernel}({names}); }};
  auto call_ = [](void *p) UNWATCHED {{ (*(decltype(body_) *)p)(); }};
  return emulator::run("{kernel}", grid_, block_, schedule_, seed_, call_, &body_);
}}"""


def _library(code: str, found: Mapping[str, Sequence[Parameter]], flags: tuple[str, ...]) -> str:
    """The path of the shared library; made once, for all processes."""
    launchers = "\n".join(_launcher(name, parameters) for name, parameters in found.items())
    text = f'{code}\n#line 1 "launchers"\n{launchers}\n'
    digest = hashlib.sha256("\0".join([text, *(path.read_text() for path in _OURS), *flags]).encode()).hexdigest()
    path = CACHE / f"{digest[:24]}.so"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            source, kernels, made = (os.path.join(folder, name) for name in ("kernels.cpp", "kernels.o", "made.so"))
            pathlib.Path(source).write_text(text)
            _run([*flags, "-c", source, "-o", kernels])
            # linking with -fsanitize=thread would bring a library along that has the functions of ours
            _run(["-shared", kernels, _object("emulator.cpp"), _object("trace.cpp"), "-o", made])
            os.replace(made, path)
    return str(path)


def _object(name: str) -> str:
    texts = (HERE / name).read_text(), (HERE / "emulator.h").read_text()
    path = CACHE / f"{hashlib.sha256(''.join(texts).encode()).hexdigest()[:24]}.o"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=CACHE, suffix=".o", delete=False) as made:
            _run([*FLAGS, "-O2", "-c", str(HERE / name), "-o", made.name])
        os.replace(made.name, path)
    return str(path)


def _run(arguments: Sequence[str]) -> None:
    assert COMPILER
    done = subprocess.run([COMPILER, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"g++ failed:\n{done.stderr[:2000]}")
