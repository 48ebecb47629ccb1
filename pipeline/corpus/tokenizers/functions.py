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
"""Modules of users' functions -> the digests of their files when they were first asked for: a file may be
edited later, the code at work stays."""


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
    """The function that "module:function" names; InputError if there is none."""
    return _load(name)[0]


@functools.cache
def _load(name: str) -> tuple[Callable[[str], list[str]], ModuleType]:
    """The function and the module that defines it, whose digest is remembered."""
    module, colon, function = name.partition(":")
    if not colon:
        raise InputError(
            f"--tokenizer={name}: there is no such tokenizer; known are {', '.join(BUILT_IN)}, "
            "and functions of your own as module:function"
        )
    try:
        found = operator.attrgetter(function)(importlib.import_module(module))
    except Exception as error:
        raise InputError(
            f"--tokenizer={name} cannot be loaded: {type(error).__name__}: {shown(error)}; "
            "it has to be importable wherever the job runs (see --setup_file)"
        ) from error
    if not callable(found):
        raise InputError(f"--tokenizer={name} is a {type(found).__name__}, not a function")
    defined = inspect.getmodule(found) or importlib.import_module(module)
    if defined not in _digests:
        _digests[defined] = _file_digest(defined)
    return found, defined


def _file_digest(module: Any) -> str:
    try:
        with open(inspect.getsourcefile(module) or module.__file__, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, TypeError):
        return ""
