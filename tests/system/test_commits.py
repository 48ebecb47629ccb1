"""The lock is read after the work and before the first byte of it is written: who has lost it writes nothing."""

from __future__ import annotations

import dataclasses
import gzip
import pathlib
from collections.abc import Callable, Iterator

import pytest

from pipeline.corpus import unpacking as compressed
from pipeline.corpus.files import match_inputs
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.unpacking import unpack
from pipeline.corpus.work_units import TextSource, WorkUnit, plan_work_units
from pipeline.errors import OutputInUseError
from pipeline.storage.lock import Lock
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts, table_bytes
from pipeline.words.vocabulary import Vocabulary, VocabularyRef, build_vocabulary
from tests.helpers.commands import write_corpus
from tests.helpers.world import OPTIONS, make_context
from transforms import counts
from transforms.counts import Counting, CountUnit
from transforms.job_context import JobContext
from transforms.tokens import EncodeUnit
from transforms.work_units import UnpackFile

COUNTING = Counting("counts", "counts", (), 1)


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

    def there(self) -> set[str]:
        return {info.path for info in self.context.records.storage.list()}

    def count(self) -> None:
        dofn = CountUnit(self.context, COUNTING, 4)
        dofn.start_bundle()
        list(dofn.process(self.unit))

    def encode(self) -> None:
        list(EncodeUnit(self.context).process(self.unit, self.vocabulary))


@pytest.fixture
def held(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    files = match_inputs([str(write_corpus(tmp_path / "text.txt", lines=60))])
    context = make_context(files, tmp_path / "run")
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
    before = held.there()
    monkeypatch.setattr(TextReader, "read", then(TextReader.read, held.take))
    with pytest.raises(OutputInUseError, match="took it over"):
        getattr(held, stage)()
    assert held.there() == before


@pytest.mark.parametrize("stage", ["count", "encode"])
def test_a_unit_costs_one_look_at_the_lock_and_one_that_is_done_none(held, stage):
    getattr(held, stage)()
    assert held.renewals == 1
    getattr(held, stage)()
    assert held.renewals == 1


def test_a_large_bucket_is_not_stored_when_the_lock_was_lost_meanwhile(held, monkeypatch):
    part = table_bytes(count_unit(held.unit, held.context.reader).table)
    before = held.there()

    def merged(parts):
        held.take()
        return merge_counts(parts)

    assert counts._merge((0, [part]), held.context, COUNTING, 1 << 30).table  # a small one is not stored
    assert held.renewals == 0
    monkeypatch.setattr(counts, "merge_counts", merged)
    with pytest.raises(OutputInUseError, match="took it over"):
        counts._merge((0, [part]), held.context, COUNTING, 0)
    assert held.there() == before


@pytest.fixture
def packed(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "text.gz"
    file.write_bytes(gzip.compress(write_corpus(tmp_path / "plain.txt").read_bytes()))
    return file


def test_a_compressed_file_is_not_committed_when_the_lock_was_lost_meanwhile(held, packed, monkeypatch):
    files = tuple(match_inputs([str(packed)]))
    before = held.there()
    monkeypatch.setattr(compressed, "decompress", then(compressed.decompress, held.take))
    with pytest.raises(OutputInUseError, match="took it over"):
        list(UnpackFile(held.context).process((0, files)))
    assert held.there() == before
    assert held.renewals == 1


@pytest.mark.parametrize("written", [0, 1, 3])
def test_unpacking_looks_at_the_lock_before_each_piece(held, packed, written):
    """Lost after `written` pieces: those are there, no other, and no record."""
    (file,) = match_inputs([str(packed)])
    records = held.context.records
    looks = iter(range(written))

    def renew() -> None:
        if next(looks, None) is None:
            raise OutputInUseError("lost")

    with pytest.raises(OutputInUseError, match="lost"):
        unpack(file, 0, records, "key", OPTIONS.max_line_bytes, piece_bytes=4000, renew_lock=renew)
    assert sorted(path for path in held.there() if path.startswith("text/")) == [
        f"text/00000-{n:05d}.txt" for n in range(written)
    ]
    assert records.all() == []


def test_a_compressed_file_of_nothing_looks_at_the_lock_too(held, tmp_path):
    (tmp_path / "nothing.gz").write_bytes(gzip.compress(b""))
    files = tuple(match_inputs([str(tmp_path / "nothing.gz")]))
    list(UnpackFile(held.context).process((0, files)))
    assert held.renewals == 1
