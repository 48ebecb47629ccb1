"""How kernels are compiled: without the GIL, without fast-math, cached on disk.

Numba's cache distinguishes CPUs, but it looks only at the file of the function that it compiles: after an edit of a
helper in another file, its callers would stay stale. So the name of our cache folder holds a digest of all kernel
sources. Code from that folder is executed, so no other user may write there (`pipeline/runtime/private_folders.py`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator, NullCache
from numba.core.types.containers import BaseNamedTuple

from pipeline.runtime.messages import warn
from pipeline.runtime.private_folders import NotPrivateError, home_folder, private_folder

OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy", "fastmath": False}
"""fastmath is off: every float operation is rounded correctly, and done in the order of the source."""


def sources_digest(folder: pathlib.Path) -> str:
    """SHA-256 over the names and contents of the Python files in `folder`, shortened."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _cpu_digest() -> str:
    """Digest of the CPU that code is compiled for: hosts that share a home folder do not share machine code."""
    names = (config.CPU_NAME, config.CPU_FEATURES, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()[:8]


def cache_folder() -> str:
    """The cache folder for this version of the kernels; "" when there is none."""
    return _choose_folder()[0]


@functools.cache
def _choose_folder() -> tuple[str, str]:
    """(the cache folder or "", a note for the user or "")"""
    name = os.path.join("beam2vec", f"kernels-{sources_digest(pathlib.Path(__file__).parent)}-{_cpu_digest()}")
    refused, why_not = [], []
    for setting, base in _candidate_folders():
        try:
            folder = _usable_folder(private_folder(os.path.join(base, name)))
        except NotPrivateError as error:
            why_not.append(str(error))
            if setting:
                refused.append(f"{setting}={base} is not used ({error})")
            continue
        if not refused:
            return folder, ""
        kept = f"compiled kernels are kept in {folder}"
        return folder, f"{', and '.join(refused)}: {kept}; set it to a folder of your own"
    why = "; ".join(why_not) or "there is neither a home nor a folder for temporary files"
    return "", (
        f"compiled kernels are not kept, so each command that needs them compiles them again ({why}): set "
        "XDG_CACHE_HOME or NUMBA_CACHE_DIR to a folder of your own"
    )


def _candidate_folders() -> list[tuple[str, str]]:
    """(the environment variable that names it, or ""; folder), in the order in which they are tried."""
    home, cache = home_folder(), os.environ.get("XDG_CACHE_HOME", "")
    bases = [("NUMBA_CACHE_DIR", config.CACHE_DIR)] if config.CACHE_DIR else []
    if os.path.isabs(cache):  # others are to be ignored, says the XDG Base Directory Specification
        bases.append(("XDG_CACHE_HOME", cache))
    elif home is not None:
        bases.append(("", os.path.join(home, ".cache")))
    with contextlib.suppress(OSError):  # there is none that could be written
        bases.append(("", os.path.join(tempfile.gettempdir(), f"beam2vec-{os.geteuid()}")))
    return bases


def _usable_folder(folder: str) -> str:
    """The folder, if it can be written or has kernels in it already; NotPrivateError if not."""
    if not os.access(folder, os.W_OK) and not any(pathlib.Path(folder).rglob("*.nbc")):
        raise NotPrivateError(f"{folder} has no kernels in it and cannot be written")
    return folder


@functools.cache
def report_cache() -> None:
    """Print one line, once, if kernels are not cached, or not where the user wants it; only from the main process."""
    note = _choose_folder()[1]
    if note and "WORKER_ID" not in os.environ:  # Beam's workers have this variable
        warn(note)


def has_cached_kernels() -> bool:
    """Whether an earlier process has left compiled kernels, so that this one need not wait for the compiler."""
    folder = cache_folder()
    return bool(folder) and any(pathlib.Path(folder).rglob("step.train-*.nbc"))


def can_cache_kernels() -> bool:
    """Whether kernels that are compiled now will be there for the next process."""
    folder = cache_folder()
    return bool(folder) and os.access(folder, os.W_OK)


def kernel(function: Callable | None = None, *, allocates: bool = True, **options: Any) -> Any:
    """Decorator: compiles on the first call, and keeps the machine code for later processes.

    `allocates=False` is for kernels that allocate no array: Numba then counts no references, which in inner loops over
    the fields of named tuples costs more than the arithmetic.
    """
    if function is None:
        return functools.partial(kernel, allocates=allocates, **options)
    if not allocates:
        options["_nrt"] = False
    compiled = numba.njit(**{**OPTIONS, **options})(function)
    if _folder_of_source(inspect.getfile(function)):
        compiled._cache = _Cache(function)  # what njit(cache=True) does, with Numba's own
    else:
        compiled._cache = _NoCache()
    return compiled


@functools.cache
def _folder_of_source(file: str) -> str:
    """The folder for the kernels of a source file, within our cache folder; "" if they are not kept."""
    folder = cache_folder()
    with contextlib.suppress(NotPrivateError):  # in a folder that can only be read, one may be missing
        return folder and private_folder(os.path.join(folder, _Locator.get_suitable_cache_subpath(file)))
    return ""


class _Locator(InTreeCacheLocator):
    """Makes Numba use our folder in place of its own."""

    def get_cache_path(self) -> str:
        return _folder_of_source(self._py_file)

    def ensure_cache_path(self) -> None:
        """Nothing to do: `private_folder` has created it."""


class _Implementation(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _NoCache(NullCache):
    def load_overload(self, sig: Any, target_context: Any) -> None:
        report_cache()


class _Cache(FunctionCache):
    """Numba's cache, but a damaged file or a full disk stops nothing: the kernel is then compiled again."""

    _impl_class = _Implementation

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Numba's key, extended by the names of the fields of each named tuple.

        Numba identifies such a tuple by its class and the types of its fields. A class outside this folder (`Spans`,
        `Rows`) may be edited without changing the digest of the kernels: if two of its arrays changed places, old code
        would read each as the other.
        """
        return super()._index_key(sig, codegen), _field_names(sig)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        report_cache()
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a pickle that breaks off or is damaged raises anything
            warn(f"machine code in {self.cache_path} is damaged ({error}): it is compiled again")
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if not os.access(self.cache_path, os.W_OK):  # the folder came read-only with a container image, for instance
            return
        try:
            super().save_overload(sig, data)
        except Exception as error:
            warn(f"machine code cannot be kept in {self.cache_path} ({error}): later runs compile again")


def _field_names(kinds: Any) -> tuple:
    """Field names of the named tuples among some Numba types, nested as the tuples are."""
    return tuple((*kind.fields, _field_names(kind)) for kind in kinds if isinstance(kind, BaseNamedTuple))
