"""Token shards."""

from __future__ import annotations

import pytest

from pipeline.batches import tokens
from pipeline.batches.tokens import encode_unit
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError
from pipeline.words.counts import count_unit
from pipeline.words.vocabulary import Vocabulary, build_vocabulary
from tests.helpers.counting import LINE, units_of


@pytest.mark.parametrize("changed", [b"a b c\nd\n", b"a b\nc e\n", b"b a\nc d\n", b"a b\nc d e\n"])
def test_changed_text_is_noticed_while_encoding(changed):
    (unit,) = units_of(b"a b\nc d\n", 1 << 20)
    reader = TextReader(open_tokenizer("whitespace"), LINE)
    counted = count_unit(unit, reader)
    vocabulary = Vocabulary.from_table(build_vocabulary([counted.table], 1))
    (unit,) = units_of(changed, 1 << 20)
    with pytest.raises(InputError, match="the input changed during the run: memory://counts/text from byte 0"):
        encode_unit(unit, vocabulary, reader, counted.fingerprint)


def test_more_tokens_than_offsets_can_number_are_refused(monkeypatch):
    monkeypatch.setattr(tokens, "_MOST_TOKENS", 3)
    (unit,) = units_of(b"a b\nc d\n", 1 << 20)
    reader = TextReader(open_tokenizer("whitespace"), LINE)
    vocabulary = Vocabulary.from_table(build_vocabulary([count_unit(unit, reader).table], 1))
    with pytest.raises(InputError, match="has 4 tokens, more than 3: write Parquet with smaller row groups"):
        encode_unit(unit, vocabulary, reader)
