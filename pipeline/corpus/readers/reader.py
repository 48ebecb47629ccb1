"""Readers: ranges of the corpus -> sentences of tokens, whatever the format of its files.

A reader is made once, when a run begins, and sent to the workers: it holds only
names and numbers. Counting, encoding and the preview see nothing of formats.
"""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import RangeDigests
from pipeline.corpus.files import InputFile
from pipeline.corpus.lines import Block, read_blocks, read_exactly
from pipeline.corpus.prefetch import fetched_ahead
from pipeline.corpus.readers.values import EXPECTED, INTEGERS, TEXT, Portion
from pipeline.corpus.tokenizers.tokenizer import Tokenizer, as_array, open_tokenizer, tokenizer_identity
from pipeline.corpus.unpacking import compression_of, head
from pipeline.corpus.work_units import TextRange, TextSource
from pipeline.errors import InputError
from pipeline.kernels.text import first_invalid
from pipeline.options import Options

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
        self, part: TextRange, dead_letters: DeadLetters, digests: dict[str, str] | None = None
    ) -> Iterator[Portion]:
        """The sentences of a range, in order. A portion's spans are used before the next is asked for.

        Args:
          dead_letters: gets the bad lines or rows.
          digests: gets uri -> content digests of what was read, as `input_digests` keeps them.

        Raises:
          InputError: the file is not what it was when it was listed; the user's tokeniser failed.
        """

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: dict[str, str] | None = None
    ) -> Iterator[Portion]:
        """`read` one range after the other."""
        for part in ranges:
            yield from self.read(part, dead_letters, digests)

    @abc.abstractmethod
    def preview(self, file: InputFile) -> list[list[str]]:
        """The first sentences of a file; bad lines are passed over."""

    def source(self, file: InputFile) -> TextSource | None:
        """The file as something to cut into ranges; None where it has to be unpacked first."""
        return None if compression_of(file) else TextSource(file.uri, file.size, version=file.version)


class LineReader(Reader):
    """Reads a format whose rows are lines, by the bytes of the file."""

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: dict[str, str] | None = None
    ) -> Iterator[Portion]:
        """Small objects of a store are fetched many at once."""
        with contextlib.closing(fetched_ahead(ranges, read_exactly)) as coming:
            yield from super().portions(coming, dead_letters, digests)


@dataclass(frozen=True)
class TextReader(LineReader):
    """Lines of plain text."""

    def read(
        self, part: TextRange, dead_letters: DeadLetters, digests: dict[str, str] | None = None
    ) -> Iterator[Portion]:
        for block in line_blocks(part, self.max_line_bytes, dead_letters, digests):
            yield Portion(block.lines, self.tokenizer.split(block.data, block.locate))

    def preview(self, file: InputFile) -> list[list[str]]:
        return self.tokenizer.sentences(b"\n".join(head_lines(file, HEAD_BYTES, whole=False)))


def line_blocks(
    part: TextRange, max_line_bytes: int, dead_letters: DeadLetters, digests: dict[str, str] | None
) -> Iterator[Block]:
    """`read_blocks`, with the content digests of the range put into `digests`."""
    wanted = digests is not None and not part.origin  # work text is ours, its artefacts have digests
    ranges = RangeDigests(part.start, part.end, part.size) if wanted else None
    yield from read_blocks(part, max_line_bytes, dead_letters, ranges)
    if digests is not None and ranges is not None:
        found = ranges.finish(functools.partial(read_exactly, part.uri))
        if found:
            digests[part.uri] = found


def head_lines(file: InputFile, size: int, whole: bool = True) -> list[bytes]:
    """The good lines among the first `size` bytes of a file's text; unless `whole`, a part of the first will do."""
    text = head(file, size)
    lines = text.split(b"\n")
    if len(text) >= size and (whole or len(lines) > 1):
        lines.pop()  # cut off by the end of what was read
    return [line for line in lines if line and first_invalid(as_array(line), 0, len(line)) == len(line)]


def open_reader(options: Options, files: Sequence[InputFile]) -> Reader:
    """The reader that the options describe; what a field holds is told by the first rows that have it.

    Raises:
      InputError: the field is missing or holds something else; options that do not go together;
        a tokeniser cannot be loaded.
    """
    from pipeline.corpus.readers.json_lines import JsonReader, json_items
    from pipeline.corpus.readers.parquet import ParquetReader, parquet_items

    tokenizer = open_tokenizer(
        options.tokenizer, options.lowercase, options.max_sentence, options.normalize or "", options.stopwords or ""
    )
    for name in ("phrase_threshold", "phrase_discount"):
        if not options.phrases and getattr(options, name) != getattr(Options, name):
            raise InputError(f"--{name}={getattr(options, name)} has no meaning without --phrases=1 or more")
    if options.input_format == "text":
        if options.field is not None:
            raise InputError(f"--field={options.field} needs --input_format=jsonl or parquet")
        return TextReader(tokenizer, options.max_line_bytes)
    if not options.field:
        raise InputError(f"--input_format={options.input_format} needs --field=NAME, the field that holds the text")
    made, items_of_files = {"jsonl": (JsonReader, json_items), "parquet": (ParquetReader, parquet_items)}[
        options.input_format
    ]
    items = items_of_files(files, options.field)
    if items != TEXT:
        _refuse_text_options(options, items)
    if items == INTEGERS and options.phrases:
        raise InputError(f"--phrases joins words, and --field={options.field} is {EXPECTED[items]}: leave it out")
    return made(tokenizer, options.max_line_bytes, options.field, items, options.max_sentence)


def _refuse_text_options(options: Options, items: str) -> None:
    """Items are taken as they are: an option that would change text has no meaning for them."""
    for name in ("tokenizer", "lowercase", "normalize", "stopwords"):
        if getattr(options, name) != getattr(Options, name):
            raise InputError(
                f"--{name} is for text, and --field={options.field} is {EXPECTED[items]}, taken as they are:"
                f" leave --{name} out"
            )


def reader_identity(reader: Reader, options: Options) -> dict[str, Any]:
    """What the tokens depend on beside the input and the options: for stage keys and run.json."""
    if reader.items != TEXT:
        return {"name": "items", "items": reader.items}
    return tokenizer_identity(options.tokenizer, options.lowercase, options.normalize or "", options.stopwords or "")
