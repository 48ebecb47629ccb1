"""Why a worker failed, as data: a file beside the run, which the command reads when its job has failed.

Workers are other processes, often on other machines. Each runner turns their exceptions into text in its own way, and
some tell the command of a lost connection alone. So a worker writes its error to a file before it raises it. The file
is named by the token of the lock under which the job runs, so that no command takes another's error for its own; of
several workers that fail, the last one to write is believed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from pipeline.errors import OutputInUseError, PipelineError, of_class
from pipeline.runtime.shown_text import shown
from pipeline.storage.storage import Storage

FOLDER = "errors"
_MOST_BYTES = 4096
"""In a file. A message that does not fit is cut."""


class _Failure(msgspec.Struct):
    error: str
    """Name of the class in `pipeline/errors.py`."""
    message: str


@contextlib.contextmanager
def recorded(storage: Storage, token: str) -> Iterator[None]:
    """While open, an error of `pipeline/errors.py` is written down before it is raised.

    Not so OutputInUseError: who has lost the output writes nothing more into it.
    """
    try:
        yield
    except OutputInUseError:
        raise
    except PipelineError as error:
        if token:
            with contextlib.suppress(Exception):  # the storage may be what fails; then the exception has to do
                storage.put(_path(token), _encoded(error))
        raise


def read(storage: Storage, token: str) -> PipelineError | None:
    """The error that a worker of this lock has written; None where there is none that can be read."""
    with contextlib.suppress(Exception):
        failure = msgspec.json.decode(storage.read_range(_path(token), 0, _MOST_BYTES), type=_Failure)
        return of_class(failure.error, failure.message)
    return None


def remove(storage: Storage, token: str) -> None:
    """Removes what the workers of this lock have written."""
    storage.delete(_path(token))


def remove_all(storage: Storage) -> None:
    """Removes what the workers of earlier jobs have written, whose commands were killed or had left."""
    for info in storage.list(FOLDER):
        storage.delete(info.path)


def _path(token: str) -> str:
    return f"{FOLDER}/{token}.json"


def _encoded(error: PipelineError) -> bytes:
    """JSON of at most _MOST_BYTES. A message that is too long is cut in the middle: its end is the remedy."""
    message, most = str(error), _MOST_BYTES
    while len(data := msgspec.json.encode(_Failure(type(error).__name__, message))) > _MOST_BYTES:
        most = most * 3 // 4
        message = shown(str(error), most, most // 2)
    return data
