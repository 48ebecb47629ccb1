"""The reservoir: a bounded sample of the sentences of all text so far, which updates replay.

A sentence is its words, after the tokeniser and stop words, before phrases and the vocabulary. It has a key, BLAKE2b
with a digest of 8 bytes over its words. The reservoir is the set of the sentences with the smallest keys: one is in it
while the words of those before it are fewer than --replay_words. So it depends on the set of sentences alone, and
R(A + B) = R(R(A) + R(B)), whatever is merged when. (Bottom-k sampling, Cohen and Kaplan 2007, by words.)

    reservoir/KEY/words.parquet       word string: a list of its own, for a word that is rare today may be in the
                                      vocabulary tomorrow
    reservoir/KEY/sentences.parquet   key uint64, tokens list<int32>: rows of words.parquet; by rising key
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa

from pipeline.corpus.spans import Spans
from pipeline.corpus.word_table import WordTable, one_array, spans_of
from pipeline.errors import ArtifactError
from pipeline.kernels.sentences import number_words, repeats, sentence_keys, take_sentences
from pipeline.runtime.messages import warn
from pipeline.storage.commits import Commits, Made
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Artifact, Number, Record, Records

STAGE = "reservoir"
AGAIN = "again-"
"""How names of parts begin that are made when the text is read again; see `larger_limit`."""
ALL_KEYS = 2**64
_TOGETHER = 64
"""Units whose sentences are merged by one worker, before all are."""
_GROUP_ROWS = 1 << 16
_AMPLE = 4
"""How many times the wanted words units are expected to hand on: sentences that occur twice count once."""
LARGE = 128 << 20
"""So many bytes of sentences are collected before repeats are looked for: few units have so many."""
_FEW = 1000
"""From fewer sentences nobody can say how many a larger limit would give."""
_WORDS = pa.schema([pa.field("word", pa.string(), nullable=False)])
_SCHEMA = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("tokens", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True)
class Reservoir:
    """Sentences with their keys.

    Attributes:
      words: string [w], different words, in the order in which the sentences have them.
      keys: uint64 [s], rising.
      tokens: int32 [n], rows of `words`.
      offset: int64 [s + 1], of the sentences in `tokens`.
      limit: sentences with keys from here on were not looked at; ALL_KEYS where all were.
    """

    words: pa.Array
    keys: np.ndarray
    tokens: np.ndarray
    offset: np.ndarray
    limit: int = ALL_KEYS

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, chosen: np.ndarray) -> Reservoir:
        """The sentences where `chosen` (bool [s]) says so; itself where it does everywhere."""
        if chosen.all():
            return self
        return _copied(self.words, self.keys, self.tokens, self.offset, np.flatnonzero(chosen), self.limit)

    def sentences(self) -> list[list[str]]:
        """The words as Python strings, for messages and tests."""
        words = self.words.to_pylist()
        texts = [words[token] for token in self.tokens]
        return [texts[i:j] for i, j in zip(self.offset[:-1], self.offset[1:])]


def empty_reservoir() -> Reservoir:
    """A reservoir without sentences."""
    return merge((), 0)


def keys_of(spans: Spans) -> np.ndarray:
    """uint64 [s], the key of each sentence."""
    keys = np.empty(len(spans.sentence) - 1, np.uint64)
    sentence_keys(spans, keys)
    return keys


def key_limit(words: int, text_words: int) -> int:
    """Below which key the sentences of a text have about `_AMPLE` times as many words as the reservoir takes.

    Args:
      words: of the reservoir, at most; `text_words`: of the text.
    """
    return min(ALL_KEYS, ALL_KEYS * _AMPLE * words // max(1, text_words))


def larger_limit(reservoir: Reservoir, words: int) -> int | None:
    """The limit under which the text has to be read again, for it says its sentences more than `_AMPLE` times over.

    None: the reservoir is whole, since it has its words, or all sentences were looked at.
    """
    found = len(reservoir.tokens)
    if found >= words or reservoir.limit == ALL_KEYS:
        return None
    return ALL_KEYS if len(reservoir) < _FEW else min(ALL_KEYS, reservoir.limit * _AMPLE * words // found)


class Collector:
    """Collects the sentences of a unit with keys below a limit.

    Memory: a few times the reservoir, however large the unit is and however often it says its sentences.
    """

    def __init__(self, words: int, limit: int = ALL_KEYS):
        """A collector for a reservoir of so many words."""
        self.words, self.limit, self._enough = words, limit, LARGE
        self._begin(WordTable())

    def _begin(self, table: WordTable) -> None:
        self._table, self._held = table, 0
        self._keys: list[np.ndarray] = []
        self._tokens: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []

    def add(self, spans: Spans, keys: np.ndarray, kept_back: np.ndarray | None = None) -> None:
        """Adds sentences.

        Args:
          keys: uint64 [s], of `keys_of`.
          kept_back: bool [s], which sentences --holdout keeps back: they are never in the reservoir.
        """
        chosen = np.ones(len(keys), bool) if self.limit == ALL_KEYS else keys < np.uint64(self.limit)
        if kept_back is not None:
            chosen &= ~kept_back
        if not chosen.all():
            spans, keys = chosen_sentences(spans, chosen), keys[chosen]
        self._put(self._table.number(spans), keys, np.diff(spans.sentence))
        if self._held > self._enough:
            made, table = self.reservoir(), WordTable()
            self._begin(table)
            self._put(_numbered(table, made), made.keys, np.diff(made.offset))
            self._enough = max(LARGE, 2 * self._held)

    def _put(self, tokens: np.ndarray, keys: np.ndarray, lengths: np.ndarray) -> None:
        self._tokens.append(tokens)
        self._keys.append(keys)
        self._lengths.append(lengths)
        self._held += tokens.nbytes + keys.nbytes + lengths.nbytes

    def reservoir(self) -> Reservoir:
        """The reservoir of what was added."""
        offset = np.cumsum(np.concatenate([np.zeros(1, np.int64), *self._lengths]))
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        tokens = np.concatenate([np.empty(0, np.int32), *self._tokens])
        return _merged([Reservoir(one_array(self._table.words()), keys, tokens, offset, self.limit)], self.words)


def chosen_sentences(spans: Spans, chosen: np.ndarray) -> Spans:
    """The sentences where `chosen` (bool [s]) says so."""
    tokens = np.repeat(chosen, np.diff(spans.sentence))
    lengths = np.diff(spans.sentence)[chosen]
    return Spans(spans.buffer, spans.start[tokens], spans.end[tokens], np.concatenate([[0], np.cumsum(lengths)]))


def merge(reservoirs: Iterable[Reservoir], words: int) -> Reservoir:
    """The reservoir of all their sentences, of at most so many words but for the last sentence."""
    held: list[Reservoir] = []
    for reservoir in reservoirs:
        held.append(reservoir)
        if sum(len(one.tokens) for one in held) > 3 * words // 2:
            _shorten(held, words)
            held = [_merged(held, words)]
    _shorten(held, words)
    return _merged(held, words)


def _merged(held: list[Reservoir], words: int) -> Reservoir:
    """The reservoir of the sentences of all, which are taken from the list one by one: they need not be there twice."""
    table, limit = WordTable(), min((reservoir.limit for reservoir in held), default=ALL_KEYS)
    lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(reservoir.offset) for reservoir in held)])
    keys = np.concatenate([np.empty(0, np.uint64), *(reservoir.keys for reservoir in held)])
    tokens, offset, used = np.empty(int(lengths.sum()), np.int32), np.cumsum(lengths), 0
    while held:
        numbered = _numbered(table, held.pop(0))
        tokens[used : used + len(numbered)] = numbered
        used += len(numbered)
    names = one_array(table.words())
    order = _without_repeats(tokens, offset, np.argsort(keys, kind="stable"), keys, names)
    if limit < ALL_KEYS:
        order = order[keys[order] < np.uint64(limit)]
    lengths = np.diff(offset)[order]
    order = order[np.cumsum(lengths) - lengths < words]
    return _copied(names, keys, tokens, offset, order, limit)


def _shorten(held: list[Reservoir], words: int) -> None:
    """Puts views of their beginnings in place of reservoirs: what may be among the first sentences of so many words."""
    if sum(len(reservoir.tokens) for reservoir in held) <= words:
        return
    keys = np.concatenate([reservoir.keys for reservoir in held])
    keys, which = np.unique(keys, return_index=True)  # sentences of one key are most likely one, and count once
    lengths = np.concatenate([np.diff(reservoir.offset) for reservoir in held])[which]
    last = keys[min(int(np.searchsorted(np.cumsum(lengths), words)), len(keys) - 1)]
    for i, one in enumerate(held):
        n = int(np.searchsorted(one.keys, last, side="right"))
        tokens = one.tokens[: one.offset[n]]
        held[i] = dataclasses.replace(one, keys=one.keys[:n], tokens=tokens, offset=one.offset[: n + 1])


def _numbered(table: WordTable, reservoir: Reservoir) -> np.ndarray:
    """The tokens of a reservoir as entries of the table, which gets its words."""
    if not len(reservoir.words):
        return reservoir.tokens
    return table.number(spans_of(reservoir.words))[reservoir.tokens]


def _without_repeats(
    tokens: np.ndarray, offset: np.ndarray, order: np.ndarray, keys: np.ndarray, words: pa.Array
) -> np.ndarray:
    """The sentences in `order`, which is by key, now also by their bytes, and each once."""
    marks = np.empty(len(order), np.uint8)
    repeats(tokens, offset, order, keys[order], marks)
    for place in np.flatnonzero(marks == 2).tolist():  # two sentences of one key: one chance in 2^64 for a pair
        same_key = np.flatnonzero(keys[order] == keys[order[place]])
        texts = {row: _hashed(words, tokens[offset[row] : offset[row + 1]]) for row in order[same_key].tolist()}
        rows = sorted(texts, key=lambda row: texts[row])
        order[same_key] = rows
        marks[same_key] = [int(i > 0 and texts[row] == texts[rows[i - 1]]) for i, row in enumerate(rows)]
    return order[marks != 1]


def _hashed(words: pa.Array, tokens: np.ndarray) -> bytes:
    """The bytes that the key of a sentence is made from."""
    texts = [word.encode() for word in words.take(pa.array(tokens)).to_pylist()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _copied(
    words: pa.Array, keys: np.ndarray, tokens: np.ndarray, offset: np.ndarray, rows: np.ndarray, limit: int
) -> Reservoir:
    """These rows alone, with the words that they have, in the order in which they have them."""
    own_tokens, own_offset = taken(tokens, offset, rows)
    numbers, first = np.full(len(words), -1, np.int32), np.empty(len(words), np.int32)
    used = number_words(own_tokens, numbers, first)
    return Reservoir(words.take(pa.array(first[:used])), keys[rows], own_tokens, own_offset, limit)


def taken(tokens: np.ndarray, offset: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(tokens, offsets) of the sentences `rows` (int64), in this order; see `kernels.sentences.take_sentences`."""
    out = np.empty(int(np.diff(offset)[rows].sum()), np.int32)
    out_offset = np.empty(len(rows) + 1, np.int64)
    take_sentences(tokens, offset, rows, out, out_offset)
    return out, out_offset


