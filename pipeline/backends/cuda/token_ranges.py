"""Token ranges: the tokens of whole steps, which are sent to the GPU to make rows of.

Steps may begin and end inside a sentence. A token range has whole sentences, so that it has all contexts of its tokens;
it knows which of its tokens belong to its steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.batches.rows import TokenPiece
from pipeline.options import ALL

POSITIONS_AT_ONCE = 1 << 18
"""Positions of a step range, unless a step has more: enough work for a whole GPU, in some tens of MB."""
CONTEXTS_AT_ONCE = 1 << 24
"""Room for the contexts of a step range, unless a step may have more: with wide windows ranges are smaller."""


@dataclasses.dataclass(frozen=True)
class TokenRange:
    """The tokens of the steps first..end-1, and of the rest of the sentences in which these begin and end."""

    tokens: np.ndarray
    """int32 [n]"""
    sentences: np.ndarray
    """int64 [s + 1]: offsets of the sentences, from 0 to n"""
    position: int
    """of the first token"""
    first: int
    end: int
    batch_size: int

    @property
    def steps(self) -> int:
        return self.end - self.first

    @property
    def edge(self) -> int:
        """Where the first step begins, as an offset of `tokens`."""
        return self.first * self.batch_size - self.position

    @property
    def own(self) -> tuple[int, int]:
        """(first token that belongs to the steps, token behind the last)."""
        first, end = self.edge, self.edge + self.steps * self.batch_size
        return min(max(first, 0), len(self.tokens)), min(max(end, 0), len(self.tokens))

    def most_contexts(self, window: int) -> int:
        """The most contexts that its rows can have."""
        lengths, own = np.diff(self.sentences), np.diff(np.clip(self.sentences, *self.own))
        contexts = lengths - 1 if window == ALL else np.minimum(lengths - 1, 2 * window)
        return int((own * contexts).sum())


def token_ranges(
    pieces: Iterable[TokenPiece], batch_size: int, first: int, end: int, window: int
) -> Iterator[TokenRange]:
    """Cut the corpus into token ranges that cover the steps first..end-1 of an epoch, each once and in order.

    Args:
      pieces: consecutive ones, from the one with the first token of step `first` on.
    """
    tokens, sentences = np.empty(0, np.int32), np.zeros(1, np.int64)
    step, position = first, first * batch_size
    for piece in pieces:
        if not len(tokens):
            position = piece.position
        sentences = np.concatenate([sentences, piece.sentences[1:] - piece.sentences[0] + len(tokens)])
        tokens = np.concatenate([tokens, piece.tokens[piece.sentences[0] : piece.sentences[-1]]])
        complete = min(end, (position + len(tokens)) // batch_size)  # the last step may continue in the next piece
        for token_range in _cut(tokens, sentences, position, step, complete, batch_size, window):
            yield token_range
            step = token_range.end
        if step == end:
            return
        begin = _sentence(sentences, step * batch_size - position)
        position += int(sentences[begin])
        tokens, sentences = tokens[sentences[begin] :], sentences[begin:] - sentences[begin]
    yield from _cut(tokens, sentences, position, step, end, batch_size, window)


def _cut(
    tokens: np.ndarray, sentences: np.ndarray, position: int, first: int, end: int, batch_size: int, window: int
) -> Iterator[TokenRange]:
    steps = steps_at_once(batch_size, window, int(np.max(np.diff(sentences), initial=1)))
    for step in range(first, end, steps):
        last = min(step + steps, end)
        begin = _sentence(sentences, step * batch_size - position)
        behind = max(begin, int(np.searchsorted(sentences, last * batch_size - position)))
        behind = min(behind, len(sentences) - 1)
        low, high = int(sentences[begin]), int(sentences[behind])
        yield TokenRange(tokens[low:high], sentences[begin : behind + 1] - low, position + low, step, last, batch_size)


def steps_at_once(batch_size: int, window: int, longest: int) -> int:
    """Number of steps in a token range, if no sentence has more than `longest` tokens."""
    contexts = 2 * window if window != ALL else longest
    return max(1, min(POSITIONS_AT_ONCE, CONTEXTS_AT_ONCE // contexts) // batch_size)


def _sentence(sentences: np.ndarray, offset: int) -> int:
    """The sentence of the token at an offset; the number of sentences for an offset behind the last token."""
    if offset >= sentences[-1]:
        return len(sentences) - 1
    return max(0, int(np.searchsorted(sentences, offset, side="right")) - 1)
