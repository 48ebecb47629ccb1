"""Errors a user can act on: one line that names the input, the place and the remedy.

Each class fixes the exit status of a command. A message stays on one line, so that
`find_in_text` recovers it where a runner gives a worker's exception as text alone.
Whatever it quotes has become text that may be shown (`pipeline/runtime/shown_text.py`).
"""

from __future__ import annotations

import re

from pipeline.runtime.shown_text import shown_line
from pipeline.runtime.wording import worded


class PipelineError(Exception):
    """Base of the errors that a command shows as one line, without a traceback.

    A message is written in words of the command line; a program reads it in its own (`pipeline/runtime/wording.py`).
    """

    exit_status = 1

    def __init__(self, message: str):
        super().__init__(shown_line(message))

    def __str__(self) -> str:
        return worded(super().__str__())


class InputError(PipelineError):
    """An option or the input cannot be used: the user has to change something."""

    exit_status = 2


class DoesNotFitError(InputError):
    """A training step or the vectors do not fit into the memory of the GPU; the CPU can go on from the same weights."""


class OutputInUseError(PipelineError):
    """Another command is at work in the output, or has taken its lock over."""

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
    """Training diverged: a loss or a weight is not a finite number."""


class InterruptedRunError(PipelineError):
    """The run was asked to stop; it can be resumed."""

    exit_status = 130


_CLASSES = {
    cls.__name__: cls
    for cls in (
        PipelineError,
        InputError,
        DoesNotFitError,
        OutputInUseError,
        ArtifactError,
        NonFiniteError,
        InterruptedRunError,
    )
}


def of_class(name: str, message: str) -> PipelineError | None:
    """The error of a class of this module; None where there is no such class."""
    cls = _CLASSES.get(name)
    return cls(message) if cls else None


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
