"""The tokeniser that the options describe."""

from __future__ import annotations

from pipeline.corpus.tokenizers.dictionaries import DictionaryTokenizer
from pipeline.corpus.tokenizers.functions import FunctionTokenizer, load_function
from pipeline.corpus.tokenizers.items import ItemTokenizer
from pipeline.corpus.tokenizers.stopwords import without_stopwords
from pipeline.corpus.tokenizers.tokenizer import BUILT_IN, Tokenizer
from pipeline.corpus.tokenizers.unicode_words import UnicodeTokenizer
from pipeline.corpus.tokenizers.whitespace import WhitespaceTokenizer


def open_tokenizer(
    name: str,
    lowercase: bool = False,
    max_sentence: int = 1000,
    normal_form: str = "",
    stopwords: str = "",
    separator: str | None = None,
) -> Tokenizer:
    """The tokeniser that --tokenizer, --lowercase, --max_sentence, --normalize, --stopwords and --split describe.

    Raises:
      InputError: there is no such tokeniser; it cannot be imported; the file of stop words cannot be read.
    """
    form = (lowercase, max_sentence, normal_form)
    tokenizer: Tokenizer
    if separator is not None:
        tokenizer = ItemTokenizer.checked(*form, separator)
    elif name == "whitespace":
        tokenizer = WhitespaceTokenizer(*form)
    elif name in ("unicode_words", "characters"):
        tokenizer = UnicodeTokenizer(*form, name)
    elif name in BUILT_IN:
        tokenizer = DictionaryTokenizer.checked(*form, name)
    else:
        load_function(name)
        tokenizer = FunctionTokenizer(*form, name)
    return without_stopwords(tokenizer, stopwords) if stopwords else tokenizer
