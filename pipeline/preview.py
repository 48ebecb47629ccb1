"""The first lines of the corpus as tokens: for the plan of a dry run, and for messages."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.compressed import head
from pipeline.inputs import InputFile
from pipeline.kernels.text import first_invalid
from pipeline.tokenizers import Tokenizer, as_array

HEAD_BYTES = 64 << 10


def first_sentences(files: Iterable[InputFile], tokenizer: Tokenizer, count: int = 3) -> list[list[str]]:
    """The first sentences that have a token, `count` of them or fewer, from the first bytes of each file.

    Raises:
      InputError: a file cannot be read; the user's tokeniser failed.
    """
    found: list[list[str]] = []
    for file in files:
        if len(found) < count:
            found += tokenizer.sentences(_good_lines(head(file, HEAD_BYTES)))[: count - len(found)]
    return found


def _good_lines(text: bytes) -> bytes:
    lines = text.split(b"\n")
    if len(text) >= HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut off by the end of what was read
    return b"\n".join(
        line for line in lines if line and first_invalid(as_array(line), 0, len(line)) == len(line)
    )