@dataclasses.dataclass(frozen=True)
class ReservoirNumbers:
    """What is recorded of sentences of the reservoir; the artefacts are words and sentences."""

    sentences: Number
    words: Number
    """occurrences, in all sentences"""
    limit: str
    """in hexadecimal digits; see `Reservoir`"""


@dataclasses.dataclass(frozen=True)
class ReservoirRef:
    """Stored sentences of the reservoir."""

    words: Artifact
    sentences: Artifact
    limit: int

    @classmethod
    def of(cls, record: Record) -> ReservoirRef:
        words, sentences = record.artifacts
        return cls(words, sentences, int(record.read(ReservoirNumbers).limit, 16))

    def open(self, records: Records) -> Reservoir:
        """The sentences; ArtifactError where they cannot be what `stored_part` has written."""
        words = one_array(from_parquet(records.read(self.words), _WORDS, records.uri(self.words))["word"])
        table = from_parquet(records.read(self.sentences), _SCHEMA, records.uri(self.sentences)).combine_chunks()
        lists = table["tokens"].combine_chunks() if isinstance(table["tokens"], pa.ChunkedArray) else table["tokens"]
        offset, tokens = lists.offsets.to_numpy().astype(np.int64), lists.flatten().to_numpy()
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < len(words):
            raise ArtifactError(f"{records.uri(self.sentences)} has words that {records.uri(self.words)} lacks")
        return Reservoir(words, table["key"].to_numpy(), tokens, offset, self.limit)


