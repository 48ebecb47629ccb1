"""Files of what people have judged: pairs of words with their similarity, and analogies.

The published sets of word pairs have their columns in many orders. Which columns count is decided by the file alone,
never by the words of a run, and a file that leaves it open is refused: a wrong column gives a number that looks right.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from pipeline.corpus.decompression import BrokenOffError, can_decompress, compression_name, decompress
from pipeline.errors import ArtifactError, InputError
from pipeline.runtime.shown_text import quoted
from pipeline.storage.open_storage import open_storage, split_uri

Question: TypeAlias = tuple[str, str, str, str]
Columns: TypeAlias = tuple[int, int, int]
"""Places of two words and a score in a line, from 0."""

_SEPARATORS = "\t;,|"
"""Tried in this order; if none of them cuts lines into three columns, blanks do."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_COMMA_IN_NUMBER = re.compile(r"[+-]?[0-9]+(,[0-9]+)+(\.[0-9]*)?")
_MARK = re.compile("^\ufeff", re.MULTILINE)
"""A byte-order mark, at the beginning or where files were joined."""
_QUOTED_OR_BARE = re.compile(r'"([^"]*)"|(\S+)')
_SHORTEST_INDEX = 3
"""Lines from which a column 0, 1, 2 or 1, 2, 3 is an index, and no score by chance."""

_NOUNS = (
    *("word", "w", "term", "token", "item", "lemma", "noun", "verb", "adj", "concept", "entity", "object"),
    *("단어", "낱말", "어휘", "単語", "词", "詞", "词语", "wort", "mot", "palabra", "parola", "слово"),
)
_QUALITIES = ("similarity", "sim", "relatedness", "score", "rating", "judgment", "judgement")
_FIRST = frozenset(
    [noun + which for noun in _NOUNS for which in ("1", "a", "one", "first")]
    + [which + noun for noun in _NOUNS for which in ("1st", "first", "첫번째", "첫째")]
    + ["one", "first", "left"]
)
_SECOND = frozenset(
    [noun + which for noun in _NOUNS for which in ("2", "b", "two", "second")]
    + [which + noun for noun in _NOUNS for which in ("2nd", "second", "두번째", "둘째")]
    + ["two", "second", "right"]
)
_SCORES = frozenset(
    [kind + quality for kind in ("", "mean", "avg", "average", "human", "gold") for quality in _QUALITIES]
    + [quality + kind for kind in ("mean", "avg", "average", "score") for quality in (*_QUALITIES, "human")]
    + ["mean", "avg", "average", "human", "gold", "goldstandard", "value", "scores", "ratings", "humanratings"]
    + ["simlex999", "simlex", "simverb3500", "simverb", "wordsim353", "wordsim", "ws353", "men", "rg65", "mc30"]
    + ["유사도", "유사도점수", "유사도평균", "점수", "평균", "평균점수", "관련도", "연관도"]
    + ["類似度", "相似度", "得分", "评分", "ähnlichkeit", "bewertung", "similitud", "similarité", "сходство"]
)
"""Names in a header, without blanks and marks, in small letters."""
_PARTS_OF_SPEECH = frozenset(
    [
        *("n", "v", "a", "r", "s", "j", "adj", "adv", "noun", "verb", "adjective", "adverb", "propn", "nn", "nns"),
        *("nnp", "vb", "vbd", "vbg", "vbn", "vbp", "vbz", "jj", "rb", "명사", "동사", "형용사", "부사"),
    ]
)
_MARKED = re.compile(r".-[nvjar]")
"""Words of MEN's lemma form, sun-n."""


@dataclasses.dataclass(frozen=True)
class WordPairs:
    """Pairs of words, and how similar people find them."""

    uri: str
    pairs: list[tuple[str, str]]
    similarity: np.ndarray
    """float64 [n]"""
    invalid: int = 0
    """lines that are left out: they are neither a pair, nor blank, nor a comment, nor a header with known names"""
    first_invalid: str = ""
    """the first of these lines, with its number"""
    columns: Columns = (0, 1, 2)

    @property
    def hint(self) -> str:
        """What may be the reason if no word is known; or ""."""
        marked = sum(bool(_MARKED.fullmatch(word[-3:])) for pair in self.pairs for word in pair)
        if marked > len(self.pairs):
            return " Its words have marks of a part of speech, as in MEN's lemma form: take the form without them."
        return ""


