"""Machine code of the kernels: NVRTC compiles them with our options and no others, and it is kept for later processes.

CuPy's `RawModule` will not do. It appends `-ftz=true` to the options that it gets, and NVRTC takes the last: denormal
numbers would become zeros, on a GPU alone. It also wants the headers of a CUDA toolkit, which these kernels do without.

What is kept lies beside the CPU's kernels, where no other user can put code (`pipeline/kernels/compile.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from pipeline.kernels.compile import cache_folder, report_cache
from pipeline.runtime.messages import warn
from pipeline.runtime.private_folders import NotPrivateError, private_folder

LANGUAGE = "--std=c++17"
_DIGEST = hashlib.sha256().digest_size


class CompilerError(Exception):
    """NVRTC refuses the source or an option; the message has the first line that says why."""


def load_module(cupy: Any, code: str, options: Sequence[str]) -> Any:
    """Loads a CUDA source onto the current device.

    Args:
      cupy: the module.
      options: for NVRTC, without the architecture, which is the device's.

    Raises:
      CompilerError: NVRTC refuses the source, or does not know the device.
    """
    nvrtc, module = cupy.cuda.nvrtc, cupy.cuda.Module()
    architecture = int(cupy.cuda.Device().compute_capability)
    _check_architecture(nvrtc, architecture)
    given = (f"--gpu-architecture=sm_{architecture}", LANGUAGE, *options)
    path = _place(code, given, nvrtc.getVersion())
    cubin = _read(path)
    if cubin is None:
        cubin = _compile(nvrtc, code, given)
        _keep(path, cubin)
    module.load(cubin)
    return module


def _check_architecture(nvrtc: Any, architecture: int) -> None:
    known = nvrtc.getSupportedArchs()
    if architecture not in known:
        version = ".".join(map(str, nvrtc.getVersion()))
        raise CompilerError(
            f"NVRTC {version} compiles for compute capabilities {min(known) / 10} to {max(known) / 10}, this device has"
            f" {architecture / 10}"
        )


def _compile(nvrtc: Any, code: str, options: tuple[str, ...]) -> bytes:
    program = nvrtc.createProgram(code, "kernels.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, options)
        except Exception as error:  # the log says more than CuPy's error
            log = nvrtc.getProgramLog(program)
            said = next((line for line in log.splitlines() if "error" in line), str(error))
            raise CompilerError(f"NVRTC refuses the kernels: {said.strip()}") from error
        log = nvrtc.getProgramLog(program)
        if "followed by" in log:  # an option that is given twice: the last one would count
            raise CompilerError(f"NVRTC is given an option twice: {log.strip()}")
        return bytes(nvrtc.getCUBIN(program))
    finally:
        nvrtc.destroyProgram(program)


# ---- on disk: a digest, then the machine code


def _place(code: str, options: tuple[str, ...], version: tuple[int, int]) -> pathlib.Path | None:
    """Where the machine code is kept; None if it is not."""
    report_cache()
    kernels = cache_folder()
    key = hashlib.sha256(json.dumps([code, options, version]).encode()).hexdigest()
    try:
        return pathlib.Path(private_folder(os.path.join(kernels, "cuda")), f"{key}.cubin") if kernels else None
    except NotPrivateError:  # it is missing in a folder that can only be read
        return None


def _read(path: pathlib.Path | None) -> bytes | None:
    """The machine code; None if there is none, or it is damaged."""
    try:
        kept = path.read_bytes() if path else b""
    except OSError:
        return None
    digest, cubin = kept[:_DIGEST], kept[_DIGEST:]
    return cubin if cubin and hashlib.sha256(cubin).digest() == digest else None


def _keep(path: pathlib.Path | None, cubin: bytes) -> None:
    """Writes the file as a whole, so that processes that compile at the same time do not meet in it."""
    if path is None or not os.access(path.parent, os.W_OK):
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(cubin).digest() + cubin)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        warn(f"machine code cannot be kept in {path.parent} ({error.strerror}): later runs compile again")
