"""What commands tell: lines for people or, with --log_format=json, one JSON object a line on the same streams.

    {"time": "2026-11-30T21:04:05.678Z", "event": "progress", "stage": "Train", "done": 120000, "total": 5238100, …}

`event` says what kind of object it is: progress, note, warning, log, error, problem, plan or result.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from pipeline.runtime.json_lines import VARIABLE, json_line
from pipeline.runtime.shown_text import exact

FORMATS = ("text", "json")
HELP = "how progress, warnings and results are told: as text, or as one JSON object a line (default: text)"
_is_json = False


def asked_for(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; whether it does so rightly is for the parser to tell."""
    words = [argument.replace("-", "_") for argument in arguments]
    pairs = zip(words, words[1:])
    return "__log_format=json" in words or ("__log_format", "json") in pairs


@contextlib.contextmanager
def told_as_json(wanted: bool) -> Iterator[None]:
    """While open, what is told is JSON, if that is wanted; also by workers that are started meanwhile."""
    global _is_json
    before, _is_json = _is_json, wanted
    if wanted:
        os.environ[VARIABLE] = "json"
    try:
        yield
    finally:
        _is_json = before
        if wanted:
            os.environ.pop(VARIABLE, None)


def is_json() -> bool:
    return _is_json


def tell(event: str, described: Mapping[str, Any], lines: Iterable[str], file: TextIO | None = None) -> None:
    """Tells something on standard output or `file`: the lines or, as JSON, what is described.

    Args:
      event: what kind of object it is.
    """
    stream = file or sys.stdout
    if _is_json:
        print(json_line(event, described), file=exact(stream), flush=True)
    else:
        for line in lines:
            print(line, file=stream)


def note(line: str, file: TextIO | None = None) -> None:
    """Tells a line."""
    tell("note", {"message": line}, [line], file)


def tell_error(name: str, error: BaseException, status: int) -> None:
    """Tells on standard error why the command ends."""
    tell("error", {"command": name, "message": str(error), "status": status}, [f"{name}: {error}"], sys.stderr)


def tell_defect(name: str, error: BaseException) -> None:
    """Tells as JSON of an error that nobody expected, with its traceback."""
    described = {"command": name, "message": f"{type(error).__name__}: {error}", "status": 1}
    tell("error", described | {"traceback": "".join(traceback.format_exception(error))}, (), sys.stderr)
