"""The reader that the options describe, and what its sentences depend on."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.json_lines import JsonReader, json_items
from pipeline.corpus.readers.parquet import ParquetReader, parquet_items
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.readers.values import EXPECTED, INTEGERS, TEXT
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError
from pipeline.options import Options


def open_reader(options: Options, files: Sequence[InputFile]) -> Reader:
    """The reader that the options describe; what a field holds is told by the first rows that have it.

    Raises:
      InputError: the field is missing or holds something else; options that do not go together;
        a tokeniser cannot be loaded.
    """
    tokenizer = open_tokenizer(
        options.tokenizer, options.lowercase, options.max_sentence, options.normalize or "", options.stopwords or ""
    )
    for name in ("phrase_threshold", "phrase_discount"):
        if not options.phrases and getattr(options, name) != getattr(Options, name):
            raise InputError(f"--{name}={getattr(options, name)} has no meaning without --phrases=1 or more")
    if options.input_format == "text":
        if options.field is not None:
            raise InputError(f"--field={options.field} needs --input_format=jsonl or parquet")
        return TextReader(tokenizer, options.max_line_bytes)
    if not options.field:
        raise InputError(f"--input_format={options.input_format} needs --field=NAME, the field that holds the text")
    made, items_of_files = {"jsonl": (JsonReader, json_items), "parquet": (ParquetReader, parquet_items)}[
        options.input_format
    ]
    items = items_of_files(files, options.field)
    if items != TEXT:
        _refuse_text_options(options, items)
    if items == INTEGERS and options.phrases:
        raise InputError(f"--phrases joins words, and --field={options.field} is {EXPECTED[items]}: leave it out")
    return made(tokenizer, options.max_line_bytes, options.field, items, options.max_sentence)


def _refuse_text_options(options: Options, items: str) -> None:
    """Items are taken as they are: an option that would change text has no meaning for them."""
    for name in ("tokenizer", "lowercase", "normalize", "stopwords"):
        if getattr(options, name) != getattr(Options, name):
            raise InputError(
                f"--{name} is for text, and --field={options.field} is {EXPECTED[items]}, taken as they are:"
                f" leave --{name} out"
            )
