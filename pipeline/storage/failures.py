"""Why a worker failed, and what it warned of, as data: files beside the run, which the command reads at the end.

Workers are other processes, often on other machines. Each runner turns their exceptions into text in its own way, and
some tell the command of a lost connection alone. So a worker writes its error to a file before it raises it. The file
is named by the token of the lock under which the job runs, so that no command takes another's error for its own; of
several workers that fail, the last one to write is believed. Each warning has a file of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import msgspec

from pipeline.errors import OutputInUseError, PipelineError, of_class
from pipeline.runtime.messages import take_warnings
from pipeline.runtime.progress import runs_the_job
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
    """While open, an error of `pipeline/errors.py` is written down before it is raised; afterwards, new warnings are.

    Not so OutputInUseError: who has lost the output writes nothing more into it. Warnings of the process that runs the
    job need no file.
    """
    try:
        yield
        if token and not runs_the_job():
            _write_warnings(storage, token)
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


def _write_warnings(storage: Storage, token: str) -> None:
    for warning in take_warnings():
        name = hashlib.sha256(warning.encode()).hexdigest()[:16]
        with contextlib.suppress(PipelineError):  # it was printed, too
            storage.put(f"{FOLDER}/{token}-{name}.json", msgspec.json.encode(shown(warning, _MOST_BYTES // 2)))


def warnings(storage: Storage, token: str) -> list[str]:
    """What the workers of this lock have warned of, each once."""
    found = []
    with contextlib.suppress(PipelineError, msgspec.MsgspecError):
        for info in storage.list(FOLDER):
            if info.path.startswith(f"{FOLDER}/{token}-"):
                found.append(msgspec.json.decode(storage.read_range(info.path, 0, info.size), type=str))
    return found


def remove(storage: Storage, token: str) -> None:
    """Removes what the workers of this lock have written."""
    for info in storage.list(FOLDER):
        if info.path.startswith(f"{FOLDER}/{token}"):
            storage.delete(info.path)


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