@dataclasses.dataclass(frozen=True)
class Analogies:
    """Questions by section: a is to b as c is to the expected word."""

    uri: str
    sections: list[tuple[str, list[Question]]]
    """(name, questions (a, b, c, expected)), in the order of the file."""
    invalid: int = 0
    """lines that are left out, since they are not four words"""
    first_invalid: str = ""


def lines_left_out(count: int, first: str) -> str:
    """How many lines of a file are left out, for people; "" for none."""
    return f"{count:,} line{'s'[: count != 1]} left out (the first: {first})" if count else ""


@dataclasses.dataclass(frozen=True)
class _Line:
    number: int
    text: str
    cells: list[str]
    """without empty ones at the end"""

    def cell(self, place: int) -> str:
        return self.cells[place] if place < len(self.cells) else ""

    @property
    def numbers(self) -> list[int]:
        return [place for place, cell in enumerate(self.cells) if _NUMBER.fullmatch(cell)]


def read_pairs(uri: str, columns: Columns | None = None) -> WordPairs:
    """Word pairs of a file, separated by tabs, semicolons, commas, bars or blanks.

    Without `columns`, a header with known names says where the words and the score are. Else a line has two words, a
    part of speech or not, the score, and what else there may be behind it.

    Args:
      columns: where the two words and the score are.

    Raises:
      InputError: the file is missing, is not UTF-8, has no pair, or does not show which column is the score.
    """
    comments, texts = _lines(uri)
    separator = _separator([text for _, text in texts])
    lines = [_Line(number, text.strip(), _cells(text, separator)) for number, text in texts]
    table = _Table(uri, lines)
    first = next((place for place, line in enumerate(lines) if len(line.cells) > 2), 0)  # a title may stand above
    named = _header(lines[first].cells) if lines else None
    below = _Table(uri, lines[:first] + lines[first + 1 :])
    if columns:
        listed = ", ".join(str(place + 1) for place in columns)
        expected = f"line with two words and a number in the columns {listed} of --pairs_columns"
        return (below if named else table).pairs(columns, expected)
    if named:
        return below.pairs_below(named, len(lines[first].cells))
    if lines and comments:  # the header may be a comment
        cells = _cells(comments[-1].lstrip("#").lstrip(" "), separator)
        named = _header(cells)
        if named and len(cells) == len(lines[0].cells):
            return table.pairs_below(named, len(cells))
    return _without_header(table, separator)


def read_analogies(uri: str) -> Analogies:
    """Analogies of a file in the form of questions-words.txt: four words a line, ": name" begins a section.

    Raises:
      InputError: the file is missing, is not UTF-8, or has no such line; or its first column counts the lines.
    """
    sections: list[tuple[str, list[Question]]] = []
    left_out = []
    _, texts = _lines(uri)
    for number, text in texts:
        line = _Line(number, text.strip(), text.split())
        if line.text.startswith(":"):
            sections.append((line.text.lstrip(": ").strip(), []))
            continue
        if not sections:
            sections.append(("", []))
        match line.cells:
            case [a, b, c, expected]:
                sections[-1][1].append((a, b, c, expected))
            case _:
                left_out.append(line)
    questions = [question for _, section in sections for question in section]
    if not questions:
        raise InputError(_nothing_found(uri, texts, "analogies: a line is four words, blank-separated"))
    if _counts([question[0] for question in questions], _SHORTEST_INDEX):
        raise InputError(f"{uri}: the first of the four words of a line counts the lines: take that column out")
    return Analogies(uri, sections, len(left_out), _first_of(left_out))


