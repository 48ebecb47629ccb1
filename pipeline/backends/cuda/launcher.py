"""Compiled kernels, called by name with arguments that are checked against the CUDA source.

CuPy checks nothing: it passes a Python int as 64 bits and a float as a double, and
takes an array of any type for a pointer. Here a parameter list is written once, in
the source, and every argument has to fit it.

To add a kernel: write it in a `.cu` file of this folder as `KERNEL name(...)`, name
the file in `sources`, and launch it with `launcher(name, grid, block, *arguments)`.
It may use what the files before it define (`base.cu` first). Its parameters are of
the types in `SCALARS` or pointers to them; a pointer that is only read is `const`.
"""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.backends.cuda.cubins import load_module

FOLDER = pathlib.Path(__file__).parent
THREADS = 256
"""Of the largest block."""
SCALARS: dict[str, type[np.generic]] = {
    "int": np.int32,
    "unsigned": np.uint32,
    "float": np.float32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
}
OPTIONS = ("-ftz=false", "-fmad=false", "-prec-div=true", "-prec-sqrt=true")
"""Of NVRTC: correctly rounded float32, denormal numbers as they are, nothing contracted. The source rounds by its
intrinsics, but none of them keeps a denormal number if the first option is not false."""

_KERNEL = re.compile(r"^(?:BUSY_)?KERNEL\s+(\w+)\(([^)]*)\)", re.MULTILINE)
_PARAMETER = re.compile(r"(?:const )?(\w[\w ]*?) ?(\*)? ?(\w+)")


class Parameter(NamedTuple):
    """Of a kernel: `const int *key` is ("key", int32, True)."""

    name: str
    dtype: np.dtype
    pointer: bool


def sources(model: str) -> tuple[str, ...]:
    """The files of the training step of a model, in the order in which they build on each other."""
    return ("base.cu", "common.cu", "plan.cu", "update.cu", f"{model}.cu")


GENERATION = ("base.cu", "generate.cu")
"""The files of the kernels that make rows."""


def read_sources(names: Sequence[str]) -> str:
    """The files as one text; compilers' messages still name file and line."""
    return "".join(f'#line 1 "{name}"\n{(FOLDER / name).read_text()}' for name in names)


def signatures(code: str) -> dict[str, list[Parameter]]:
    """Kernel -> parameters, read from the source."""
    return {name: [_parameter(text) for text in listed.split(",")] for name, listed in _KERNEL.findall(code)}


def _parameter(text: str) -> Parameter:
    match = _PARAMETER.fullmatch(" ".join(text.split()))
    if not match or match[1] not in SCALARS:
        raise ValueError(f"a kernel's parameter is of a type that is not known here: {text.strip()}")
    return Parameter(match[3], np.dtype(SCALARS[match[1]]), bool(match[2]))


def options(constants: Mapping[str, int]) -> tuple[str, ...]:
    """The options for NVRTC, without the architecture."""
    return (*OPTIONS, *(f"-D{name}={value}" for name, value in constants.items()))


@functools.lru_cache(maxsize=32)
def _compiled(cupy: Any, names: tuple[str, ...], constants: tuple[tuple[str, int], ...]) -> tuple[dict, dict]:
    """Signatures and functions; a process loads each shape once."""
    code = read_sources(names)
    parameters = signatures(code)
    module = load_module(cupy, code, options({"THREADS": THREADS, **dict(constants)}))
    return parameters, {name: module.get_function(name) for name in parameters}


class Launcher:
    """The kernels of some source files, compiled for one set of constants."""

    def __init__(self, cupy: Any, names: Sequence[str], constants: Mapping[str, int]):
        """Compiles the files, unless this process has compiled them for these constants.

        Args:
          cupy: the module.
          names: of source files, as from `sources`.
          constants: what the files want to have defined; THREADS is given.
        """
        self.signatures, self._functions = _compiled(cupy, tuple(names), tuple(constants.items()))

    def __call__(self, name: str, grid: int, block: int, *arguments: Any) -> None:
        """Launch a kernel on the current stream: `grid` blocks of `block` threads.

        Raises:
          TypeError: an argument is not what the source says.
        """
        parameters = self.signatures[name]
        if len(arguments) != len(parameters):
            raise TypeError(f"{name} takes {len(parameters)} arguments, not {len(arguments)}")
        if block % 32 or not 0 < block <= THREADS or grid < 1:
            raise TypeError(f"{name}: {grid} blocks of {block} threads cannot be launched")
        checked = tuple(_checked(name, *pair) for pair in zip(parameters, arguments))
        self._functions[name]((grid,), (block,), checked)


def _checked(kernel: str, parameter: Parameter, value: Any) -> Any:
    if parameter.pointer:
        if getattr(value, "dtype", None) != parameter.dtype or not hasattr(value, "data"):
            raise TypeError(f"{kernel}: {parameter.name} is an array of {parameter.dtype}, not {_shown(value)}")
        if isinstance(value, np.ndarray):
            raise TypeError(f"{kernel}: {parameter.name} is an array of the device, not one of the host")
        if not value.flags.c_contiguous:
            raise TypeError(f"{kernel}: {parameter.name} is not contiguous")
        return value
    whole = isinstance(value, (bool, int, np.integer))
    if not whole and not (isinstance(value, (float, np.floating)) and parameter.dtype.kind == "f"):
        raise TypeError(f"{kernel}: {parameter.name} is {parameter.dtype}, not {_shown(value)}")
    try:
        with np.errstate(over="ignore"):
            typed = parameter.dtype.type(value)
    except OverflowError:
        typed = None
    if typed is None or not np.isfinite(typed):  # floats may lose digits, as everywhere on the way to float32
        raise TypeError(f"{kernel}: {parameter.name} is {parameter.dtype}, which cannot hold {value}")
    return typed


def _shown(value: Any) -> str:
    return str(getattr(value, "dtype", type(value).__name__))