def stored_part(commits: Commits, name: str, make: Callable[[], Reservoir]) -> ReservoirRef:
    """Sentences that an earlier attempt has stored under this name, else what `make` makes now."""

    def made() -> Made:
        reservoir = make()
        numbers = ReservoirNumbers(len(reservoir), len(reservoir.tokens), f"{reservoir.limit:x}")
        offset = pa.array(reservoir.offset.astype(np.int32))
        lists = pa.ListArray.from_arrays(offset, pa.array(reservoir.tokens), type=_SCHEMA.field("tokens").type)
        words = pa.table([reservoir.words], schema=_WORDS)
        sentences = pa.table([pa.array(reservoir.keys), lists], schema=_SCHEMA)
        folder, encodings = "" if name == STAGE else f"{name}/", {"tokens.list.element": "BYTE_STREAM_SPLIT"}
        return [
            commits.put(f"{folder}words.parquet", to_parquet(words)),
            commits.put(f"{folder}sentences.parquet", to_parquet(sentences, encodings, _GROUP_ROWS)),
        ], numbers

    return ReservoirRef.of(commits.once(name, made))


def group_of(unit: int) -> int:
    """The number of the group of units whose sentences are merged first."""
    return unit // _TOGETHER


def stored_group(commits: Commits, group: int, parts: Iterable[ReservoirRef], words: int) -> list[ReservoirRef]:
    """The sentences of a group of units, merged; of a single unit, and of the only group, as they are."""
    held = list(parts)
    if len(held) == 1 or (group == 0 and len(held) < _TOGETHER):
        return held
    name = f"group-{group:09d}"
    return [stored_part(commits, name, lambda: merge((part.open(commits.records) for part in held), words))]


