"""Token shards: a unit's sentences as word ids, the form in which training reads the corpus."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.spans import Spans
from pipeline.corpus.word_table import WordTable, fingerprint_text, new_state
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import ArtifactError, InputError
from pipeline.storage.commits import Commits, Made
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Artifact, Number, Record
from pipeline.words.counts import counted_fingerprint, fingerprint_mismatch_message
from pipeline.words.vocabulary import Vocabulary

STAGE = "tokens"
_UNIT = re.compile(r"unit-([0-9]{9})")
SCHEMA = pa.schema([pa.field("tokens", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False)])


@dataclass(frozen=True)
class EncodedUnit:
    """The sentences of a unit as ids, without words that are not in the vocabulary, and without empty sentences."""

    table: pa.Table
    """tokens: list<int32>"""
    tokens: int
    sentences: int
    fingerprint: str
    """as in `counts.UnitCounts`: over all tokens, also those that are not in the vocabulary"""


@dataclass(frozen=True)
class TokenNumbers:
    """What is recorded of a token shard."""

    tokens: Number
    sentences: Number
    fingerprint: str


@dataclass(frozen=True)
class TokenShard:
    """A stored token shard, by reference."""

    index: int
    tokens: int
    sentences: int
    artifact: Artifact


def encode_unit(
    unit: WorkUnit,
    vocabulary: Vocabulary,
    reader: Reader,
    fingerprint: str | None = None,
) -> EncodedUnit:
    """Reads a unit again and turns its words into ids.

    Args:
      fingerprint: that of counting, to compare with; or None.

    Raises:
      InputError: the tokens are not those that were counted.
    """
    table, state = vocabulary.lookup_table(), new_state()
    sink = _Sink()
    for portion in reader.portions(unit.ranges, DeadLetters()):
        for spans in portion.spans:
            sink.add(spans, table, state)
    fingerprint_now = fingerprint_text(state)
    if fingerprint is not None and fingerprint_now != fingerprint:
        raise InputError(fingerprint_mismatch_message(unit, reader))
    return EncodedUnit(sink.table(), sink.tokens, sink.sentences, fingerprint_now)


def stored_tokens(
    commits: Commits, counts: Commits, unit: WorkUnit, vocabulary: Vocabulary, reader: Reader
) -> TokenShard:
    """The unit's token shard: that of an earlier attempt, else a new one, which is committed.

    Args:
      counts: of the count of words, which must have seen the same tokens.
    """

    def make() -> Made:
        encoded = encode_unit(unit, vocabulary, reader, counted_fingerprint(counts, unit))
        numbers = TokenNumbers(encoded.tokens, encoded.sentences, encoded.fingerprint)
        return [commits.put(f"{unit.name}.parquet", tokens_to_parquet(encoded.table))], numbers

    return shard_of(commits.once(unit.name, make))


def shard_of(record: Record) -> TokenShard:
    """The token shard of a record of this stage."""
    numbers, match = record.read(TokenNumbers), _UNIT.fullmatch(record.name)
    if match is None or len(record.artifacts) != 1:
        raise ArtifactError(f"{record.path} is not the record of a token shard: delete it")
    return TokenShard(int(match[1]), numbers.tokens, numbers.sentences, record.artifact)


def tokens_to_parquet(table: pa.Table) -> pa.Buffer:
    """The shard as Parquet. With the four bytes of ids in separate streams, zstd needs 1.6 bytes a token of English."""
    return to_parquet(table, {"tokens.list.element": "BYTE_STREAM_SPLIT"})


def read_tokens(data: bytes | pa.Buffer) -> tuple[np.ndarray, np.ndarray]:
    """(tokens int32 [n], sentence offsets int64 [s + 1]) from the bytes of a token shard."""
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
    """Collects encoded sentences in arrays that grow."""

    def __init__(self) -> None:
        self.tokens = self.sentences = 0
        self._ids = np.empty(1 << 16, dtype=np.int32)
        self._lengths = np.empty(1 << 12, dtype=np.int32)

    def add(self, spans: Spans, table: WordTable, state: np.ndarray) -> None:
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
