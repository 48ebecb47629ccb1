"""JSON lines: each line is an object, and one of its fields holds the text or the items."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import FileDigests
from pipeline.corpus.encodings import UTF8, Encoding
from pipeline.corpus.files import InputFile
from pipeline.corpus.lines import TextBlock
from pipeline.corpus.readers.reader import HEAD_BYTES, LineReader, head_lines, line_blocks
from pipeline.corpus.readers.values import EXPECTED, TEXT, Portion, describe, items_of, list_spans, text_spans, wrong
from pipeline.corpus.spans import Spans
from pipeline.corpus.unpacking import head
from pipeline.corpus.work_units import TextRange
from pipeline.errors import InputError
from pipeline.runtime.shown_text import quoted, shown_list

NOT_JSON = "not JSON"
_NO_NUMBER = re.compile(rb"(?<=[\[:,])\s*-?(?:NaN|Infinity)\b")
_NO_FIELD = object()
_EACH_ROW, _EACH_LIST = "jq -c '.[]'", "jq -c '{items: .}'"
"""Commands that make JSON lines of other JSON."""
_LOOKED_AT = (HEAD_BYTES, 1 << 20, 64 << 20)
"""How many bytes of a file are searched for its first whole row; the next number if there is none in them."""
_LONGEST = 16 << 20
"""Bytes of a line that is parsed; a longer one is bad. Python's objects take up to 25 times as much memory."""
_TOGETHER = 1 << 20
"""About how many bytes of lines are parsed at once."""
_MOST_LISTS = 2
"""How many lists may lead to an item, one in the other."""
_FILES, _ROWS = 20, 1000
"""How many files, and rows of each, are looked at to learn what the field holds."""


