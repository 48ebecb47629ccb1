"""Stop words: tokens that are left out before anything is counted."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus.files import read_option_file, split_names
from pipeline.corpus.spans import Locate, Spans
from pipeline.corpus.tokenizers.tokenizer import Tokenizer
from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer
from pipeline.corpus.word_table import WordTable
from pipeline.errors import InputError


@dataclass(frozen=True)
class StopwordsTokenizer(Tokenizer):
    """The tokens of another tokeniser without some words. Sentences are what remains."""

    inner: Tokenizer = field(default_factory=WhitespaceTokenizer)
    words: tuple[str, ...] = ()
    digest: str = ""
    """digest of the file of stop words"""

    def own_identity(self) -> dict[str, Any]:
        return {**self.inner.own_identity(), "stopwords": self.digest}

    @property
    def users_function(self) -> str:
        return self.inner.users_function

    def split(self, text: np.ndarray, locate: Locate = "byte {}".format) -> Iterator[Spans]:
        table = _table(self.words)
        for spans in self.inner.split(text, locate):
            kept = table.without(spans)
            if len(kept.start):
                yield kept


@functools.lru_cache(maxsize=4)
def _table(words: tuple[str, ...]) -> WordTable:
    table = WordTable()
    table.add(pa.array(words, pa.string()), np.ones(len(words), np.int64))
    return table


def without_stopwords(tokenizer: Tokenizer, uris: str) -> StopwordsTokenizer:
    """The tokeniser without the words of some files, one a line; they are lower-cased and normalised as the text is.

    Args:
      uris: the files, with commas between them.

    Raises:
      InputError: a file cannot be read, is not UTF-8, has no word, or has all its words on one line.
    """
    files = split_names(uris)
    contents = [read_option_file("stopwords", uri) for uri in files]
    lines = [line for uri, data in zip(files, contents) for line in _lines(uri, data)]
    words = tuple(dict.fromkeys(word for word in map(tokenizer.prepared_line, lines) if word))
    form = (tokenizer.lowercase, tokenizer.max_sentence, tokenizer.normal_form)
    return StopwordsTokenizer(*form, tokenizer, words, hashlib.sha256(b"\n".join(contents)).hexdigest()[:32])


def _lines(uri: str, data: bytes) -> list[str]:
    """The lines of a file that are not empty."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"--stopwords={uri} is not UTF-8 text at byte {error.start:,}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"--stopwords={uri} has no word: write one a line")
    if len(lines) == 1 and "," in lines[0].strip(","):
        raise InputError(f"--stopwords={uri} has one line, with commas: write one word a line")
    return lines
