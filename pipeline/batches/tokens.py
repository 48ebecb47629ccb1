"""Token shards: a unit's sentences as word ids, the form in which training reads the corpus.

    tokens/KEY/unit-000000000.parquet         tokens list<int32>: a row for each sentence
    tokens/KEY/kept-back/unit-000000000...    with --holdout, the sentences that are kept back from training

Which sentences are kept back depends on their keys alone (`pipeline.words.reservoir`). So a sentence that was kept back
once is so in each run that goes on from this one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

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
from pipeline.words.phrase_joining import unjoined
from pipeline.words.reservoir import (
    AGAIN,
    ALL_KEYS,
    Collector,
    Reservoir,
    ReservoirRef,
    chosen_sentences,
    keys_of,
    stored_part,
)
from pipeline.words.vocabulary import Vocabulary

STAGE = "tokens"
_UNIT = re.compile(r"unit-([0-9]{9})")
_MOST_TOKENS = 2**31 - 1
"""Of a shard, by the offsets of Arrow's lists. A unit is far smaller, unless it is one row group of Parquet."""
_NO_WORDS = Vocabulary(pa.array([], pa.string()), np.empty(0, np.int64))
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
    kept_back: pa.Table
    """the sentences that are kept back from training"""
    kept_back_tokens: int
    reservoir: Reservoir | None
    """the sentences that may be in the reservoir, with words that are not in the vocabulary; None if unasked"""


@dataclass(frozen=True)
class TokenNumbers:
    """What is recorded of a token shard; its artefacts are the tokens, and with --holdout those kept back."""

    tokens: Number
    sentences: Number
    fingerprint: str
    kept_back: Number = 0
    """tokens of the sentences that are kept back from training"""


@dataclass(frozen=True)
class TokenShard:
    """A stored token shard, by reference."""

    index: int
    tokens: int
    sentences: int
    artifact: Artifact
    kept_back: Artifact | None = None
    kept_back_tokens: int = 0


@dataclass(frozen=True)
class Keeping:
    """What is kept of a unit besides the tokens to train on.

    Attributes:
      holdout: share of the sentences that are kept back from training.
      words: of the reservoir; 0: there is none.
      limit: below which key sentences may be in it.
    """

    holdout: float = 0.0
    words: int = 0
    limit: int = ALL_KEYS


def encode_unit(
    unit: WorkUnit,
    vocabulary: Vocabulary,
    reader: Reader,
    fingerprint: str | None = None,
    keeping: Keeping = Keeping(),
) -> EncodedUnit:
    """Reads a unit again and turns its words into ids.

    Args:
      reader: where phrases are joined, a `JoiningReader`: keys are those of sentences before.
      fingerprint: that of counting, to compare with; or None.

    Raises:
      InputError: the tokens are not those that were counted.
    """
    table, state = vocabulary.lookup_table(), new_state()
    trained, apart = _Sink(), _Sink()
    collector = Collector(keeping.words, keeping.limit) if keeping.words else None
    with_keys = keeping.holdout > 0 or collector is not None
    source, joiners = unjoined(reader)
    for portion in source.portions(unit.ranges, DeadLetters()):
        for spans in portion.spans:
            kept_back = None
            if with_keys:
                keys = keys_of(spans)
                kept_back = is_kept_back(keys, keeping.holdout) if keeping.holdout else None
                if collector:
                    collector.add(spans, keys, kept_back)
            for joiner in joiners:
                spans = joiner.join(spans)
            if kept_back is None:
                trained.add(spans, table, state)
            else:
                _add_apart(spans, table, state, kept_back, trained, apart)
    fingerprint_now = fingerprint_text(state)
    if fingerprint is not None and fingerprint_now != fingerprint:
        raise InputError(fingerprint_mismatch_message(unit, reader))
    return EncodedUnit(
        trained.table(),
        trained.tokens,
        trained.sentences,
        fingerprint_now,
        apart.table(),
        apart.tokens,
        collector.reservoir() if collector else None,
    )


def is_kept_back(keys: np.ndarray, share: float) -> np.ndarray:
    """bool [n]: which sentences are kept back from training, by their keys (uint64 [n]).

    A sentence is kept back if a hash of its key, as a share of 2^64, is below `share`. The key itself would not do: the
    sentences with the smallest keys are the reservoir. The hash is the finaliser of SplitMix64 (Steele, Lea and Flood
    2014).
    """
    x = keys + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) < np.uint64(int(share * 2.0**64))