@dataclasses.dataclass(frozen=True)
class _Table:
    uri: str
    lines: list[_Line]

    def pairs(self, columns: Columns, expected: str = "word pairs: a line is two words and a number") -> WordPairs:
        """The pairs in these columns; lines without a number in that of the score are left out."""
        pairs, similarity, left_out = [], [], []
        for line in self.lines:
            first, second, score = map(line.cell, columns)
            if _COMMA_IN_NUMBER.fullmatch(score):
                raise self.refusal(line, _about_comma(score))
            if first and second and _NUMBER.fullmatch(score) and math.isfinite(float(score)):
                pairs.append((first, second))
                similarity.append(float(score))
            else:
                left_out.append(line)
        if not pairs:
            texts = [(line.number, line.text) for line in self.lines]
            raise InputError(_nothing_found(self.uri, texts, expected))
        invalid, first_invalid = len(left_out), _first_of(left_out)
        return WordPairs(self.uri, pairs, np.array(similarity), invalid, first_invalid, columns)

    def pairs_below(self, columns: Columns, width: int) -> WordPairs:
        """The pairs below a header of so many columns."""
        for line in self.lines:
            if len(line.cells) > width:
                why = f"it has {len(line.cells)} columns, and the header has {width}; a decimal comma must be a point"
                raise self.refusal(line, f"{why}; {self.remedy(line)}")
        if self.is_index(columns[2], starts=(1,)):
            raise self.refusal(self.lines[0], f"{_counting(columns[2])}; {self.remedy(self.lines[0])}")
        return self.pairs(columns)

    def is_index(self, place: int, fewest: int = _SHORTEST_INDEX, starts: Sequence[int] | None = (0, 1)) -> bool:
        """Whether the column counts the lines from one of `starts` (None: from anywhere), and there are so many."""
        cells = [line.cell(place) for line in self.lines]
        return _counts([cell for cell in cells if _NUMBER.fullmatch(cell)], fewest, starts)

    def is_index_beside_numbers(self, place: int) -> bool:
        """Whether the column counts the lines, where there are other numbers that may be the score.

        A lone column 0, 1, 2, … may be a score. Beside others it is an index, as short as it is, and so is the
        100, 101, 102, … of a part of a data set.
        """
        return self.is_index(place, 2) or self.is_index(place, starts=None)

    def remedy(self, line: _Line) -> str:
        """How to say which columns count: the first number behind two words, and the words before it."""
        texts = [place for place, cell in enumerate(line.cells) if cell and place not in line.numbers]
        long = [place for place in texts if len(line.cells[place]) > 1 and not _is_part_of_speech(line.cells[place])]
        words = long if len(long) > 1 else texts
        scores = [place for place in line.numbers if not self.is_index_beside_numbers(place)]
        columns = [2, 3, 4]
        if len(words) > 1 and scores:
            score = next((place for place in scores if place > words[1]), scores[0])
            before = [place for place in words if place < score]
            columns = [*(before[-2:] if len(before) > 1 else words[:2]), score]
        listed = ",".join(str(place + 1) for place in columns)
        return f"name the columns of the two words and the score, like --pairs_columns={listed}"

    def refusal(self, line: _Line, why: str) -> InputError:
        return InputError(f"{self.uri}: line {line.number:,} is {quoted(line.text, 80)}: {why}")


def _without_header(table: _Table, separator: str) -> WordPairs:
    """Pairs of lines of two words, a part of speech or not, and the score; InputError if a number is elsewhere."""
    for line in table.lines:
        for cell in itertools.takewhile(lambda cell: not _NUMBER.fullmatch(cell), line.cells[2:4]):
            if _COMMA_IN_NUMBER.fullmatch(cell):
                raise table.refusal(line, _about_comma(cell))
    rows = [line for line in table.lines if line.numbers]
    header = table.lines[0] if table.lines and _may_be_header(table.lines[0], separator) else None
    rows = [line for line in rows if line is not header]
    score = 3 if rows and all(_fits(line, 3, separator) for line in rows) else 2
    for line in rows:
        if not _fits(line, score, separator):
            raise table.refusal(line, f"this is not two words and a number; {table.remedy(line)}")
    several = [line for line in rows if line.numbers[-1] > score]
    is_index = table.is_index_beside_numbers(score) if several else table.is_index(score, starts=(1,))
    indices = [place for place in (0, 1) if table.is_index(place)] + [score] * is_index
    if indices:
        raise table.refusal(rows[0], f"{_counting(indices[0])}; {table.remedy(rows[0])}")
    if several and header:
        why = "the header does not name the score, and there are several numbers"
        raise table.refusal(header, f"{why}; {table.remedy(several[0])}")
    if separator == "," and several and not any("." in cell for line in rows for cell in line.cells[score:]):
        why = "if this is a decimal comma, write a point; if these are several numbers"
        raise table.refusal(several[0], f"{why}, {table.remedy(several[0])}")
    return table.pairs((0, 1, score))


