"""NVRTC, NVIDIA's compiler for kernels, without CuPy and without a GPU: what it says about registers and spills.

pip install nvidia-cuda-nvrtc-cu12      (or nvidia-cuda-nvrtc, version 13)
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import importlib.util
import pathlib
import re
from collections.abc import Mapping, Sequence

from pipeline.backends.backend import CHUNK, LOSS_TILES, TILE
from pipeline.backends.cuda.launcher import GENERATION, THREADS, options, read_sources, sources


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What the compiler says about one kernel. Sizes in bytes."""

    name: str
    registers: int
    stack: int
    spilled: int
    """stores and loads together"""
    shared: int


@dataclasses.dataclass(frozen=True)
class Build:
    kernels: tuple[Kernel, ...]
    ptx: str
    cubin: bytes


@functools.cache
def library() -> ctypes.CDLL | None:
    """libnvrtc of an installed wheel; None where there is none."""
    spec = importlib.util.find_spec("nvidia") if importlib.util.find_spec("nvidia") else None
    for base in spec.submodule_search_locations or () if spec else ():
        for path in sorted(pathlib.Path(base).rglob("libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    return None


def version() -> tuple[int, int]:
    """Of the toolkit: (12, 9)."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
    return major.value, minor.value


def constants(model: str, dims: int, negatives: int) -> dict[str, int]:
    """As the backend defines them."""
    return {
        "THREADS": THREADS,
        "DIMS": -(-dims // 16) * 16,
        "NEGATIVES": negatives,
        "CBOW": int(model == "cbow"),
        "TILE": TILE,
        "CHUNK": CHUNK,
        "LOSS_TILES": LOSS_TILES,
    }


@functools.cache
def build_step(architecture: int, model: str, dims: int, negatives: int) -> Build:
    """The kernels of the training step for compute capability `architecture` (80 is 8.0)."""
    return build(read_sources(sources(model)), constants(model, dims, negatives), architecture)


@functools.cache
def build_generation(architecture: int) -> Build:
    """The kernels that make rows."""
    defined = {"THREADS": THREADS, "TILE": TILE, "LOSS_TILES": LOSS_TILES}
    return build(read_sources(GENERATION), defined, architecture)


def build(code: str, defined: Mapping[str, int], architecture: int, more: Sequence[str] = ()) -> Build:
    """Compile to machine code, with `more` flags; RuntimeError with the compiler's words when it refuses."""
    flags = [f"--gpu-architecture=sm_{architecture}", "--std=c++17", "--ptxas-options=-v", *options(defined), *more]
    nvrtc, program = _library(), ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"step.cu", 0, None, None), "create")
    try:
        given = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        refused = nvrtc.nvrtcCompileProgram(program, len(flags), given)
        log = _text(nvrtc, program, "ProgramLog").decode().rstrip("\0")
        if refused:
            raise RuntimeError(f"NVRTC refuses the source:\n{log}")
        ptx = _text(nvrtc, program, "PTX").decode().rstrip("\0")
        return Build(tuple(_kernels(log)), ptx, _text(nvrtc, program, "CUBIN"))
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _kernels(log: str) -> list[Kernel]:
    found = []
    for part in log.split("Compiling entry function '")[1:]:
        number = functools.partial(_number, part)
        found.append(
            Kernel(
                part.partition("'")[0],
                number(r"Used (\d+) registers"),
                number(r"(\d+) bytes stack frame"),
                number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
                number(r"(\d+) bytes smem", 0),
            )
        )
    return found


def _number(text: str, pattern: str, default: int | None = None) -> int:
    found = re.search(pattern, text)
    if found:
        return int(found[1])
    if default is None:
        raise ValueError(f"the compiler's words are not understood: {text}")
    return default


def _library() -> ctypes.CDLL:
    found = library()
    if found is None:
        raise RuntimeError("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
    return found


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)), what)
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc, f"nvrtcGet{what}")(program, text), what)
    return text.raw


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"NVRTC: {what} failed with status {status}")