def stored_reservoir(
    commits: Commits,
    groups: Iterable[ReservoirRef],
    words: int,
    parent: Callable[[], Reservoir] | None = None,
    again: bool = False,
) -> ReservoirRef | int:
    """The reservoir of a run: that of an earlier attempt, else a new one; or a `larger_limit` to read the text with.

    Args:
      groups: the sentences of its text.
      words: how many words it has, at most but for the last sentence.
      parent: gives the reservoir of the run that this one updates.
      again: the text was read with a larger limit; now it is what it is.
    """
    # Always looked for: in a second attempt the parts are gone.
    record = commits.find(STAGE, "digest")
    if not record:
        groups = list(groups)
        reservoir = merge(_opened(commits.records, groups, parent), words)
        limit = larger_limit(reservoir, words)
        of_text = min((group.limit for group in groups), default=ALL_KEYS)
        if limit is not None and not again and reservoir.limit == of_text:
            return limit
        if limit is not None:
            warn(
                f"{len(reservoir.tokens):,} words are kept for updates, not {words:,}: the parent kept too few, or the"
                " sentences are of very different lengths. A larger --replay_words keeps more"
            )
    ref = ReservoirRef.of(record) if record else stored_part(commits, STAGE, lambda: reservoir)
    commits.forget(but=STAGE)
    return ref


def _opened(
    records: Records, groups: Iterable[ReservoirRef], parent: Callable[[], Reservoir] | None
) -> Iterator[Reservoir]:
    if parent:
        yield parent()
    for group in sorted(groups, key=lambda ref: ref.words.path):
        yield group.open(records)
