"""Options -> the reader that they describe."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.csv_rows import CsvReader
from pipeline.corpus.readers.json_lines import JsonReader
from pipeline.corpus.readers.parquet import ParquetReader
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.readers.values import EXPECTED, INTEGERS, TEXT
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError
from pipeline.options import Options

_READERS: dict[str, type[Reader]] = {
    "text": TextReader,
    "jsonl": JsonReader,
    "csv": CsvReader,
    "parquet": ParquetReader,
}
"""--input_format -> who reads it. A new format is a class, a line here, and its name in `pipeline/options.py`."""


def reader_of(input_format: str) -> type[Reader]:
    """Who reads a format, for what can be asked of it without options."""
    return _READERS[input_format]


def open_reader(options: Options, files: Sequence[InputFile]) -> Reader:
    """The reader that the options describe. The first rows of the files show what a field holds.

    Raises:
      InputError: the field is missing or holds something else; options do not go together; a tokeniser cannot be
        loaded.
    """
    if options.split is not None and options.tokenizer != Options.tokenizer:
        raise InputError(
            f"--split cuts text into items, so --tokenizer={options.tokenizer} has no effect: leave one of them out"
        )
    tokenizer = open_tokenizer(
        options.tokenizer,
        options.lowercase,
        options.max_sentence,
        options.normalize or "",
        options.stopwords or "",
        options.split,
    )
    for name in ("phrase_threshold", "phrase_discount"):
        if not options.phrases and getattr(options, name) != getattr(Options, name):
            value = getattr(options, name)
            raise InputError(
                f"--{name}={value} has no effect without --phrases: set --phrases=1 or more, or leave it out"
            )
    reader = reader_of(options.input_format)
    for name in ("separator", "no_header", "no_quotes"):
        if getattr(options, name) != getattr(Options, name) and options.input_format != "csv":
            raise InputError(f"--{name} has no effect without --input_format=csv: leave it out")
    if options.field is not None and not reader.has_fields:
        names = [name for name, reader in _READERS.items() if reader.has_fields]
        with_fields = f"{', '.join(names[:-1])} or {names[-1]}"
        raise InputError(f"--field={options.field} needs --input_format={with_fields}")
    if not options.field and reader.has_fields:
        raise InputError(f"--input_format={options.input_format} needs --field=NAME, the field that holds the text")
    if options.encoding is not None and not reader.can_be_compressed:
        raise InputError(
            f"--encoding={options.encoding} has no effect with --input_format={options.input_format}: leave it out"
        )
    opened = reader.opened(files, options, tokenizer)
    if opened.items != TEXT:
        _refuse_text_options(options, opened.items)
    if opened.items == INTEGERS and options.phrases:
        words = EXPECTED[opened.items]
        raise InputError(f"--phrases joins words, and --field={options.field} is {words}: leave it out")
    return opened


def _refuse_text_options(options: Options, items: str) -> None:
    """InputError for options that change text, if the field holds items, which are used as they are."""
    for name in ("tokenizer", "lowercase", "normalize", "stopwords", "split"):
        if getattr(options, name) != getattr(Options, name):
            raise InputError(
                f"--{name} is for text, but --field={options.field} is {EXPECTED[items]}, which are used as they are:"
                f" leave --{name} out"
            )