def _fits(line: _Line, score: int, separator: str) -> bool:
    """Whether the line is two words, a part of speech if the score comes fourth, the score, numbers, and other text."""
    words, behind = line.cells[:2], line.cells[score + 1 :]
    are_numbers = [not cell or bool(_NUMBER.fullmatch(cell)) for cell in behind]
    return (
        all(words)
        and not (separator == " " and any(word[-1] in ",;|:" for word in words))
        and (score == 2 or _is_part_of_speech(line.cell(2)))
        and bool(_NUMBER.fullmatch(line.cell(score)))
        and are_numbers == sorted(are_numbers, reverse=True)
    )


def _is_part_of_speech(cell: str) -> bool:
    return cell.strip(".").casefold() in _PARTS_OF_SPEECH


def _may_be_header(line: _Line, separator: str) -> bool:
    """Whether the first line may be a header with unknown names: it is no pair, and does not end with a number."""
    is_pair = _fits(line, 2, separator) or _fits(line, 3, separator)
    return len(line.cells) > 2 and not is_pair and len(line.cells) - 1 not in line.numbers


def _about_comma(number: str) -> str:
    if number.count(",") == 1 and "." not in number:
        return f"{number} has a decimal comma: write a point"
    return f"{number} has commas between its digits: leave them out"


def _counting(place: int) -> str:
    return f"column {place + 1} counts the lines"


def _counts(cells: Sequence[str], fewest: int, starts: Sequence[int] | None = (0, 1)) -> bool:
    """Whether these are 0, 1, 2, … or 1, 2, 3, …, as `starts` allows (None: from anywhere), and at least so many."""
    if len(cells) < fewest or not all(map(_NUMBER.fullmatch, cells)):
        return False
    numbers = list(map(float, cells))
    begins = numbers[0].is_integer() if starts is None else numbers[0] in starts
    return begins and numbers == [numbers[0] + place for place in range(len(numbers))]


def _header(cells: Sequence[str]) -> Columns | None:
    """Where a header with known names has two words and one score; None for anything else."""
    names = [re.sub(r"[\W_]+", "", cell).casefold() for cell in cells]
    if names.count("word") == 2:
        names[names.index("word")] = "word1"
        names[names.index("word")] = "word2"
    places = [[place for place, name in enumerate(names) if name in known] for known in (_FIRST, _SECOND, _SCORES)]
    if any(len(found) != 1 for found in places):
        return None
    (first,), (second,), (score,) = places
    return first, second, score


def _lines(uri: str) -> tuple[list[str], list[tuple[int, str]]]:
    """(comments before the first other line, (number, text) of lines that are neither blank nor a comment)."""
    root, path = split_uri(uri)
    try:
        data = open_storage(root).read(path)
    except ArtifactError as error:
        gone = error.problem.endswith("does not exist")
        raise InputError(f"{uri} does not exist" if gone else str(error)) from error
    name = compression_name(data[:16])
    if can_decompress(name):
        try:
            data = b"".join(decompress(name, [data]))
        except BrokenOffError as error:
            raise InputError(f"{uri} {error}") from error
    try:
        text = _MARK.sub("", data.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{uri} is not UTF-8 text at byte {error.start:,}: convert it first") from None
    comments: list[str] = []
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if line.strip().startswith("#"):
            comments += [line.strip()] if not lines else []
        elif line.strip():
            lines.append((number, line))
    return comments, lines


def _separator(lines: Sequence[str]) -> str:
    """What cuts at least half of the lines into three columns or more: one of _SEPARATORS, else a blank."""
    for separator in _SEPARATORS:
        if 2 * sum(len(_cells(line, separator)) >= 3 for line in lines) >= max(1, len(lines)):
            return separator
    return " "


def _cells(line: str, separator: str) -> list[str]:
    """The columns of a line, without quotes and without empty ones at the end."""
    if separator == " ":
        cells = [quoted_text or bare for quoted_text, bare in _QUOTED_OR_BARE.findall(line)]
    else:
        cells = line.split(separator)
        if '"' in line:
            with contextlib.suppress(csv.Error):  # of what is too long for it
                cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    stripped = [cell.strip() for cell in cells]
    while stripped and not stripped[-1]:
        stripped.pop()
    return stripped


def _first_of(lines: Sequence[_Line]) -> str:
    return f"line {lines[0].number:,}, {quoted(lines[0].text, 60)}" if lines else ""


def _nothing_found(uri: str, lines: Sequence[tuple[int, str]], expected: str) -> str:
    if not lines:
        return f"{uri} holds no {expected}; it has no line, or only blank ones and comments"
    return f"{uri} holds no {expected}; the first line is {quoted(lines[0][1].strip(), 60)}"
