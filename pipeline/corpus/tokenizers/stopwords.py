"""Stop words: tokens that are left out before anything is counted."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.corpus.files import read_option_file, split_names
from pipeline.corpus.spans import Locate, Spans
from pipeline.corpus.tokenizers.tokenizer import LineTokenizer, Tokenizer
from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer
from pipeline.corpus.word_table import WordTable
from pipeline.errors import InputError
from pipeline.runtime.messages import warn
from pipeline.runtime.shown_text import quoted, shown_list


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

    @property
    def joins_lines(self) -> bool:
        return self.inner.joins_lines

    @property
    def rules(self) -> int:
        return self.inner.rules

    def hint(self, preview: Callable[[], list[list[str]]]) -> str:
        return self.inner.hint(preview)

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
      InputError: a file cannot be read, is not UTF-8, has no word, or has several words on a line.
    """
    files = split_names(uris)
    contents = [read_option_file("stopwords", uri) for uri in files]
    lines = [line for uri, data in zip(files, contents) for line in _lines(uri, data)]
    prepared = (tokenizer.prepared_line(line).strip() for line in lines)
    words = tuple(dict.fromkeys(word for word in prepared if word))
    if not isinstance(tokenizer, LineTokenizer):  # a function or a dictionary may cut a line as it likes
        _check_tokens(uris, words, tokenizer)
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
    if all("," in line.strip(",") for line in lines):
        where = "one line, with commas" if len(lines) == 1 else "commas in every line"
        raise InputError(f"--stopwords={uri} has {where}: write one word a line")
    return lines


def _check_tokens(uris: str, words: Sequence[str], tokenizer: Tokenizer) -> None:
    """Warns of stop words that the tokeniser would split, and so never finds; InputError if it would split them all.

    What has no token in it, as punctuation for `unicode_words`, does no harm.
    """
    tokens = {word: [token for sentence in tokenizer.sentences(word.encode()) for token in sentence] for word in words}
    split = [word for word in words if tokens[word] and tokens[word] != [word]]
    if not split:
        return
    first = tokens[split[0]]
    example = f"{quoted(split[0], 60)} becomes {shown_list(first, 6)}{', …' * (len(first) > 6)}"
    if len(split) == len(words):
        raise InputError(
            f"--stopwords={uris} has no line that is one word for --tokenizer ({example}): write one word a line"
        )
    warn(
        f"{len(split):,} of {len(words):,} stop words are not one word for --tokenizer ({example}), and leave nothing"
        " out: write one word a line, as it stands in the text after --tokenizer"
    )
