"""What every stage of a run is handed: where artefacts go, under which keys, by which options."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipeline.corpus.readers.reader import Reader
from pipeline.options import Options
from pipeline.runtime import process as worker
from pipeline.storage import failures
from pipeline.storage.commits import Commits
from pipeline.storage.records import Records
from pipeline.words.word_list import WordListRef
from transforms.beam_storage import read_through_beam

NAMESPACE = "beam2vec"


@dataclasses.dataclass(frozen=True)
class JobContext:
    """Picklable; about a kilobyte, and stop words with it."""

    records: Records
    keys: Mapping[str, str]
    options: Options
    reads: Reader | None
    """How the input becomes sentences; None where the corpus side is that of another run."""
    lock_token: str = ""
    listed: WordListRef | None = None
    """The words of --vocabulary."""
    beam: tuple[str, ...] = ()
    """Arguments of Beam's, for its file systems: not every runner hands them to its workers."""

    @property
    def reader(self) -> Reader:
        """For the stages that read input."""
        if self.reads is None:
            raise ValueError("this run takes its corpus side from another one: no stage of it reads input")
        return self.reads

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A context that arrives in a process brings work: the process is set up for it."""
        self.__dict__.update(state)
        worker.set_up()
        read_through_beam(self.beam)

    def commits(self, stage: str, folder: str = "") -> Commits:
        """How the pieces of work of a stage are committed; `folder` of its artefacts, if it is not called as the stage.

        Keep it in what does the work: it remembers whether anything was there to begin with.
        """
        return Commits(self.records, stage, self.keys[stage], folder, self.lock_token)

    def errors_recorded(self) -> contextlib.AbstractContextManager[None]:
        """While open, an error is written down for the command, whose runner may tell it of another."""
        return failures.recorded(self.records.storage, self.lock_token)


class StageDoFn(beam.DoFn):
    """A DoFn that does the work of a stage. Its errors are written down, see `JobContext.errors_recorded`."""

    def __init__(self, context: JobContext):
        self.context = context

    def __init_subclass__(cls) -> None:
        for name in ("setup", "start_bundle", "process", "finish_bundle"):
            if method := vars(cls).get(name):
                setattr(cls, name, _with_errors_recorded(method))


def _with_errors_recorded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(self: StageDoFn, *arguments: Any, **named: Any) -> Any:
        with self.context.errors_recorded():
            return method(self, *arguments, **named)

    @functools.wraps(method)
    def iterated(self: StageDoFn, *arguments: Any, **named: Any) -> Any:
        with self.context.errors_recorded():
            yield from method(self, *arguments, **named)

    return iterated if inspect.isgeneratorfunction(method) else called


def counter(name: str) -> Any:
    """A Beam counter of this project."""
    return Metrics.counter(NAMESPACE, name)
