"""Evaluates word vectors: correlation with human judgements of similarity, and analogies.

The numbers are those of gensim's `KeyedVectors.evaluate_word_pairs` and
`evaluate_word_analogies`, whose defaults are the defaults here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.model.neighbors import unit_length
from pipeline.runtime.shown_text import quoted
from pipeline.storage.open_storage import open_storage, split_uri

MOST_FREQUENT = 300_000
"""Default number of words that take part."""
VECTOR_BLOCK = 8192
"""Vectors compared at a time ..."""
QUESTION_BLOCK = 1024
"""... with this many questions: 32 MiB of float32 similarities."""
_WORD_BLOCK = 65536

Words: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray
Question: TypeAlias = tuple[str, str, str, str]


@dataclasses.dataclass(frozen=True)
class WordPairs:
    """Pairs of words, and how similar people find them."""

    uri: str
    pairs: list[tuple[str, str]]
    similarity: np.ndarray
    """float64 [n]"""
    invalid: int
    """lines that are neither a pair, nor blank, nor a comment, for example a header"""


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
class Analogies:
    """Questions by section: a is to b as c is to the expected word."""

    uri: str
    sections: list[tuple[str, list[Question]]]
    """(name, questions (a, b, c, expected)), in the order of the file."""
    invalid: int


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


def read_pairs(uri: str) -> WordPairs:
    """Word pairs of a file: two words and a number on each line, separated by tabs, commas or blanks.

    A header, a byte-order mark and lines that begin with # are ignored. If there are more columns, the first number
    after the words counts (SimLex-999, Rare Words).

    Raises:
      InputError: the file is missing, is not UTF-8, or has no such line.
    """
    pairs, similarity, invalid = [], [], 0
    lines = list(_lines(uri))
    for line in lines:
        columns = _columns(line)
        number = next(filter(math.isfinite, map(_number, columns[2:])), None)
        if number is None or not all(columns[:2]):
            invalid += 1
            continue
        pairs.append((columns[0], columns[1]))
        similarity.append(number)
    if not pairs:
        expected = "word pairs: a line is two words and a number, tab-, comma- or blank-separated"
        raise InputError(_nothing_found(uri, lines, expected))
    return WordPairs(uri, pairs, np.array(similarity), invalid)


def read_analogies(uri: str) -> Analogies:
    """Analogies of a file in the form of questions-words.txt: four words a line, ": name" begins a section.

    Raises:
      InputError: the file is missing, is not UTF-8, or has no such line.
    """
    sections: list[tuple[str, list[Question]]] = []
    invalid = 0
    lines = list(_lines(uri))
    for line in lines:
        if line.startswith(":"):
            sections.append((line.lstrip(": ").strip(), []))
            continue
        if not sections:
            sections.append(("", []))
        match line.split():
            case [a, b, c, expected]:
                sections[-1][1].append((a, b, c, expected))
            case _:
                invalid += 1
    if not any(questions for _, questions in sections):
        raise InputError(_nothing_found(uri, lines, "analogies: a line is four words, blank-separated"))
    return Analogies(uri, sections, invalid)


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
        raise InputError(_nothing_known(judged.uri, len(judged.pairs), "pairs", rows.size, ignore_case))
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
) -> AnalogiesResult:
    """The share of questions whose answer b - a + c, by cosine, is the expected word (3CosAdd).

    The words of the question, and with `ignore_case` their variants, do not count as answers (Levy and Goldberg 2014).
    Memory: some blocks, and the vectors of the questions.

    Args:
      words, vectors, most_frequent, ignore_case: as in `evaluate_pairs`.
      report: called with (vectors compared, vectors in all).

    Raises:
      InputError: no question has all words in the vocabulary.
    """
    questions_by_section = [(name, question) for name, questions in analogies.sections for question in questions]
    rows = _Rows(words, (word for _, question in questions_by_section for word in question), most_frequent, ignore_case)
    known = [question for _, question in questions_by_section if rows.has(*question)]
    if not known:
        raise InputError(_nothing_known(analogies.uri, len(questions_by_section), "questions", rows.size, ignore_case))
    answer = _answers(rows, vectors, known, report)
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
    rows: _Rows, vectors: np.ndarray, questions: list[Question], report: Callable[[int, int], None]
) -> np.ndarray:
    """Row of the best answer to each question, int64 [n]."""
    a, b, c = (np.array([rows.first(question[place]) for question in questions]) for place in range(3))
    ideal = unit_length(unit_length(vectors[b]) + unit_length(vectors[c]) - unit_length(vectors[a]))
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
            cosine = ideal[place] @ block
            begin, stop = np.searchsorted(inside[:, 0], [first, first + QUESTION_BLOCK])
            cosine[inside[begin:stop, 0] - first, inside[begin:stop, 1] - start] = -np.inf
            column = cosine.argmax(axis=1)
            highest = cosine[np.arange(len(column)), column]
            better = highest > best[place]
            best[place][better], answer[place][better] = highest[better], column[better] + start
        report(end, rows.size)
    return answer


def _lines(uri: str) -> Iterator[str]:
    """Stripped lines that are neither blank nor a comment."""
    root, path = split_uri(uri)
    data = open_storage(root).find(path)
    if data is None:
        raise InputError(f"{uri} does not exist")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{uri} is not UTF-8 text at byte {error.start:,}: convert it first") from None
    return (line.strip() for line in text.split("\n") if line.strip() and not line.startswith("#"))


def _columns(line: str) -> list[str]:
    """Splits at tabs if there are any, else at commas, else at blanks."""
    separator = "\t" if "\t" in line else "," if "," in line else None
    return [column.strip() for column in line.split(separator)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _nothing_found(uri: str, lines: list[str], expected: str) -> str:
    first_line = f"the first line is {quoted(lines[0], 60)}" if lines else "the file is empty"
    return f"{uri} holds no {expected}; {first_line}"


def _nothing_known(uri: str, count: int, kind: str, words: int, ignore_case: bool) -> str:
    case = "" if ignore_case else ", or does the case differ"
    return (
        f"{uri}: none of its {count:,} {kind} has all words among the {words:,} most frequent of the"
        f" vocabulary: is it for another language{case}?"
    )
