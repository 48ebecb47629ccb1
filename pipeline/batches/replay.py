"""Replay: old sentences between the new ones, in a run with --update.

N positions is the new text, P positions the reservoir of the parent as it is in the new vocabulary, E the epochs.

    candidates   the sentences of the reservoir that have a word of the vocabulary, ordered by (Philox(REPLAY, key)
                 under the key of the draws, key); r_j positions come before candidate j
    epoch e      replays those with e w <= r_j < (e + 1) w, where w = min(--replay N, P / E): others in each epoch, and
                 none twice in a run. R_e positions
    its text     new sentences in file order; replayed sentence j stands before the first new sentence i with
                 n_i R_e >= (r_j - r of the first one of the epoch) N, where n_i is the position of new sentence i

What an epoch replays is stored once, as ids; where it stands in the text of the epoch is computed where rows are made.

    replay/KEY/replay.parquet    tokens list<int32>: a row for each replayed sentence, those of epoch 0 first
"""

from __future__ import annotations

import dataclasses
import fractions
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from pipeline.batches.rows import TokenPiece
from pipeline.batches.tokens import read_tokens, sentences_to_parquet
from pipeline.corpus.word_table import new_state, spans_of
from pipeline.kernels import philox
from pipeline.kernels.sentences import draw_order
from pipeline.storage.commits import Commits, Made
from pipeline.storage.records import Artifact, Number, Record, Records
from pipeline.words.phrase_joining import Joiner
from pipeline.words.reservoir import Reservoir, taken
from pipeline.words.vocabulary import Vocabulary

STAGE = "replay"
_JOINED = 1 << 20
"""Words whose phrases are joined at a time."""
_opened: dict[str, Replay] = {}


