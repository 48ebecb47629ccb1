"""Evaluates word vectors: correlation with human judgements of similarity, and analogies.

The numbers are those of gensim's `KeyedVectors.evaluate_word_pairs` and
`evaluate_word_analogies`, whose defaults are the defaults here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.analysis.judgements import Analogies, Question, WordPairs
from pipeline.errors import InputError
from pipeline.model.neighbors import unit_length
from pipeline.runtime.shown_text import counted

MOST_FREQUENT = 300_000
"""Default number of words that take part."""
VECTOR_BLOCK = 8192
"""Vectors compared at a time ..."""
QUESTION_BLOCK = 1024
"""... with this many questions: 32 MiB of float32 similarities."""
_WORD_BLOCK = 65536

Words: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray
METHODS = ("3cosadd", "3cosmul")
"""Ways to answer an analogy (Levy and Goldberg 2014), the default first."""
_EPSILON = 1e-6
"""Keeps 3CosMul from dividing by zero, as in gensim."""


@dataclasses.dataclass(frozen=True)
class PairsResult:
    """Agreement of cosines with the judgements."""

    spearman: float
    """NaN if one side does not vary"""
    pearson: float
    pairs: int
    """pairs with both words in the vocabulary, which were compared"""
    unknown: int
    """pairs with a word that is not in the vocabulary, which were left out"""


@dataclasses.dataclass(frozen=True)
class SectionResult:
    """Answers to the questions of one section, or of all."""

    name: str
    correct: int
    questions: int
    """questions with all four words in the vocabulary, which were answered"""
    unknown: int
    """questions with a word that is not in the vocabulary, which were left out"""

    @property
    def accuracy(self) -> float:
        """Share of correct answers; 0 if there were no questions."""
        return self.correct / self.questions if self.questions else 0.0


@dataclasses.dataclass(frozen=True)
class AnalogiesResult:
    sections: list[SectionResult]

    @property
    def total(self) -> SectionResult:
        parts = [(s.correct, s.questions, s.unknown) for s in self.sections]
        return SectionResult("total", *(sum(column) for column in zip(*parts)))


def evaluate_pairs(
    words: Words,
    vectors: np.ndarray,
    judged: WordPairs,
    most_frequent: int | None = MOST_FREQUENT,
    ignore_case: bool = True,
) -> PairsResult:
    """Correlation of the cosines of pairs with the judgements.

    Args:
      words: [V], most frequent first.
      vectors: float [V, dims]; rows are read one by one, so a memory map does.
      most_frequent: only this many words take part; None for all.
      ignore_case: compare words in upper case; of several variants the most frequent one is taken.

    Raises:
      InputError: no pair has both words in the vocabulary.
    """
    rows = _Rows(words, (word for pair in judged.pairs for word in pair), most_frequent, ignore_case)
    known = [i for i, pair in enumerate(judged.pairs) if rows.has(*pair)]
    if not known:
        raise InputError(_nothing_known(judged.uri, len(judged.pairs), "pair", rows.size, ignore_case) + judged.hint)
    sides = [np.array([rows.first(judged.pairs[i][side]) for i in known]) for side in (0, 1)]
    first, second = (unit_length(vectors[side].astype(np.float64)) for side in sides)
    cosine, similarity = (first * second).sum(axis=1), judged.similarity[known]
    return PairsResult(
        spearman(similarity, cosine), pearson(similarity, cosine), len(known), len(judged.pairs) - len(known)
    )


def evaluate_analogies(
    words: Words,
    vectors: np.ndarray,
    analogies: Analogies,
    most_frequent: int | None = MOST_FREQUENT,
    ignore_case: bool = True,
    report: Callable[[int, int], None] = lambda done, total: None,
    method: str = METHODS[0],
) -> AnalogiesResult:
    """The share of questions whose answer is the expected word.

    The answer is the word x for which one of these is largest (Levy and Goldberg 2014):

        3cosadd  cos(x, b - a + c)
        3cosmul  s(x, b) s(x, c) / (s(x, a) + 1e-6),  s = (1 + cos) / 2

    The words of the question, and with `ignore_case` their variants, do not count as answers. Memory: some blocks, and
    the vectors of the questions.

    Args:
      words, vectors, most_frequent, ignore_case: as in `evaluate_pairs`.
      method: one of METHODS.
      report: called with (vectors compared, vectors in all).

    Raises:
      InputError: no question has all words in the vocabulary.
    """
    questions_by_section = [(name, question) for name, questions in analogies.sections for question in questions]
    rows = _Rows(words, (word for _, question in questions_by_section for word in question), most_frequent, ignore_case)
    known = [question for _, question in questions_by_section if rows.has(*question)]
    if not known:
        raise InputError(_nothing_known(analogies.uri, len(questions_by_section), "question", rows.size, ignore_case))
    answer = _answers(rows, vectors, known, report, method)
    # As in gensim, words are compared: so the expected word in another case is right too.
    right = np.array([row in rows.variants(expected) for row, (*_, expected) in zip(answer.tolist(), known)])
    sections, begin = [], 0
    for name, questions in analogies.sections:
        end = begin + sum(rows.has(*question) for question in questions)
        sections.append(SectionResult(name, int(right[begin:end].sum()), end - begin, len(questions) - (end - begin)))
        begin = end
    return AnalogiesResult(sections)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation; equal values share the mean of their ranks."""
    return pearson(average_ranks(x), average_ranks(y))


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Linear correlation; NaN if one side does not vary."""
    x, y = x - np.mean(x), y - np.mean(y)
    length = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    return min(1.0, max(-1.0, float(x @ y) / length)) if length else math.nan


def average_ranks(values: np.ndarray) -> np.ndarray:
    """float64 [n], ranks from 1; equal values share the mean of their ranks."""
    _, which, times = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    return (last - (times - 1) / 2.0)[which]


class _Rows:
    """The rows of the words that occur in questions or pairs; other words are not looked up."""

    def __init__(self, words: Words, needed: Iterable[str], most_frequent: int | None, ignore_case: bool):
        self._form: Callable[[str], str] = str.upper if ignore_case else str
        self.size = len(words) if most_frequent is None else min(len(words), most_frequent)
        self._rows: dict[str, list[int]] = {self._form(word): [] for word in needed}
        for start in range(0, self.size, _WORD_BLOCK):
            block = words[start : min(start + _WORD_BLOCK, self.size)]
            texts = block if isinstance(block, Sequence) else block.to_pylist()
            for row, text in enumerate(texts, start):
                rows = self._rows.get(self._form(text))
                if rows is not None:
                    rows.append(row)

    def has(self, *words: str) -> bool:
        return all(self._rows[self._form(word)] for word in words)

    def first(self, word: str) -> int:
        """The most frequent variant."""
        return self._rows[self._form(word)][0]

    def variants(self, word: str) -> list[int]:
        return self._rows[self._form(word)]


def _answers(
    rows: _Rows, vectors: np.ndarray, questions: list[Question], report: Callable[[int, int], None], method: str
) -> np.ndarray:
    """Row of the best answer to each question, int64 [n]."""
    a, b, c = (
        unit_length(vectors[np.array([rows.first(question[place]) for question in questions])]) for place in range(3)
    )
    ideal = unit_length(b + c - a)
    excluded = np.array(
        [
            (i, row)
            for i, words_of_question in enumerate(questions)
            for word in words_of_question[:3]
            for row in rows.variants(word)
        ]
    )
    best = np.full(len(questions), -np.inf, ideal.dtype)
    answer = np.full(len(questions), -1, np.int64)
    for start in range(0, rows.size, VECTOR_BLOCK):
        end = min(start + VECTOR_BLOCK, rows.size)
        block = np.ascontiguousarray(unit_length(vectors[start:end]).T)
        inside = excluded[(excluded[:, 1] >= start) & (excluded[:, 1] < end)]
        for first in range(0, len(questions), QUESTION_BLOCK):
            place = slice(first, first + QUESTION_BLOCK)
            if method == "3cosadd":
                score = ideal[place] @ block
            else:
                to_a, to_b, to_c = ((1 + side[place] @ block) / 2 for side in (a, b, c))
                score = to_b * to_c / (to_a + _EPSILON)
            begin, stop = np.searchsorted(inside[:, 0], [first, first + QUESTION_BLOCK])
            score[inside[begin:stop, 0] - first, inside[begin:stop, 1] - start] = -np.inf
            column = score.argmax(axis=1)
            highest = score[np.arange(len(column)), column]
            better = highest > best[place]
            best[place][better], answer[place][better] = highest[better], column[better] + start
        report(end, rows.size)
    return answer


def _nothing_known(uri: str, count: int, noun: str, words: int, ignore_case: bool) -> str:
    case = "" if ignore_case else ", or does the case differ"
    return (
        f"{uri}: of {counted(count, noun)} none has all words among the {words:,} most frequent of the"
        f" vocabulary: is it for another language{case}?"
    )
