"""The words in which messages name options: those of the command line, or those of Python.

Messages are written for the command line: `--min_count=5`, `--overwrite`, `beam2vec train`. A program that has
imported beam2vec, or its transforms for pipelines of anybody's, and gets the message as an exception or a warning has
no command line, so it is shown arguments and functions: `min_count=5`, `overwrite=True`, `beam2vec.train`. Options that
are not arguments of ours, such as those of Beam, keep their dashes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z_]*)(?![\w-])")
_FUNCTION = re.compile(r"\bbeam2vec (train|preprocess)\b")
_arguments: Mapping[str, str] = {}
"""Option -> what a program writes in its place; {} unless this process is a program's."""
_commands = 0
"""How many commands this process is running: they have a command line, whatever else was imported."""


def use_arguments(arguments: Mapping[str, str]) -> None:
    """From now on, messages of this process name options as these arguments too: {"dims": "dims"}."""
    global _arguments
    _arguments = {**_arguments, **arguments}


@contextlib.contextmanager
def of_a_command() -> Iterator[None]:
    """While open, messages speak of the command line."""
    global _commands
    _commands += 1
    try:
        yield
    finally:
        _commands -= 1


def is_of_python() -> bool:
    """Whether messages of this process are for a program that has imported beam2vec."""
    return bool(_arguments) and not _commands


def worded(message: str) -> str:
    """The message in the words of who gets it; a message that was worded before stays as it is."""
    if not is_of_python():
        return message
    named = _OPTION.sub(lambda match: _arguments.get(match[1], match[0]), message)
    return _FUNCTION.sub(r"beam2vec.\1", named)
