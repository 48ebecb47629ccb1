"""What every stage of a run gets: the output, the stage keys, and the options."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from apache_beam.metrics import Metrics

from pipeline.corpus.readers.reader import Reader
from pipeline.options import Options
from pipeline.runtime import process as worker
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


def counter(name: str):
    """A Beam counter in the namespace of this project."""
    return Metrics.counter(NAMESPACE, name)
