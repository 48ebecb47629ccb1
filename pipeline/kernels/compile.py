"""How kernels are compiled: without the GIL, without fast-math, cached on disk.

Numba's cache already tells CPUs apart, but it looks only at the file of the
function it compiles: edit a helper in another file and callers stay stale. So
the folder of our cache carries a digest of every kernel source.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import config
from numba.core.caching import FunctionCache

_log = logging.getLogger(__name__)

OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy", "fastmath": False}
"""fastmath off: every float operation is correctly rounded, and in the order written."""


def sources_digest(folder: pathlib.Path) -> str:
    """SHA-256 over the names and contents of the Python files in `folder`, shortened."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _cpu_digest() -> str:
    """The CPU that code is made for: hosts that share a home do not share machine code."""
    names = (config.CPU_NAME, config.CPU_FEATURES, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()[:8]


@functools.cache
def _cache_folder() -> str:
    """A writable folder for this version of the kernels; "" when there is none."""
    name = f"kernels-{sources_digest(pathlib.Path(__file__).parent)}-{_cpu_digest()}"
    bases = [
        config.CACHE_DIR,
        os.environ.get("XDG_CACHE_HOME", ""),
        os.path.expanduser("~/.cache"),
        os.path.join(tempfile.gettempdir(), f"beam2vec-{os.getuid()}"),
    ]
    for base in filter(None, bases):
        folder = os.path.join(base, "beam2vec", name)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError:
            continue
        if os.stat(folder).st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    return ""


def are_compiled() -> bool:
    """Whether machine code is kept from an earlier process, so that this one need not wait for it."""
    folder = _cache_folder()
    return bool(folder) and any(pathlib.Path(folder).rglob("step.train-*.nbc"))


def kernel(function: Callable | None = None, *, allocates: bool = True, **options: Any) -> Any:
    """Decorator: compile on first call, keep the machine code for later processes.

    A kernel that allocates no array says so: Numba then counts no references, which in
    inner loops over the fields of named tuples cost more than the arithmetic.
    """
    if function is None:
        return functools.partial(kernel, allocates=allocates, **options)
    if not allocates:
        options["_nrt"] = False
    made = numba.njit(**{**OPTIONS, **options})(function)
    if folder := _cache_folder():
        ours, config.CACHE_DIR = config.CACHE_DIR, folder
        try:
            made._cache = _Cache(function)  # what njit(cache=True) does, with Numba's own
        finally:
            config.CACHE_DIR = ours
    return made


class _Cache(FunctionCache):
    """Numba's cache, which a torn file or a full disk does not stop: the kernel is compiled, then."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a pickle that breaks off or is damaged raises anything
            _log.warning("machine code in %s is damaged (%s): the kernel is compiled anew", self.cache_path, error)
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _log.warning("machine code cannot be kept in %s (%s): later runs compile again", self.cache_path, error)
