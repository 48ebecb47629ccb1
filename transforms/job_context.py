"""What every stage of a run is handed: where artefacts go, under which keys, by which options."""

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
    """Picklable; about a kilobyte, and stop words with it."""

    records: Records
    keys: Mapping[str, str]
    options: Options
    reads: Reader | None
    """How the input becomes sentences; None if the corpus side is that of another run."""
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


def counter(name: str):
    """A Beam counter of this project."""
    return Metrics.counter(NAMESPACE, name)