@dataclass(frozen=True)
class JsonReader(LineReader):
    """One field of JSON lines. Dead letters: invalid JSON, no such field, null, another type; not blank lines.

    A line of more than 16 MiB is too long, whatever `max_line_bytes` allows.
    """

    @classmethod
    def items_in(cls, files: Sequence[InputFile], field: str, encoding: Encoding = UTF8) -> str:
        """What the field holds, by the first row that shows it; the message of an error says what they have."""
        pick = picker(field)
        trouble = ""
        for file in [file for file in files if file.size][:_FILES]:
            lines = _first_lines(file, _LOOKED_AT[1:], encoding)[:_ROWS]
            trouble = trouble or ("" if lines else _array(file, head(file, 16, encoding)))
            for line in lines:
                value = _parsed(line, pick)
                if items := items_of(value):
                    return items
                trouble = trouble or _trouble(file, field, line, value, len(lines) == 1)
        if trouble:
            raise InputError(trouble)
        return TEXT

    def read(
        self, text_range: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        for block in line_blocks(text_range, min(self.max_line_bytes, _LONGEST), dead_letters, digests, self.encoding):
            for position, lines in _together(bytes(block.data).split(b"\n")):
                values, places, good = self._values(block, position, lines, dead_letters)

                def place(row: int, block: TextBlock = block, places: list[int] = places) -> str:
                    return block.locate(places[min(row, len(places) - 1)])

                yield Portion(good, self._spans(values, place))

    def preview(self, file: InputFile) -> list[list[str]]:
        sentences: list[list[str]] = []
        pick = picker(self.field)
        for line in _first_lines(file, _LOOKED_AT, self.encoding):
            value = _parsed(line, pick)
            if wrong(value, self.items) is None:
                for spans in self._spans([value], lambda row: file.uri):
                    sentences += spans.sentences()
        return sentences

    def _values(
        self, block: TextBlock, position: int, lines: list[bytes], dead_letters: DeadLetters
    ) -> tuple[list, list[int], int]:
        """(values of the field, where their lines begin in the block, number of good lines, blank ones too).

        Args:
          position: where the first of the lines begins in the block.
        """
        pick, items, before = picker(self.field), self.items, dead_letters.count
        values: list[Any] = []
        places: list[int] = []
        for line in lines:
            if line and not line.isspace():
                try:
                    value = pick(orjson.loads(line))
                    why = wrong(value, items) if value is not _NO_FIELD else f"no field {self.field}"
                except orjson.JSONDecodeError as error:
                    value, why = None, f"{NOT_JSON}: {_message(error, line)}"
                if why is None:
                    values.append(value)
                    places.append(position)
                else:
                    dead_letters.add(block.text_range.name(), block.place(position), why, line)
            position += len(line) + 1
        return values, places, len(lines) - (dead_letters.count - before)

    def _spans(self, values: list, place: Callable[[int], str]) -> Iterator[Spans]:
        if not values:
            return iter(())
        if self.items == TEXT:
            return text_spans(values, place, self.tokenizer)
        return list_spans(values, self.items, self.max_sentence)


def picker(field: str) -> Callable[[Any], Any]:
    """A function that takes the field out of a JSON value: the field of that name, else "a.b" as field b within a.

    Where a is a list of objects, it is the list of their b: all of them must have it.
    """
    names = field.split(".")

    def pick(row: Any) -> Any:
        if type(row) is not dict:
            return _NO_FIELD
        value = row.get(field, _NO_FIELD)
        return _within(row, names) if value is _NO_FIELD and len(names) > 1 else value

    return pick


def _within(value: Any, names: Sequence[str], lists: int = 0) -> Any:
    """What the names lead to, from object to object; `lists` is the number of lists around it, two at most."""
    for number, name in enumerate(names):
        if type(value) is list and lists < _MOST_LISTS:
            found = [_within(item, names[number:], lists + 1) for item in value]
            return _NO_FIELD if any(item is _NO_FIELD for item in found) else found
        value = value.get(name, _NO_FIELD) if type(value) is dict else _NO_FIELD
    return value


def _first_lines(file: InputFile, sizes: Sequence[int], encoding: Encoding) -> list[bytes]:
    """The whole lines among the first bytes of the file: as many of `sizes` as are needed to find one."""
    lines = next((lines for size in sizes if (lines := head_lines(file, size, encoding))), [])
    return [line for line in lines if len(line) <= _LONGEST]


def _together(lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """(where the first begins, lines): consecutive lines of about _TOGETHER bytes, of a text that ends with a newline
    or in its last line."""
    if lines and not lines[-1]:
        lines.pop()
    position, first, size = 0, 0, 0
    for i, line in enumerate(lines):
        size += len(line) + 1
        if size >= _TOGETHER or i + 1 == len(lines):
            yield position, lines[first : i + 1]
            position, first, size = position + size, i + 1, 0


def _message(error: orjson.JSONDecodeError, line: bytes) -> str:
    """What is wrong with a line; Python's json writes NaN and Infinity, which JSON does not have."""
    written = _NO_NUMBER.search(line)
    return f"JSON has no {written[0].decode().strip()}: write null" if written else error.msg


def _parsed(line: bytes, pick: Callable[[Any], Any]) -> Any:
    try:
        return pick(orjson.loads(line))
    except orjson.JSONDecodeError:
        return _NO_FIELD


def _array(file: InputFile, text: bytes) -> str:
    """The message that a file is one JSON array, if its text begins like one; else ""."""
    is_array = text.lstrip().startswith(b"[")
    return f"{file.uri} is one JSON array: write a row a line by {_EACH_ROW}, and read that" if is_array else ""


def _trouble(file: InputFile, field: str, line: bytes, value: Any, is_alone: bool) -> str:
    """What is wrong with a line, as a message; `is_alone`: there is no other."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if array := _array(file, line):
            return array
        return f"{file.uri} holds no JSON lines: {_message(error, line)} in its first line, {quoted(line[:200], 60)}"
    if type(row) is list and (is_alone or dict in map(type, row)):
        return _array(file, line)
    if type(row) is list:
        return f"{file.uri} holds lists, not objects with a field: write objects by {_EACH_LIST}, and set --field=items"
    if type(row) is not dict:
        return f"{file.uri} holds no objects with a field {field}: the first line is {describe(row)}"
    if value is _NO_FIELD:
        names = shown_list(row) or "no field at all"
        return f"--field={field}: the first rows of {file.uri} do not have it; there are {names}"
    allowed = ", ".join(EXPECTED.values())
    return f"--field={field} holds {describe(value)} in the first rows of {file.uri}; allowed are {allowed}"
