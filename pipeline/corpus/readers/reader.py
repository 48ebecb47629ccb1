"""Readers: byte ranges of the corpus -> sentences of tokens, for any format of files.

A reader is made once, when a run begins, and sent to the workers: it holds only names and numbers. Counting, encoding
  and
the preview do not know formats.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import Change, FileDigests, RangeDigests, change_of_ranges
from pipeline.corpus.encodings import UTF8, Encoding
from pipeline.corpus.files import InputFile
from pipeline.corpus.lines import TextBlock, read_blocks, read_exactly
from pipeline.corpus.prefetch import fetched_ahead
from pipeline.corpus.readers.values import TEXT, Portion
from pipeline.corpus.tokenizers.tokenizer import Tokenizer
from pipeline.corpus.unpacking import AT_LINES, LineEnds, compression_of, head
from pipeline.corpus.work_units import TextRange, TextSource
from pipeline.options import Options

HEAD_BYTES = 64 << 10
"""Bytes of a file that a preview reads."""


@dataclass(frozen=True)
class Reader(abc.ABC):
    """Reads one format. What other packages have to know of the format stands here."""

    has_fields: ClassVar[bool] = True
    """whether rows have fields, of which --field names one"""
    offset_unit: ClassVar[str] = "byte"
    """what the offset of a dead letter counts"""
    can_be_compressed: ClassVar[bool] = True
    """whether files may be compressed as a whole, and are unpacked first"""
    has_columns: ClassVar[bool] = False
    """whether content digests are of a column, not of ranges of the file"""
    leaves_digests: ClassVar[bool] = True
    """whether each file that is not empty leaves content digests when it is read"""

    tokenizer: Tokenizer
    max_line_bytes: int
    """longer lines, or texts of rows, become dead letters"""
    field: str = ""
    """the field that holds text or items, for formats with fields"""
    items: str = TEXT
    """what a row holds: TEXT, STRINGS or INTEGERS (see `values`)"""
    max_sentence: int = 1000
    """longer lists are split"""
    encoding: Encoding = UTF8
    """of the files"""

    @abc.abstractmethod
    def read(
        self, text_range: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        """The sentences of a byte range, in order. Use the spans of a portion before you take the next.

        Args:
          dead_letters: gets the bad lines or rows.
          digests: gets the content digests of what was read.

        Raises:
          InputError: the file has changed since it was listed; the user's tokeniser failed.
        """

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        """`read` for one byte range after the other."""
        for text_range in ranges:
            yield from self.read(text_range, dead_letters, digests)

    @abc.abstractmethod
    def preview(self, file: InputFile) -> list[list[str]]:
        """The first sentences of a file, without bad lines."""

    @classmethod
    def opened(cls, files: Sequence[InputFile], options: Options, tokenizer: Tokenizer) -> Reader:
        """The reader that the options describe; it looks at the first rows of the files.

        Raises:
          InputError: the field is missing, or holds something else.
        """
        field, encoding = options.field or "", Encoding(options.encoding or "")
        items = cls.items_in(files, field, encoding)
        return cls(tokenizer, options.max_line_bytes, field, items, options.max_sentence, encoding)

    @classmethod
    def items_in(cls, files: Sequence[InputFile], field: str, encoding: Encoding = UTF8) -> str:
        """What a row holds in these files: TEXT, STRINGS or INTEGERS. Formats with fields look at the first rows.

        Raises:
          InputError: the field is missing, or holds something else.
        """
        return TEXT

    @classmethod
    def change(cls, uri: str, column: str | None, digests: Mapping[int, str], size: int) -> Change:
        """Reads a file again, and compares it with the content digests that counting has left.

        Args:
          column: that was read, as the digests say.
          digests: number of the part of the file -> its digest.
          size: of the file when the run began.
        """
        return change_of_ranges(uri, digests, size)

    def hint(self, file: InputFile) -> str:
        """What a file looks like, if it looks like another format; else ""."""
        return ""

    def identity(self) -> dict[str, Any]:
        """What the tokens depend on besides input and options, for stage keys and run.json."""
        of_tokens = self.tokenizer.identity() if self.items == TEXT else {"name": "items", "items": self.items}
        return {**of_tokens, **self.encoding.identity()}

    def source(self, file: InputFile) -> TextSource | None:
        """The file as a text that can be cut into byte ranges; None if it has to be unpacked first."""
        is_text = not compression_of(file) and not (self.encoding.is_wide and file.size)
        return TextSource(file.uri, file.size, version=file.version) if is_text else None

    def ends(self) -> LineEnds:
        """Where pieces of unpacked text may end."""
        return AT_LINES

    def cuts(self, file: InputFile) -> tuple[int, ...]:
        """Where a file may be cut, by a pass over it; asked for only if its `source` cannot be cut everywhere."""
        return ()


@dataclass(frozen=True)
class WrappingReader(Reader):
    """A reader that changes how sentences are read, or which: all that a format says is what another reader says."""

    inner: Reader = dataclasses.field(kw_only=True)

    @classmethod
    def around(cls, inner: Reader, **own: Any) -> Self:
        """The reader around another one, with fields of its own."""
        common = {each.name: getattr(inner, each.name) for each in dataclasses.fields(Reader)}
        return cls(**common, inner=inner, **own)

    def preview(self, file: InputFile) -> list[list[str]]:
        return self.inner.preview(file)

    def hint(self, file: InputFile) -> str:
        return self.inner.hint(file)

    def identity(self) -> dict[str, Any]:
        return self.inner.identity()

    def source(self, file: InputFile) -> TextSource | None:
        return self.inner.source(file)

    def ends(self) -> LineEnds:
        return self.inner.ends()

    def cuts(self, file: InputFile) -> tuple[int, ...]:
        return self.inner.cuts(file)


class LineReader(Reader):
    """Reads a format whose rows are lines."""

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        """Like `Reader.portions`; small objects of a store are fetched in parallel."""
        with contextlib.closing(fetched_ahead(ranges, read_exactly)) as coming:
            yield from super().portions(coming, dead_letters, digests)


def line_blocks(
    text_range: TextRange,
    max_line_bytes: int,
    dead_letters: DeadLetters,
    digests: list[FileDigests] | None,
    encoding: Encoding = UTF8,
) -> Iterator[TextBlock]:
    """`read_blocks`; the content digests of the range are appended to `digests`."""
    with range_digests(text_range, digests) as ranges:
        yield from read_blocks(text_range, max_line_bytes, dead_letters, ranges, encoding=encoding)


@contextlib.contextmanager
def range_digests(text_range: TextRange, digests: list[FileDigests] | None) -> Iterator[RangeDigests | None]:
    """Digests for what is read of the range while open; they are appended to `digests` at the end.

    None for pieces of work text: they are artefacts, which have digests.
    """
    is_input_file = digests is not None and not text_range.origin
    ranges = RangeDigests(text_range.start, text_range.end, text_range.size) if is_input_file else None
    yield ranges
    if digests is not None and ranges is not None:
        file_digests = ranges.finish(text_range.uri, functools.partial(read_exactly, text_range.uri))
        digests += [file_digests] if file_digests else []


def head_lines(file: InputFile, size: int, encoding: Encoding, whole: bool = True) -> list[bytes]:
    """The good lines among the first `size` bytes of a file's text, as UTF-8.

    Without `whole`, the first line may be cut.
    """
    text = head(file, size, encoding)
    lines = text.split(b"\n")
    if len(text) >= size and (whole or len(lines) > 1):
        lines.pop()  # incomplete: the bytes read end in it
    return [utf8 for line in lines if line and (utf8 := encoding.utf8(line)) is not None]


def first_sentences(files: Iterable[InputFile], reader: Reader, count: int = 3) -> list[list[str]]:
    """The first sentences of the files, at most `count`, from the first bytes of each file.

    Raises:
      InputError: a file cannot be read; the user's tokeniser failed.
    """
    sentences: list[list[str]] = []
    for file in files:
        if len(sentences) >= count:
            break
        sentences += reader.preview(file)[: count - len(sentences)]
    return sentences