def _add_apart(
    spans: Spans, table: WordTable, state: np.ndarray, kept_back: np.ndarray, trained: _Sink, apart: _Sink
) -> None:
    """Adds each sentence to one of two sinks. The fingerprint in `state` is that of all sentences in their order."""
    table.find(spans, state)
    for sink, chosen in ((trained, ~kept_back), (apart, kept_back)):
        sink.add(chosen_sentences(spans, chosen), table, new_state())


def stored_tokens(
    commits: Commits,
    counts: Commits,
    unit: WorkUnit,
    vocabulary: Vocabulary,
    reader: Reader,
    keeping: Keeping = Keeping(),
    reservoir: Commits | None = None,
) -> tuple[TokenShard, ReservoirRef | None]:
    """The unit's token shard, and its part of the reservoir: those of an earlier attempt, else new ones, committed.

    Args:
      counts: of the count of words, which must have seen the same tokens.
      reservoir: commits of the stage; None where no part is wanted.
    """
    encoded: list[EncodedUnit] = []  # read once for both

    def encode() -> EncodedUnit:
        if not encoded:
            fingerprint = counted_fingerprint(counts, unit)
            encoded.append(encode_unit(unit, vocabulary, reader, fingerprint, wanted))
        return encoded[0]

    def make() -> Made:
        made = encode()
        artifacts = [commits.put(f"{unit.name}.parquet", tokens_to_parquet(made.table))]
        if keeping.holdout:
            artifacts.append(commits.put(f"kept-back/{unit.name}.parquet", tokens_to_parquet(made.kept_back)))
        return artifacts, TokenNumbers(made.tokens, made.sentences, made.fingerprint, made.kept_back_tokens)

    def part() -> Reservoir:
        made = encode().reservoir
        assert made is not None
        return made

    wanted = keeping if reservoir else replace(keeping, words=0)
    shard = shard_of(commits.once(unit.name, make))
    return shard, stored_part(reservoir, unit.name, part) if reservoir else None


def part_again(commits: Commits, counts: Commits, unit: WorkUnit, reader: Reader, keeping: Keeping) -> ReservoirRef:
    """The unit's part of the reservoir, of another reading, which looks at more sentences than that of `stored_tokens`.

    Args:
      commits: of the reservoir; `counts`: see `stored_tokens`.
    """

    def make() -> Reservoir:
        made = encode_unit(unit, _NO_WORDS, reader, counted_fingerprint(counts, unit), keeping).reservoir
        assert made is not None
        return made

    return stored_part(commits, f"{AGAIN}{unit.name}", make)


def shard_of(record: Record) -> TokenShard:
    """The token shard of a record of this stage."""
    numbers, match = record.read(TokenNumbers), _UNIT.fullmatch(record.name)
    if match is None or len(record.artifacts) not in (1, 2):
        raise ArtifactError(f"{record.path} is not the record of a token shard: delete it")
    tokens, *kept_back = record.artifacts
    apart = kept_back[0] if kept_back else None
    return TokenShard(int(match[1]), numbers.tokens, numbers.sentences, tokens, apart, numbers.kept_back)


def tokens_to_parquet(table: pa.Table) -> pa.Buffer:
    """The shard as Parquet. With the four bytes of ids in separate streams, zstd needs 1.6 bytes a token of English."""
    return to_parquet(table, {"tokens.list.element": "BYTE_STREAM_SPLIT"})


def sentences_to_parquet(tokens: np.ndarray, offset: np.ndarray) -> pa.Buffer:
    """`tokens_to_parquet` of tokens (int32 [n]) and the offsets of sentences (int64 [s + 1])."""
    return tokens_to_parquet(_as_table(tokens, offset.astype(np.int32)))


def _as_table(tokens: np.ndarray, offset: np.ndarray) -> pa.Table:
    lists = pa.ListArray.from_arrays(pa.array(offset), pa.array(tokens), type=SCHEMA.field(0).type)
    return pa.table([lists], schema=SCHEMA)


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
        if self.tokens > _MOST_TOKENS:
            raise InputError(
                f"a row group of the input has {self.tokens:,} tokens, more than {_MOST_TOKENS:,}: write Parquet with"
                " smaller row groups"
            )
        offset = np.zeros(self.sentences + 1, dtype=np.int32)
        np.cumsum(self._lengths[: self.sentences], out=offset[1:])
        return _as_table(self._ids[: self.tokens], offset)


def _with_room(array: np.ndarray, used: int, more: int) -> np.ndarray:
    if used + more <= len(array):
        return array
    grown = np.empty(max(used + more, len(array) * 3 // 2), dtype=array.dtype)
    grown[:used] = array[:used]
    return grown
