"""A user's own function as a tokeniser."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import operator
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pipeline.corpus.tokenizers.tokenizer import BUILT_IN, LineTokenizer
from pipeline.errors import InputError
from pipeline.runtime.shown_text import shown

_digests: weakref.WeakKeyDictionary[ModuleType, str] = weakref.WeakKeyDictionary()
"""Module of a user's function -> digest of its file when it was loaded. The file may be edited later, but the code that
runs stays the same."""


@dataclass(frozen=True)
class FunctionTokenizer(LineTokenizer):
    """A user's function(line: str) -> list[str], named "module:function"."""

    @property
    def users_function(self) -> str:
        return self.name

    def own_identity(self) -> dict[str, Any]:
        module = _load(self.name)[1]
        package = importlib.import_module(module.__name__.partition(".")[0])
        digest = _digests[module]
        if _file_digest(module) != digest:
            raise InputError(
                f"--tokenizer={self.name}: {module.__file__} changed since it was imported: start a new process"
            )
        return {"name": self.name, "version": str(getattr(package, "__version__", "")), "digest": digest}

    def tokens_of(self, lines: list[str]) -> Iterator[Any]:
        return map(load_function(self.name), lines)


def load_function(name: str) -> Callable[[str], list[str]]:
    """The function named "module:function"; InputError if it cannot be loaded."""
    return _load(name)[0]


@functools.cache
def _load(name: str) -> tuple[Callable[[str], list[str]], ModuleType]:
    """(the function, the module that defines it); the digest of the module is remembered."""
    module, colon, function = name.partition(":")
    if not colon:
        raise InputError(
            f"--tokenizer={name}: there is no such tokenizer; there are {', '.join(BUILT_IN)}, "
            "and functions of your own as module:function"
        )
    try:
        tokenize = operator.attrgetter(function)(importlib.import_module(module))
    except Exception as error:
        raise InputError(
            f"--tokenizer={name} cannot be loaded: {type(error).__name__}: {shown(error)}; "
            "it must be importable wherever the job runs (see --setup_file)"
        ) from error
    if not callable(tokenize):
        raise InputError(f"--tokenizer={name} is a {type(tokenize).__name__}, not a function")
    defined = inspect.getmodule(tokenize) or importlib.import_module(module)
    if defined not in _digests:
        _digests[defined] = _file_digest(defined)
    return tokenize, defined


def _file_digest(module: Any) -> str:
    try:
        with open(inspect.getsourcefile(module) or module.__file__, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, TypeError):
        return ""
