"""What users are told while work goes on: notes and warnings, one line each.

A command prints both. A program gets warnings by Python's `warnings`, and finds notes in its log, at level INFO. All
of them pass through `say` and `warn`. (Errors are exceptions, see `pipeline/errors.py`.) Warnings are also kept, for
the end of a run.
"""

from __future__ import annotations

import logging
import warnings

from pipeline.runtime import progress
from pipeline.runtime.shown_text import shown_line
from pipeline.runtime.wording import is_of_python, worded

_log = logging.getLogger(__name__)
_warnings: list[str] = []
"""Those of this process, since `take_warnings` was called last."""


class PipelineWarning(UserWarning):
    """Something is probably not as wanted, and the work goes on: too few training steps, say, or bad lines."""


def say(note: str) -> None:
    """Tells of something that is as it should be."""
    line = shown_line(worded(note))
    if is_of_python():
        _log.info("%s", line)
    else:
        _print(line, "note")


def warn(warning: str) -> None:
    """Tells of something that the user may want to change."""
    line = shown_line(worded(warning))
    _warnings.append(line)
    if is_of_python():
        warnings.warn(line, PipelineWarning, stacklevel=2)
    else:
        _print(line, "warning")


def keep(warning: str) -> None:
    """Keeps a warning of a worker, which has logged it."""
    if is_of_python():
        warn(warning)
    else:
        _warnings.append(warning)


def take_warnings() -> list[str]:
    """The warnings so far, each once, in their order; they are forgotten here."""
    taken = list(dict.fromkeys(_warnings))
    _warnings.clear()
    return taken


def _print(line: str, event: str) -> None:
    """Prints the line above the bars, or logs it where there are none."""
    if not progress.print_above_bars(line):
        _log.warning("%s", line, extra={"event": event, "described": {"message": line}})
