"""Errors a user can act on: one line that names the input, the place and the remedy.

Each class fixes the exit status of a command. A message has to survive the
wrapping of any Beam runner (which turns exceptions of workers into text), so it
stays on one line and `find_in_text` recovers it. Whatever it quotes has become text
that may be shown (`pipeline/runtime/shown_text.py`).
"""

from __future__ import annotations

import re

from pipeline.runtime.shown_text import shown_line


class PipelineError(Exception):
    """Base of the errors that are shown without a traceback."""

    exit_status = 1

    def __init__(self, message: str):
        super().__init__(shown_line(message))


class InputError(PipelineError):
    """Bad usage or bad input: the user has to change something."""

    exit_status = 2


class OutputInUseError(PipelineError):
    """Another run holds the lock of the output."""

    exit_status = 3


class ArtifactError(PipelineError):
    """A stored artefact is missing, damaged or not what its record says.

    Attributes:
      problem: the message without the remedy, for a caller who knows a better one.
    """

    def __init__(self, problem: str, remedy: str = ""):
        super().__init__(f"{problem}: {remedy}" if remedy else problem)
        self.problem = problem


class NonFiniteError(PipelineError):
    """Training has produced a number that is not finite."""


class InterruptedRunError(PipelineError):
    """The run was asked to stop; it can be resumed."""

    exit_status = 130


_CLASSES = {
    cls.__name__: cls
    for cls in (PipelineError, InputError, OutputInUseError, ArtifactError, NonFiniteError, InterruptedRunError)
}
_STEP = re.compile(r" \[while running '.*'\]$")
# A message ends with its line. Where a runner quotes the text with its line ends escaped, the line
# before ended in an escaped line end too: only then does one end the message.
_QUOTED = re.compile(
    r"(\\+n)?pipeline\.errors\.(" + "|".join(_CLASSES) + r"): (.*?)(?: \[while running '|$|(?(1)(?<!\\)\1|(?!)))",
    re.MULTILINE,
)


def find(error: BaseException) -> PipelineError | None:
    """The error of this module behind whatever a runner raised, or None.

    An in-process runner raises it as it was, with the step's name added to the
    message; the others raise their own error, which quotes a traceback.
    """
    if isinstance(error, PipelineError):
        return type(error)(_STEP.sub("", str(error)))
    return find_in_text(str(error))


def find_in_text(text: str) -> PipelineError | None:
    """The error of this module that a runner's message quotes, or None.

    The last one, if there are several: a traceback tells causes first, and ends with
    what was raised for the user to read.
    """
    matches = list(_QUOTED.finditer(text))
    return _CLASSES[matches[-1][2]](matches[-1][3]) if matches else None
