"""What every stage of a run gets: the output, the stage keys, and the options."""

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
from pipeline.runs.parent import ParentRef
from pipeline.runs.start_vectors import StartRef
from pipeline.runtime import process as worker
from pipeline.storage import failures
from pipeline.storage.commits import Commits
from pipeline.storage.records import Records
from pipeline.words.word_list import WordListRef
from transforms.beam_storage import read_through_beam

NAMESPACE = "beam2vec"


@dataclasses.dataclass(frozen=True)
class JobContext:
    """The context of a job. Picklable; about a kilobyte, plus stop words."""

    records: Records
    keys: Mapping[str, str]
    options: Options
    reads: Reader | None
    """turns the input into sentences; None if the corpus side is taken from another run"""
    lock_token: str = ""
    listed: WordListRef | None = None
    """the words of --vocabulary"""
    beam: tuple[str, ...] = ()
    """Beam's arguments, for its file systems: some runners do not pass them to workers"""
    start: StartRef | None = None
    """the first vectors, of --start_from or --update"""
    parent: ParentRef | None = None
    """the run of --update"""

    @property
    def has_reservoir(self) -> bool:
        """Whether sentences are kept, for updates to replay."""
        return self.options.replay_words > 0

    @property
    def reader(self) -> Reader:
        """The reader, for stages that read input."""
        if self.reads is None:
            raise ValueError("this run takes its corpus side from another one: no stage of it reads input")
        return self.reads

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Sets up the process too: a context arrives in a process when work does."""
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
    """A Beam counter in the namespace of this project."""
    return Metrics.counter(NAMESPACE, name)
