"""Phrases: pairs of neighbouring words that occur together more often than their frequencies explain.

    score(a, b) = (count(a b) - discount) / count(a) / count(b) * tokens

The formula is equation 6 of Mikolov et al. 2013 (Distributed representations of words and phrases and their
compositionality), times the tokens of the corpus, as in word2phrase.c: so a threshold means the same in corpora of any
size. A pair whose score is above the threshold is a phrase. Later passes see phrases as words, and so find longer ones.

Pairs are counted exactly over the whole corpus, whatever the units of work are. A unit stores its counts, divided into
buckets by hash, and each bucket is added up by itself. Only pairs that cannot be a phrase are left out before
(`candidate_pairs`). Scores are float64, one correctly rounded operation after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.files import check_all_unchanged
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.word_table import fingerprint_text, new_state
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import InputError
from pipeline.kernels.phrases import candidate_pairs
from pipeline.runtime.messages import warn
from pipeline.runtime.shown_text import quoted
from pipeline.storage.commits import Commits, Made
from pipeline.storage.parquet import from_parquet, groups_to_parquet, read_group, to_parquet
from pipeline.storage.records import Artifact, Number, Records
from pipeline.words.counts import counted_fingerprint, fingerprint_mismatch_message
from pipeline.words.merging import SCHEMA as COUNTS
from pipeline.words.merging import (
    BucketCounts,
    UnitSummary,
    check_complete,
    forget_buckets,
    table_bytes,
    table_from_bytes,
)
from pipeline.words.vocabulary import Vocabulary, by_frequency, plain

SCHEMA = pa.schema(
    [
        pa.field("first", pa.string(), nullable=False),
        pa.field("second", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("first_count", pa.int64(), nullable=False),
        pa.field("second_count", pa.int64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
PAIRS = pa.schema([pa.field("pair", pa.uint64(), nullable=False), pa.field("count", pa.int64(), nullable=False)])
"""Counts of a unit: first id << 32 | second id, ids being rows of the pass's words; rising within a bucket."""
_CANDIDATES = pa.schema([("first", pa.int32()), ("second", pa.int32()), ("count", pa.int64())])

_BUCKET_TOKENS = 8 << 20
_MOST_BUCKETS = 512
"""A bucket more for so many tokens; of English text, where units store 0.27 pairs a token, each has some 2 million."""
_PENDING = 1 << 22
"""Pairs gathered before they are added up."""


