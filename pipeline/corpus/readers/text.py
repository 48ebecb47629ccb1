"""Lines of plain text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import FileDigests
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.hints import format_hint
from pipeline.corpus.readers.reader import HEAD_BYTES, LineReader, head_lines, line_blocks
from pipeline.corpus.readers.values import Portion
from pipeline.corpus.work_units import TextRange


@dataclass(frozen=True)
class TextReader(LineReader):
    """Lines of plain text."""

    has_fields = False

    def hint(self, file: InputFile) -> str:
        is_split = self.tokenizer.joins_lines
        return format_hint(head_lines(file, HEAD_BYTES, self.encoding, whole=False), is_split)

    def read(
        self, text_range: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        for block in line_blocks(text_range, self.max_line_bytes, dead_letters, digests, self.encoding):
            yield Portion(block.lines, self.tokenizer.split(block.data, block.locate))

    def preview(self, file: InputFile) -> list[list[str]]:
        return self.tokenizer.sentences(b"\n".join(head_lines(file, HEAD_BYTES, self.encoding, whole=False)))
