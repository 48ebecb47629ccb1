"""Token shards: a unit's sentences as word ids, the form in which training reads the corpus."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.spans import Spans
from pipeline.corpus.word_table import fingerprint_text, new_state
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import InputError
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Artifact, Record, Records
from pipeline.words.counts import not_the_same
from pipeline.words.vocabulary import Vocabulary

STAGE = "tokens"
SCHEMA = pa.schema([pa.field("tokens", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False)])


@dataclass(frozen=True)
class EncodedUnit:
    """One unit's sentences; words out of the vocabulary are left out, and sentences that lose all."""

    table: pa.Table
    """tokens: list<int32>."""
    tokens: int
    sentences: int
    fingerprint: str
    """As in `counts.UnitCounts`: over all tokens, those out of the vocabulary too."""


@dataclass(frozen=True)
class TokenShard:
    """A stored token shard, by reference."""

    index: int
    tokens: int
    sentences: int
    artifact: Artifact
    reused: bool = False


def encode_unit(
    unit: WorkUnit,
    vocabulary: Vocabulary,
    reader: Reader,
    fingerprint: str | None = None,
) -> EncodedUnit:
    """Reads a unit again and turns its words into ids.

    Args:
      fingerprint: what counting found; None does not compare.

    Raises:
      InputError: the tokens are not those that were counted.
    """
    table, state = vocabulary.lookup_table(), new_state()
    sink = _Sink()
    for portion in reader.portions(unit.ranges, DeadLetters()):
        for spans in portion.spans:
            sink.add(spans, table, state)
    found = fingerprint_text(state)
    if fingerprint is not None and found != fingerprint:
        raise InputError(not_the_same(unit, reader))
    return EncodedUnit(sink.table(), sink.tokens, sink.sentences, found)


def encoded_unit(
    records: Records,
    key: str,
    unit: WorkUnit,
    vocabulary: Vocabulary,
    reader: Reader,
    fingerprint: str | None = None,
    renew_lock: Callable[[], None] = lambda: None,
) -> TokenShard:
    """The unit's token shard: as committed before where that is whole, else encoded and committed.

    Args:
      renew_lock: called when the unit is encoded, before anything is written; raises when the lock is lost.
    """
    record = records.valid(STAGE, unit.name, key)
    if record is None:
        encoded = encode_unit(unit, vocabulary, reader, fingerprint)
        data = tokens_to_parquet(encoded.table)
        renew_lock()
        artifact = records.write_artifact(f"tokens/{unit.name}.parquet", data)
        committed = Record(STAGE, unit.name, key, (artifact,), {n: getattr(encoded, n) for n in _NUMBERS})
        records.commit(committed)
    else:
        committed = record
    return dataclasses.replace(shard_of(committed), reused=record is not None)


def stored_shard(records: Records, key: str, name: str) -> TokenShard | None:
    """The token shard whose record has this name; None where it has another key.

    Raises:
      ArtifactError: it lies in the output of another run, and is missing there or of another size.
    """
    record = records.valid(STAGE, name, key)
    return shard_of(record) if record else None


def shard_of(record: Record) -> TokenShard:
    """The token shard that a record of this stage names."""
    index, numbers = int(record.name.removeprefix("unit-")), record.numbers
    return TokenShard(index, numbers["tokens"], numbers["sentences"], record.artifacts[0], reused=True)


_NUMBERS = ("tokens", "sentences", "fingerprint")


def tokens_to_parquet(table: pa.Table) -> pa.Buffer:
    """The shard's bytes; zstd packs ids whose four bytes are split to 1.6 bytes a token of English."""
    return to_parquet(table, {"tokens.list.element": "BYTE_STREAM_SPLIT"})


def read_tokens(data: bytes | pa.Buffer) -> tuple[np.ndarray, np.ndarray]:
    """(tokens int32 [n], sentence offsets int64 [s + 1]) of a token shard's bytes."""
    column = from_parquet(data).column("tokens")
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    tokens = [chunk.flatten().to_numpy() for chunk in chunks]
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in chunks]
    offset = np.zeros(sum(map(len, lengths)) + 1, dtype=np.int64)
    if not chunks:
        return np.empty(0, dtype=np.int32), offset
    np.cumsum(np.concatenate(lengths), out=offset[1:])
    return (tokens[0] if len(tokens) == 1 else np.concatenate(tokens)), offset


class _Sink:
    """Arrays that grow as sentences come."""

    def __init__(self) -> None:
        self.tokens = self.sentences = 0
        self._ids = np.empty(1 << 16, dtype=np.int32)
        self._lengths = np.empty(1 << 12, dtype=np.int32)

    def add(self, spans: Spans, table, state: np.ndarray) -> None:
        self._ids = _with_room(self._ids, self.tokens, len(spans.start))
        self._lengths = _with_room(self._lengths, self.sentences, len(spans.sentence) - 1)
        tokens, sentences = table.encode(spans, state, self._ids[self.tokens :], self._lengths[self.sentences :])
        self.tokens += tokens
        self.sentences += sentences

    def table(self) -> pa.Table:
        offset = np.zeros(self.sentences + 1, dtype=np.int32)
        np.cumsum(self._lengths[: self.sentences], out=offset[1:])
        values = pa.array(self._ids[: self.tokens])
        lists = pa.ListArray.from_arrays(pa.array(offset), values, type=SCHEMA.field(0).type)
        return pa.table([lists], schema=SCHEMA)


def _with_room(array: np.ndarray, used: int, more: int) -> np.ndarray:
    if used + more <= len(array):
        return array
    grown = np.empty(max(used + more, len(array) * 3 // 2), dtype=array.dtype)
    grown[:used] = array[:used]
    return grown


def counted_fingerprint(records: Records, counts_key: str, unit: WorkUnit, stage: str = "counts") -> str | None:
    """What a count of words found in the unit, from its record; None where there is none."""
    record = records.load(stage, unit.name, counts_key)
    return record.numbers["fingerprint"] if record else None