@dataclass(frozen=True)
class Scoring:
    """What decides which pairs are phrases, besides counts."""

    tokens: int
    """of the corpus, in this pass"""
    discount: int
    threshold: float

    def scores(self, pairs: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """float64 [n], from the counts of pairs and of their words (int64 [n] each)."""
        return (pairs - float(self.discount)) / first / second * float(self.tokens)

    @property
    def buckets(self) -> int:
        """Number of buckets of pairs: enough that a bucket fits in memory. It never changes the result."""
        return min(_MOST_BUCKETS, 1 + self.tokens // _BUCKET_TOKENS)


class PairCounts:
    """Counts pairs of words."""

    def __init__(self) -> None:
        self._pairs: list[np.ndarray] = [np.empty(0, np.uint64)]
        self._counts: list[np.ndarray] = [np.empty(0, np.int64)]
        self._pending = 0

    def add(self, pairs: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Adds pairs (uint64 [n], which this object then owns), each once or counts[i] times (int64 [n])."""
        self._pairs.append(pairs)
        self._counts.append(np.ones(len(pairs), np.int64) if counts is None else counts)
        self._pending += len(pairs)
        if self._pending > max(_PENDING, len(self._pairs[0])):
            self.total()

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        """(the different pairs in rising order, their counts)."""
        if self._pending:
            pairs, counts = np.concatenate(self._pairs), np.concatenate(self._counts)
            order = np.argsort(pairs)
            pairs, counts = pairs[order], counts[order]
            begins = np.flatnonzero(np.concatenate([[True], pairs[1:] != pairs[:-1]]))
            self._pairs, self._counts, self._pending = [pairs[begins]], [np.add.reduceat(counts, begins)], 0
        return self._pairs[0], self._counts[0]


def frequent_words(tables: Iterable[pa.Table]) -> Vocabulary:
    """The words of a pass, the most frequent first, from counts without rare words."""
    table = by_frequency(pa.concat_tables([COUNTS.empty_table(), *map(plain, tables)]))
    return Vocabulary.from_table(table)


def count_pairs(
    unit: WorkUnit, reader: Reader, words: Vocabulary, scoring: Scoring, fingerprint: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(pairs that may be phrases, uint64 rising; how often each occurs in the unit, int64).

    Memory: some blocks of text, and 32 bytes for each different pair of the unit.

    Args:
      reader: gives sentences in which the phrases of earlier passes are joined.
      words: the words that occur more often than the discount.
      fingerprint: that of counting, to compare with; or None.

    Raises:
      InputError: the input changed, or the user's tokeniser failed or gives other tokens than before.
    """
    counts, table, state = words.counts.astype(np.float64), words.lookup_table(), new_state()
    numbers = float(scoring.tokens), float(scoring.discount), float(scoring.threshold)
    pair_counts = PairCounts()
    for portion in reader.portions(unit.ranges, DeadLetters()):
        for spans in portion.spans:
            ids = table.find(spans, state)
            pairs = np.empty(len(ids), np.uint64)
            pair_counts.add(pairs[: candidate_pairs(ids, spans.sentence, counts, *numbers, pairs)].copy())
    check_all_unchanged(unit.ranges)
    if fingerprint is not None and fingerprint_text(state) != fingerprint:
        raise InputError(fingerprint_mismatch_message(unit, reader))
    return pair_counts.total()


def pairs_to_parquet(pairs: np.ndarray, counts: np.ndarray, buckets: int) -> pa.Buffer:
    """A unit's pairs as Parquet, with a row group for each bucket."""
    bucket = ((pairs * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)
    order = np.argsort(bucket, kind="stable")
    ends = np.cumsum(np.bincount(bucket.astype(np.int64), minlength=buckets))
    table = pa.table([pairs[order], counts[order]], schema=PAIRS)
    groups = (
        (number, table.slice(start, end - start))
        for number, (start, end) in enumerate(zip([0, *ends.tolist()], ends.tolist()))
        if end > start
    )
    return groups_to_parquet(groups, PAIRS, {"pair": "DELTA_BINARY_PACKED", "count": "DELTA_BINARY_PACKED"})


@dataclass(frozen=True)
class BucketPhrases:
    """The phrases among the pairs of a bucket, and how near the best of its pairs came."""

    phrases: bytes
    """Arrow IPC of `_CANDIDATES`"""
    pairs: int
    """that `count_pairs` counted, and that occur more often than the discount"""
    best: tuple[float, str, str] | None
    """(score, first word, second word) of the pair with the highest score; None if there is no pair"""


def bucket_phrases(
    records: Records, units: Sequence[Artifact], bucket: int, words: Vocabulary, scoring: Scoring
) -> BucketPhrases:
    """The phrases among the pairs of one bucket, counted over all units.

    Memory: some 50 bytes for each different pair of the bucket.
    """
    total = PairCounts()
    for artifact in units:
        table = read_group(records.storage, artifact.path, bucket)
        if table is not None:
            total.add(table["pair"].to_numpy(), table["count"].to_numpy())
    pairs, counts = total.total()
    frequent = counts > scoring.discount
    pairs, counts = pairs[frequent], counts[frequent]
    first, second = (pairs >> np.uint64(32)).astype(np.int32), pairs.astype(np.uint32).astype(np.int32)
    scores = scoring.scores(counts, words.counts[first], words.counts[second])
    good = scores > scoring.threshold
    phrases = table_bytes(pa.table([first[good], second[good], counts[good]], schema=_CANDIDATES))
    if not len(scores):
        return BucketPhrases(phrases, 0, None)
    at = int(np.argmax(scores))
    pair = (words.words[int(row)].as_py() for row in (first[at], second[at]))
    return BucketPhrases(phrases, len(scores), (float(scores[at]), *pair))


def phrases_table(buckets: Iterable[BucketPhrases], words: Vocabulary, scoring: Scoring) -> pa.Table:
    """All phrases of a pass (SCHEMA), by falling score and then by the bytes of their words."""
    tables = (table_from_bytes(bucket.phrases) for bucket in buckets)
    table = pa.concat_tables([_CANDIDATES.empty_table(), *tables])
    first, second = (table[name].to_numpy() for name in ("first", "second"))
    counts = table["count"].to_numpy(), words.counts[first], words.counts[second]
    columns = [words.words.take(pa.array(first)), words.words.take(pa.array(second)), *counts, scoring.scores(*counts)]
    table = pa.table(columns, schema=SCHEMA)
    keys = [("score", "descending"), ("first", "ascending"), ("second", "ascending")]
    return table.take(pc.sort_indices(table, sort_keys=keys)).combine_chunks()


def nothing_joined_message(buckets: Sequence[BucketPhrases], number: int, words: Vocabulary, scoring: Scoring) -> str:
    """Why pass `number` of --phrases has found no phrase, and what to change."""
    found, option = f"pass {number} of --phrases joins no words", f"--phrase_threshold={scoring.threshold:g}"
    often = f"more than --phrase_discount={scoring.discount} times"
    best = max((bucket.best for bucket in buckets if bucket.best), default=None)
    if best:
        pairs = sum(bucket.pairs for bucket in buckets)
        score, first, second = best
        return (
            f"{found}: {pairs:,} pairs that might score above {option} occur {often}, and the best of them,"
            f" {quoted(f'{first} {second}')}, scores {score:.4g}: lower the threshold"
        )
    if not len(words):
        return f"{found}: no word occurs {often}"
    counts = words.counts.astype(np.float64)
    highest = float(scoring.scores(counts, counts, counts).max())  # of two equal words that always stand together
    return f"{found}: with these counts of words a pair can score {highest:.4g} at most, not above {option}: lower it"


WORDS, PHRASES = "words", "phrases"
"""Names of the records of a pass, beside those of its units."""


def words_stage(number: int) -> str:
    """The stage in which pass `number` (from 1) of --phrases counts words."""
    return f"words-{number}"


def phrases_stage(number: int) -> str:
    """The stage in which pass `number` of --phrases counts pairs and finds phrases."""
    return f"phrases-{number}"


def phrases_folder(number: int) -> str:
    """The folder of the artefacts of a pass."""
    return f"phrases/pass={number}"


@dataclasses.dataclass(frozen=True)
class PassWordsNumbers:
    """What is recorded of the frequent words of a pass."""

    words: Number
    tokens: Number
    """of the corpus, also rare words"""


@dataclasses.dataclass(frozen=True)
class PairNumbers:
    """What is recorded of a unit's pairs."""

    pairs: Number


@dataclasses.dataclass(frozen=True)
class PhraseNumbers:
    """What is recorded of the phrases of a pass."""

    phrases: Number
    why_none: str = ""
    """a warning, where there is no phrase"""


@dataclasses.dataclass(frozen=True)
class PhraseWordsRef:
    """The stored words that a pass of --phrases looks for pairs of."""

    artifact: Artifact
    tokens: int
    """of the corpus, also rare words"""
    is_done: bool
    """whether the phrases of the pass are stored already"""

    def open(self, records: Records) -> Vocabulary:
        return Vocabulary.from_parquet(records.read(self.artifact))


@dataclasses.dataclass(frozen=True)
class PhrasesRef:
    """The stored phrases of the passes so far."""

    passes: tuple[Artifact, ...]


def stored_words(
    commits: Commits, counts: Commits, buckets: Iterable[BucketCounts], summaries: Sequence[UnitSummary]
) -> PhraseWordsRef:
    """The frequent words of a pass.

    Args:
      commits: of the pass; `counts`: of its count of words.
    """

    def make() -> Made:
        held = list(buckets)
        check_complete(summaries, held)
        words = frequent_words(bucket.open(commits.records) for bucket in held)
        numbers = PassWordsNumbers(len(words), sum(unit.tokens for unit in summaries))
        return [commits.put("words.parquet", words.to_parquet())], numbers

    record = commits.once(WORDS, make)
    forget_buckets(counts)
    tokens = record.read(PassWordsNumbers).tokens
    return PhraseWordsRef(record.artifact, tokens, commits.earlier(PHRASES) is not None)


def stored_pairs(
    commits: Commits, counts: Commits, unit: WorkUnit, reader: Reader, words: Vocabulary, scoring: Scoring
) -> Artifact:
    """The counts of a unit's pairs; see `count_pairs`."""

    def make() -> Made:
        pairs = count_pairs(unit, reader, words, scoring, counted_fingerprint(counts, unit))
        data = pairs_to_parquet(*pairs, scoring.buckets)
        return [commits.put(f"pairs/{unit.name}.parquet", data)], PairNumbers(len(pairs[0]))

    return commits.once(unit.name, make).artifact


def stored_phrases(
    commits: Commits,
    buckets: Iterable[BucketPhrases],
    words: Callable[[], Vocabulary],
    scoring: Scoring,
    number: int,
) -> Artifact:
    """The phrases of pass `number`."""

    def make() -> Made:
        held = list(buckets)
        phrases = phrases_table(held, words(), scoring)
        why_none = "" if len(phrases) else nothing_joined_message(held, number, words(), scoring)
        return [commits.put("phrases.parquet", to_parquet(phrases))], PhraseNumbers(len(phrases), why_none)

    record = commits.once(PHRASES, make)
    if why_none := record.read(PhraseNumbers).why_none:
        warn(why_none)
    return record.artifact


def copied_phrases(commits: Commits, read: Callable[[], bytes]) -> Artifact:
    """The phrases of a pass of another run, as this run's own.

    Args:
      read: gives the bytes of that run's artefact.
    """

    def make() -> Made:
        data = read()
        return [commits.put("phrases.parquet", data)], PhraseNumbers(from_parquet(data).num_rows)

    return commits.once(PHRASES, make).artifact