def candidates(
    reservoir: Reservoir, vocabulary: Vocabulary, joiners: Sequence[Joiner], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(tokens int32 [P], offsets int64 [s + 1]) of the candidates, in their order.

    Args:
      seed: the key of the draws.
    """
    tokens, offset = _encoded(reservoir, vocabulary, joiners)
    drawn = np.empty(len(reservoir), np.uint64)
    draw_order(reservoir.keys, drawn, *philox.key_of(seed))
    order = np.lexsort((reservoir.keys, drawn))
    return taken(tokens, offset, order[np.diff(offset)[order] > 0])


def _encoded(reservoir: Reservoir, vocabulary: Vocabulary, joiners: Sequence[Joiner]) -> tuple[np.ndarray, np.ndarray]:
    """(tokens, offsets) of all sentences as ids, without words that are not in the vocabulary."""
    if joiners:
        return _encoded_with_phrases(reservoir, vocabulary, joiners)
    if not len(reservoir):
        return reservoir.tokens, reservoir.offset
    ids = vocabulary.lookup_table().find(spans_of(reservoir.words), new_state())[reservoir.tokens]
    return _compact(ids, reservoir.offset)


def _compact(ids: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.concatenate([[0], np.cumsum(ids >= 0)])
    return ids[ids >= 0], known[offset]


def _encoded_with_phrases(
    reservoir: Reservoir, vocabulary: Vocabulary, joiners: Sequence[Joiner]
) -> tuple[np.ndarray, np.ndarray]:
    table, ids, ends, begin, size = vocabulary.lookup_table(), [np.empty(0, np.int32)], [np.zeros(1, np.int64)], 0, 0
    while begin < len(reservoir):
        end = int(np.searchsorted(reservoir.offset, reservoir.offset[begin] + _JOINED, side="right")) - 1
        end = max(begin + 1, end)
        first, last = reservoir.offset[begin], reservoir.offset[end]
        words = reservoir.words.take(pa.array(reservoir.tokens[first:last]))
        spans = spans_of(words, reservoir.offset[begin : end + 1] - first)
        for joiner in joiners:
            spans = joiner.join(spans)
        tokens, offset = _compact(table.find(spans, new_state()), spans.sentence)
        ids.append(tokens)
        ends.append(offset[1:] + size)
        begin, size = end, size + len(tokens)
    return np.concatenate(ids), np.concatenate(ends)


@dataclasses.dataclass(frozen=True)
class ReplayNumbers:
    """What is recorded of what is replayed."""

    text: Number
    """positions of the new text, N"""
    candidates: Number
    """positions of the candidates, P"""
    sentences: list[Number]
    """how many each epoch replays"""
    positions: list[Number]
    """of these sentences, R_e"""


@dataclasses.dataclass(frozen=True)
class ReplayRef:
    """What is replayed, stored.

    Attributes:
      text: positions of the new text, N.
      sentences: how many each epoch replays.
      positions: of these sentences, R_e.
    """

    artifact: Artifact
    text: int
    sentences: tuple[int, ...]
    positions: tuple[int, ...]

    @classmethod
    def of(cls, record: Record) -> ReplayRef:
        numbers = record.read(ReplayNumbers)
        return cls(record.artifact, numbers.text, tuple(numbers.sentences), tuple(numbers.positions))

    @property
    def longest(self) -> int:
        """Positions of the epoch that has most: the steps of an epoch cover so many."""
        return self.text + max(self.positions)

    def open(self, records: Records) -> Replay:
        """The sentences, read once in each process."""
        replay = _opened.get(self.artifact.digest)
        if replay is None or replay.text != self.text:
            first = np.concatenate([[0], np.cumsum(self.sentences)])
            replay = Replay(*read_tokens(records.read(self.artifact)), first, self.text)
            _opened.clear()  # one run at a time
            _opened[self.artifact.digest] = replay
        return replay


def shares(offset: np.ndarray, text: int, share: float, epochs: int) -> np.ndarray:
    """int64 [epochs + 1]: epoch e replays the candidates e..e + 1 of these bounds.

    >>> shares(np.array([0, 4, 6, 9, 10]), text=4, share=1, epochs=2)
    array([0, 1, 3])

    Args:
      offset: int64 [s + 1], of the candidates.
      text: positions of the new text.
      share: --replay.
    """
    wanted = min(fractions.Fraction(repr(share)) * text, fractions.Fraction(int(offset[-1]), epochs))
    bounds = [-(-(epoch * wanted.numerator) // wanted.denominator) for epoch in range(epochs + 1)]
    return np.searchsorted(offset[:-1], bounds, side="left")


def stored_replay(
    commits: Commits,
    text: int,
    share: float,
    epochs: int,
    find: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> ReplayRef:
    """What each epoch replays: what an earlier attempt has stored, else new.

    Args:
      text: positions of the new text.
      share: --replay.
      find: gives the `candidates`.
    """

    def make() -> Made:
        tokens, offset = find()
        bounds = shares(offset, text, share, epochs)
        positions = np.diff(offset[bounds])
        numbers = ReplayNumbers(text, int(offset[-1]), np.diff(bounds).tolist(), positions.tolist())
        last = bounds[-1]
        data = sentences_to_parquet(tokens[: offset[last]], offset[: last + 1])
        return [commits.put("replay.parquet", data)], numbers

    return ReplayRef.of(commits.once(STAGE, make))


@dataclasses.dataclass(frozen=True)
class Replay:
    """The replayed sentences.

    Attributes:
      tokens: int32 [n]; offset: int64 [s + 1].
      first: int64 [E + 1], the first sentence of each epoch.
      text: positions of the new text.
    """

    tokens: np.ndarray
    offset: np.ndarray
    first: np.ndarray
    text: int

    def positions(self, first: int, end: int, epoch: int) -> tuple[int, int]:
        """Where new text at the positions first..end-1 stands in the text of the epoch, with what is replayed in it."""
        begin, last = self._rows(first, end, epoch)
        before = self.offset[self.first[epoch]]
        return first + int(self.offset[begin] - before), end + int(self.offset[last] - before)

    def joined(self, piece: TokenPiece, epoch: int) -> TokenPiece:
        """New text with what the epoch replays in it, and its position in the text of the epoch.

        Args:
          piece: all tokens of a shard: its sentences begin at offset 0 and end with the last token.
        """
        first, sentences = piece.position, piece.sentences
        begin, last = self._rows(first, first + len(piece.tokens), epoch)
        start = first + int(self.offset[begin] - self.offset[self.first[epoch]])
        if begin == last:
            return TokenPiece(piece.tokens, sentences, start)
        rows = np.arange(begin, last)
        places = np.searchsorted(sentences[:-1] + first, self._places(rows, epoch), side="left")
        number = len(sentences) - 1
        order = np.argsort(np.concatenate([2 * np.arange(number) + 1, 2 * places]), kind="stable")
        old = self.offset[begin : last + 1] - self.offset[begin] + len(piece.tokens)
        tokens = np.concatenate([piece.tokens, self.tokens[self.offset[begin] : self.offset[last]]])
        return TokenPiece(*taken(tokens, np.concatenate([sentences, old[1:]]), order), start)

    def _rows(self, first: int, end: int, epoch: int) -> tuple[int, int]:
        """The sentences (begin, end) that the epoch replays among the positions first..end-1 of the new text."""
        begin, last = int(self.first[epoch]), int(self.first[epoch + 1])
        before = self.offset[begin:last] - self.offset[begin]
        total = int(self.offset[last] - self.offset[begin])

        def up_to(position: int) -> int:
            """How many stand before the new text at this position: those with r N <= position R."""
            return int(np.searchsorted(before, position * total // max(1, self.text), side="right"))

        return begin + (up_to(first) if first else 0), begin + up_to(end)

    def _places(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """int64: each of these sentences stands before the first new sentence at this position, or behind it.

        ceil(r N / R), where r is what the epoch replays before: in 64 bits, since r < R < 2^31.
        """
        begin, last = self.offset[self.first[epoch]], self.offset[self.first[epoch + 1]]
        before, total = self.offset[rows] - begin, max(1, int(last - begin))
        whole, rest = divmod(self.text, total)
        return before * whole - (-(before * rest) // total)
