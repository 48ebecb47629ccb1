"""Texts, and the words that tokenisers make of them."""

from __future__ import annotations

from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer


def words(name, text, **options):
    return open_tokenizer(name, **options).sentences(text.encode())


def flat(sentences):
    return [word for sentence in sentences for word in sentence]


def of_blanks(line: str) -> list[str]:
    """A user's function."""
    return line.split(" ")
