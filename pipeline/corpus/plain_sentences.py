"""Sentences that a program holds: lists of words, or strings that are split at white space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Set
from typing import Any

import pyarrow as pa

from pipeline.corpus.readers.values import STRINGS, list_spans, text_spans
from pipeline.corpus.spans import Spans
from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.runtime.shown_text import quoted

_SHOWN = 40
_TOKENIZER = WhitespaceTokenizer(max_sentence=Options().max_sentence)


def spans_of_sentence(sentence: Any, user: str) -> Iterator[Spans]:
    """The words of a sentence, as the job has them.

    >>> [spans.sentences() for spans in spans_of_sentence("a rose\\u3000is", "GenerateBatches")]
    [[['a', 'rose', 'is']]]
    >>> [spans.sentences() for spans in spans_of_sentence(["New York", "", "is"], "GenerateBatches")]
    [[['New York', 'is']]]

    Args:
      sentence: a list of words, which are taken as they are without empty ones; or a string, which is split as
        --tokenizer=whitespace does. More than 1,000 words are cut into several sentences.
      user: names who asks, in messages.

    Raises:
      InputError: it is neither, or no text.
    """
    try:
        if isinstance(sentence, str):
            yield from text_spans([sentence], lambda row: user, _TOKENIZER)
        else:
            yield from list_spans([words_of(sentence)], STRINGS, _TOKENIZER.max_sentence)
    except (TypeError, UnicodeEncodeError):
        raise InputError(
            f"{user}: {quoted(str(sentence), _SHOWN)} is no sentence: give a list of words, or a string, that UTF-8 can"
            " hold; a set has no order"
        ) from None


def words_of(sentence: Iterable[str]) -> list[str]:
    """The words of a list, a tuple, an array, a list of Arrow's; TypeError if it holds anything but strings.

    A set is none: its order changes from process to process, and with it the rows.
    """
    if isinstance(sentence, pa.ListScalar):  # a row of an Arrow column
        sentence = sentence.as_py()
    if isinstance(sentence, (Set, Mapping)) and not isinstance(sentence, KeysView):  # the keys of a dict have an order
        raise TypeError
    words = list(sentence)
    if not all(isinstance(word, str) for word in words):
        raise TypeError
    return words
