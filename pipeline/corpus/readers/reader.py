"""Readers: ranges of the corpus -> sentences of tokens, whatever the format of its files.

A reader is made once, when a run begins, and sent to the workers: it holds only
names and numbers. Counting, encoding and the preview see nothing of formats.
"""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import FileDigests, RangeDigests
from pipeline.corpus.files import InputFile
from pipeline.corpus.lines import Block, read_blocks, read_exactly
from pipeline.corpus.prefetch import fetched_ahead
from pipeline.corpus.readers.values import TEXT, Portion
from pipeline.corpus.spans import as_array
from pipeline.corpus.tokenizers.tokenizer import Tokenizer
from pipeline.corpus.unpacking import compression_of, head
from pipeline.corpus.work_units import TextRange, TextSource
from pipeline.kernels.text import first_invalid

HEAD_BYTES = 64 << 10
"""What a preview reads of a file."""


@dataclass(frozen=True)
class Reader(abc.ABC):
    """Reads one format."""

    tokenizer: Tokenizer
    max_line_bytes: int
    """Longer lines, or texts of rows, are dead letters."""
    field: str = ""
    """What holds the text or the items, where rows have fields."""
    items: str = TEXT
    """What a row holds: text to tokenise, or a list (see `fields`)."""
    max_sentence: int = 1000
    """Longer lists are split."""

    @abc.abstractmethod
    def read(
        self, part: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        """The sentences of a range, in order. A portion's spans are used before the next is asked for.

        Args:
          dead_letters: gets the bad lines or rows.
          digests: gets the content digests of what was read.

        Raises:
          InputError: the file is not what it was when it was listed; the user's tokeniser failed.
        """

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        """`read` one range after the other."""
        for part in ranges:
            yield from self.read(part, dead_letters, digests)

    @abc.abstractmethod
    def preview(self, file: InputFile) -> list[list[str]]:
        """The first sentences of a file; bad lines are passed over."""

    def identity(self) -> dict[str, Any]:
        """What the tokens depend on beside the input and the options: for stage keys and run.json."""
        return self.tokenizer.identity() if self.items == TEXT else {"name": "items", "items": self.items}

    def source(self, file: InputFile) -> TextSource | None:
        """The file as something to cut into ranges; None if it has to be unpacked first."""
        return None if compression_of(file) else TextSource(file.uri, file.size, version=file.version)


class LineReader(Reader):
    """Reads a format whose rows are lines, by the bytes of the file."""

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        """Small objects of a store are fetched many at once."""
        with contextlib.closing(fetched_ahead(ranges, read_exactly)) as coming:
            yield from super().portions(coming, dead_letters, digests)


def line_blocks(
    part: TextRange, max_line_bytes: int, dead_letters: DeadLetters, digests: list[FileDigests] | None
) -> Iterator[Block]:
    """`read_blocks`, with the content digests of the range put into `digests`."""
    wanted = digests is not None and not part.origin  # work text is ours, its artefacts have digests
    ranges = RangeDigests(part.start, part.end, part.size) if wanted else None
    yield from read_blocks(part, max_line_bytes, dead_letters, ranges)
    if digests is not None and ranges is not None:
        found = ranges.finish(part.uri, functools.partial(read_exactly, part.uri))
        digests += [found] if found else []


def head_lines(file: InputFile, size: int, whole: bool = True) -> list[bytes]:
    """The good lines among the first `size` bytes of a file's text; unless `whole`, a part of the first will do."""
    text = head(file, size)
    lines = text.split(b"\n")
    if len(text) >= size and (whole or len(lines) > 1):
        lines.pop()  # cut off by the end of what was read
    return [line for line in lines if line and first_invalid(as_array(line), 0, len(line)) == len(line)]


def first_sentences(files: Iterable[InputFile], reader: Reader, count: int = 3) -> list[list[str]]:
    """The first sentences that have a token, `count` of them or fewer, from the first bytes of each file.

    Raises:
      InputError: a file cannot be read; the user's tokeniser failed.
    """
    found: list[list[str]] = []
    for file in files:
        if len(found) >= count:
            break
        found += reader.preview(file)[: count - len(found)]
    return found
