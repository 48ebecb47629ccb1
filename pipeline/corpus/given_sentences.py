"""Sentences that a program passes to `beam2vec.train`, as an input file within the run.

    OUTPUT/sentences/DIGEST.parquet    words list<string>: a row a sentence, in their order

The digest is that of the sentences: SHA-256 over the words in UTF-8, each with the byte ff behind it, and fe behind
each sentence; words and sentences that are empty are left out. So the name alone says whether they are the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import mmap
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence, Set
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.files import InputFile
from pipeline.corpus.plain_sentences import words_of
from pipeline.errors import InputError
from pipeline.runtime.shown_text import quoted
from pipeline.storage.parquet import FORM
from pipeline.storage.storage import Storage

FOLDER, FIELD = "sentences", "words"
OF_SENTENCES = {"input_format": "parquet", "field": FIELD}
"""The options that such a run has, without being given them."""
_NAME = re.compile(rf"/{FOLDER}/[0-9a-f]{{64}}\.parquet$")
_SCHEMA = pa.schema([pa.field(FIELD, pa.list_(pa.string()), nullable=False)])
_GROUP_BYTES = 4 << 20
"""Of words that are in memory together, and in a row group."""
_GROUP_SENTENCES = 1 << 16
_WORD_END, _SENTENCE_END = b"\xff", b"\xfe"
"""No UTF-8 has these bytes."""
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class GivenSentences:
    """Sentences in a temporary file, until the run that takes them is open."""

    digest: str
    spooled: InputFile
    """the temporary file"""

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.digest}.parquet"

    def input_file(self, storage: Storage) -> InputFile:
        """The file as it is in the run. It has no version: its name says what is in it."""
        stored = storage.info(self.path)
        return InputFile(storage.uri(self.path), stored.size if stored else self.spooled.size, "")

    def store(self, storage: Storage, check_lock: Callable[[], None] = lambda: None) -> None:
        """Puts the file into the run, in place of that of a run that it has replaced; `check_lock` before removals."""
        if storage.info(self.path) is None:
            with open(self.spooled.uri, "rb") as file:
                storage.put(self.path, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        for info in storage.walk(FOLDER):
            if info.path != self.path:
                check_lock()
                storage.delete(info.path)


def are_given(inputs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the inputs of a run's identity are sentences that a program passed: a file that is named for them."""
    return len(inputs) == 1 and not inputs[0]["version"] and bool(_NAME.search(inputs[0]["uri"]))


@contextlib.contextmanager
def spooled(sentences: Iterable[Iterable[str]]) -> Iterator[GivenSentences]:
    """The sentences, read once, in a temporary file that is there while this is open.

    Memory: some MB, whatever they are.

    Raises:
      InputError: one of them is no list of words; there is no word.
    """
    with tempfile.NamedTemporaryFile(prefix="beam2vec-", suffix=".parquet") as file:
        digest, has_words = hashlib.sha256(), False
        with pq.ParquetWriter(file, _SCHEMA, **FORM) as writer:
            for group in _groups(sentences):
                has_words = True
                for words in group:
                    digest.update(b"".join(word.encode() + _WORD_END for word in words) + _SENTENCE_END)
                writer.write_table(pa.table([pa.array(group, _SCHEMA.field(0).type)], schema=_SCHEMA))
        if not has_words:
            raise InputError("sentences hold no word: give lists of words; an iterator can be read only once")
        file.flush()
        yield GivenSentences(digest.hexdigest(), InputFile(file.name, os.stat(file.name).st_size, ""))


def _groups(sentences: Iterable[Iterable[str]]) -> Iterator[list[list[str]]]:
    """The sentences without empty words, as many together as are in memory at a time."""
    if isinstance(sentences, (str, bytes, os.PathLike)):
        raise InputError(
            f"sentences={quoted(str(sentences), _SHOWN)} is one text: give lists of words, or a file as input"
        )
    can_be_read = hasattr(sentences, "__iter__") or hasattr(sentences, "__getitem__")
    if isinstance(sentences, Set) or not can_be_read:
        raise InputError(
            f"sentences={quoted(str(sentences), _SHOWN)}: give a list or a generator of lists of words; a set has no"
            " order"
        )
    group: list[list[str]] = []
    size = 0
    for number, sentence in enumerate(sentences):
        words = _checked(number, sentence)
        if not words:
            continue
        group.append(words)
        size += sum(map(len, words))
        if size >= _GROUP_BYTES or len(group) == _GROUP_SENTENCES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _checked(number: int, sentence: Iterable[str]) -> list[str]:
    """The words of a sentence that are not empty."""
    if isinstance(sentence, (str, bytes)):
        text = quoted(str(sentence), _SHOWN)
        raise InputError(f"sentences[{number}] is the string {text}, not a list of words: split it, by .split() say")
    if isinstance(sentence, (Set, Mapping)) and not isinstance(sentence, KeysView):
        kind = type(sentence).__name__
        raise InputError(
            f"sentences[{number}] is a {kind}, whose words have no order that is the same each time: give a list,"
            " by sorted() say"
        )
    try:
        words = [word for word in words_of(sentence) if word]
        "".join(words).encode()
    except (TypeError, UnicodeEncodeError):
        raise InputError(
            f"sentences[{number}] is {quoted(str(sentence), _SHOWN)}: give a list of strings that UTF-8 can hold; write"
            " numbers as text"
        ) from None
    return words
