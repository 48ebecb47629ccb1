"""Joins phrases: pairs of words in sentences become one word, "new york" -> "new_york"."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import FileDigests
from pipeline.corpus.readers.reader import Reader, WrappingReader
from pipeline.corpus.readers.values import Portion
from pipeline.corpus.spans import Spans, as_array
from pipeline.corpus.word_table import WordTable, new_state
from pipeline.corpus.work_units import TextRange
from pipeline.kernels.phrases import fill_pairs, join_pairs


class Joiner:
    """Joins the phrases of one pass. Safe for use by several threads at once."""

    def __init__(self, phrases: pa.Table) -> None:
        """`phrases`: a table of `phrases.phrases_table`."""
        first, second = (phrases[name].combine_chunks() for name in ("first", "second"))
        words = pa.chunked_array([first, second]).unique()
        self._words = WordTable()
        self._words.add(words, np.ones(len(words), np.int64))
        places = (pc.index_in(column, words).to_numpy().astype(np.uint64) for column in (first, second))
        pairs = next(places) << np.uint64(32) | next(places)
        self._slots = np.zeros(1 << (2 * len(pairs)).bit_length(), np.uint64)
        fill_pairs(pairs, self._slots)

    def join(self, spans: Spans) -> Spans:
        """The sentences with phrases joined, from left to right: a word that was joined begins no further pair."""
        if not len(self._words):
            return spans
        n = len(spans.start)
        joined = Spans(
            np.empty(int((spans.end - spans.start).sum()) + n + 8, np.uint8),
            *(np.empty(size, np.int64) for size in (n, n, len(spans.sentence))),
        )
        ids = self._words.find(spans, new_state())
        tokens, used = join_pairs(spans, ids, self._slots, joined)
        return Spans(as_array(joined.buffer[:used]), joined.start[:tokens], joined.end[:tokens], joined.sentence)


@dataclasses.dataclass(frozen=True)
class JoiningReader(WrappingReader):
    """Another reader's sentences, with the phrases of several passes joined in the order of the passes."""

    joiners: Sequence[Joiner] = ()

    def read(
        self, text_range: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        return map(self._joined, self.inner.read(text_range, dead_letters, digests))

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        return map(self._joined, self.inner.portions(ranges, dead_letters, digests))

    def _joined(self, portion: Portion) -> Portion:
        spans = portion.spans
        for joiner in self.joiners:
            spans = map(joiner.join, spans)
        return Portion(portion.lines, spans)


def joining(reader: Reader, joiners: Sequence[Joiner]) -> Reader:
    """The reader with phrases joined; the reader itself if there are no passes."""
    if not joiners:
        return reader
    return JoiningReader.around(reader, joiners=joiners)


def unjoined(reader: Reader) -> tuple[Reader, Sequence[Joiner]]:
    """(the reader without joining, the joiners of each pass); see `joining`."""
    if isinstance(reader, JoiningReader):
        return reader.inner, reader.joiners
    return reader, ()
