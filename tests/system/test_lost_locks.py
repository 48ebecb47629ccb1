"""The lock is read before a record is written and after it: who has lost it records nothing more."""

from __future__ import annotations

import dataclasses
import gzip
import pathlib
from collections.abc import Callable, Iterator

import pytest

from pipeline.corpus import unpacking as compressed
from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import unpack
from pipeline.corpus.work_units import TextSource, WorkUnit, plan_work_units
from pipeline.errors import OutputInUseError
from pipeline.storage.commits import Commits
from pipeline.storage.lock import Lock
from pipeline.words.counts import count_unit
from pipeline.words.vocabulary import Vocabulary, VocabularyRef, build_vocabulary
from tests.helpers.commands import write_corpus
from tests.helpers.world import OPTIONS, make_context
from transforms.counts import Counting, CountUnit
from transforms.job_context import JobContext
from transforms.tokens import EncodeUnit
from transforms.work_units import UnpackFile


@dataclasses.dataclass
class Held:
    """An output whose lock this run has, until another takes it."""

    context: JobContext
    unit: WorkUnit
    vocabulary: VocabularyRef
    renewals: int = 0

    def take(self) -> None:
        storage = self.context.records.storage
        storage.delete("lock.json")
        Lock(storage).acquire()

    def recorded(self) -> list[str]:
        return [info.path for info in self.context.records.storage.list("records")]

    def count(self) -> None:
        dofn = CountUnit(self.context, Counting.of_vocabulary(self.context), 4)
        dofn.start_bundle()
        list(dofn.process(self.unit))

    def encode(self) -> None:
        dofn = EncodeUnit(self.context)
        dofn.start_bundle()
        list(dofn.process(self.unit, self.vocabulary))


@pytest.fixture
def held(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    files = match_inputs([str(write_corpus(tmp_path / "text.txt", lines=60))])
    options = dataclasses.replace(OPTIONS, replay_words=0)  # else the parts of the reservoir are committed too
    context = make_context(files, tmp_path / "run", options)
    lock = Lock(context.records.storage).acquire()
    (unit,) = plan_work_units([TextSource(file.uri, file.size, version=file.version) for file in files], 1 << 30)
    vocabulary = Vocabulary.from_table(build_vocabulary([count_unit(unit, context.reader).table], 1))
    artifact = context.records.write_artifact("vocabulary.parquet", vocabulary.to_parquet())
    ref = VocabularyRef(artifact, len(vocabulary), vocabulary.tokens)
    made = Held(dataclasses.replace(context, lock_token=lock.token), unit, ref)
    renew = Lock.renew

    def counted(lock: Lock) -> None:
        made.renewals += 1
        renew(lock)

    monkeypatch.setattr(Lock, "renew", counted)
    return made


def then(done: Callable, take: Callable[[], None]) -> Callable:
    """What `done` gives; the lock is taken when it has given all."""

    def wrapped(*arguments: object, **named: object) -> Iterator:
        yield from done(*arguments, **named)
        take()

    return wrapped


@pytest.mark.parametrize("stage", ["count", "encode"])
def test_a_unit_is_not_committed_when_the_lock_was_lost_meanwhile(held, monkeypatch, stage):
    monkeypatch.setattr(TextReader, "read", then(TextReader.read, held.take))
    with pytest.raises(OutputInUseError, match="took it over"):
        getattr(held, stage)()
    assert held.recorded() == []


@pytest.mark.parametrize("stage", ["count", "encode"])
def test_a_unit_costs_two_looks_at_the_lock_and_one_that_is_done_none(held, stage):
    getattr(held, stage)()
    assert held.renewals == 2
    getattr(held, stage)()
    assert held.renewals == 2


@pytest.fixture
def packed(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "text.gz"
    file.write_bytes(gzip.compress(write_corpus(tmp_path / "plain.txt").read_bytes()))
    return file


def test_a_compressed_file_is_not_committed_when_the_lock_was_lost_meanwhile(held, packed, monkeypatch):
    files = tuple(match_inputs([str(packed)]))
    monkeypatch.setattr(compressed, "decompress", then(compressed.decompress, held.take))
    with pytest.raises(OutputInUseError, match="took it over"):
        list(UnpackFile(held.context).process((0, files)))
    assert held.recorded() == []


@pytest.mark.parametrize("written", [0, 1, 3])
def test_unpacking_looks_at_the_lock_before_each_piece(held, packed, written, monkeypatch):
    """Lost after `written` pieces: those are there, no other, and no record."""
    (file,) = match_inputs([str(packed)])
    looks = iter(range(written))

    def check_lock(commits: Commits) -> None:
        if next(looks, None) is None:
            raise OutputInUseError("lost")

    monkeypatch.setattr(Commits, "check_lock", check_lock)
    commits = held.context.commits(TEXT)
    with pytest.raises(OutputInUseError, match="lost"):
        unpack(commits, file, 0, OPTIONS.max_line_bytes, piece_bytes=4000)
    assert [info.path for info in commits.records.storage.list("text")] == [
        commits.path(f"file-000000000/piece-{n:09d}.txt") for n in range(written)
    ]
    assert held.recorded() == []


def test_a_compressed_file_of_nothing_looks_at_the_lock_too(held, tmp_path):
    (tmp_path / "nothing.gz").write_bytes(gzip.compress(b""))
    files = tuple(match_inputs([str(tmp_path / "nothing.gz")]))
    list(UnpackFile(held.context).process((0, files)))
    assert held.renewals == 2
