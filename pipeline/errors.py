"""Errors a user can act on: one line that names the input, the place and the remedy.

Each class fixes the exit status of a command. A message has to survive the
wrapping of any Beam runner (which turns exceptions of workers into text), so it
stays on one line and `find_in_text` recovers it.
"""

from __future__ import annotations

import re


class PipelineError(Exception):
    """Base of the errors that are shown without a traceback."""

    exit_status = 1

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


class InputError(PipelineError):
    """Bad usage or bad input: the user has to change something."""

    exit_status = 2


class OutputInUseError(PipelineError):
    """Another run holds the lock of the output."""

    exit_status = 3


class ArtifactError(PipelineError):
    """A stored artefact is missing, damaged or not what its record says."""


class NonFiniteError(PipelineError):
    """Training left the finite numbers."""


class InterruptedRunError(PipelineError):
    """The run was asked to stop; it can be resumed."""

    exit_status = 130


_CLASSES = {
    cls.__name__: cls
    for cls in (InputError, OutputInUseError, ArtifactError, NonFiniteError, InterruptedRunError)
}
_PATTERN = re.compile(
    r"pipeline\.errors\.(" + "|".join(_CLASSES) + r"): (.*?)(?: \[while running|\\n|$)", re.MULTILINE
)


def find_in_text(text: str) -> PipelineError | None:
    """The first error of this module that a runner's message quotes, or None."""
    match = _PATTERN.search(text)
    return _CLASSES[match[1]](match[2]) if match else None
