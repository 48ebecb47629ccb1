"""The first lines of the corpus as tokens: for the plan of a dry run, and for messages."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.reader import Reader


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
