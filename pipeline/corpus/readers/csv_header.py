"""The first records of a CSV file: separator, header, and the number of the wanted field."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from pipeline.corpus import dead_letters as reasons
from pipeline.corpus.csv_records import Form, Records, read_records
from pipeline.corpus.encodings import UTF8, Encoding
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.reader import HEAD_BYTES
from pipeline.corpus.unpacking import head
from pipeline.errors import InputError
from pipeline.kernels import csv_records as kernels
from pipeline.runtime.shown_text import shown_list

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What may separate fields without being named by --separator."""
_LOOKED_AT = (HEAD_BYTES, 1 << 20, 64 << 20)
"""How many bytes of a file are searched for its first record; the next number if it does not end in them."""
_RECORDS = 20
"""How many records show the separator."""
_ENDLESS = -1
_NO_RECORD = {
    _ENDLESS: (f"does not end in {_LOOKED_AT[-1]:,} bytes", "close its quotes, or set --no_quotes"),
    kernels.BLANK: ("is blank", "remove blank lines from its beginning, or leave the file out if it has no others"),
    kernels.TOO_LONG: ("is longer than --max_line_bytes", "set a larger --max_line_bytes"),
    kernels.UNMATCHED: (
        "has quotes that do not match",
        "write a quote within a quoted field twice, and close the field; if quotes are characters like others, set"
        " --no_quotes",
    ),
}
"""What is wrong with a first line, and the remedy."""
_OTHER_ENCODING = "name the encoding of the files by --encoding, or convert them to UTF-8"


def head_records(file: InputFile, form: Form, field: int = -1, encoding: Encoding = UTF8) -> Records | None:
    """The first records of a file, none of which is cut; None if there are none. Blank ones are among them."""
    for size in _LOOKED_AT:
        text = head(file, size, encoding)
        is_whole = len(text) < size
        records = next(read_records([(0, text)], len(text), form, field, last=is_whole), None)
        if records is not None or is_whole:
            return records
    return None


def has_record(file: InputFile, encoding: Encoding) -> bool:
    """Whether a file has more than a byte-order mark and blank lines, as an export without rows may."""
    text = head(file, HEAD_BYTES, encoding)
    return len(text) == HEAD_BYTES or bool(text.strip(b"\r\n"))


def check_separator(text: str, encoding: Encoding) -> None:
    """InputError unless the --separator can separate fields."""
    if len(text) != 1 or not text.isascii() or text.isalnum() or text in '"\r\n':
        raise InputError(
            f"--separator={text}: allowed is one ASCII character, or tab, and no letter, digit, quote or line end"
        )
    if not encoding.keeps(text):
        raise InputError(
            f"--separator={text}: in --encoding={encoding.name} its byte is also part of other characters: convert the"
            " files to UTF-8"
        )


def form_of(file: InputFile, form: Form, encoding: Encoding) -> Form:
    """`form` with the separator that the first records of a file show.

    By it, all of them have the same number of fields, above 1.

    Raises:
      InputError: there is none, or more than one.
    """
    fields: dict[Form, int] = {}
    candidates = list(filter(encoding.keeps, SEPARATORS))
    for each in (form._replace(separator=separator) for separator in candidates):
        records = head_records(file, each, -1, encoding)
        if records is None:
            continue
        numbers = records.fields[records.kind <= kernels.DOUBLED][:_RECORDS]
        if len(numbers) and records.kind[0] <= kernels.BLANK and numbers[0] > 1 and (numbers == numbers[0]).all():
            fields[each] = int(numbers[0])
    if len(fields) == 1:
        return next(iter(fields))
    if not fields:
        *names, last = (SEPARATORS[separator] for separator in candidates)
        raise InputError(
            f"{file.uri} does not show its separator: neither {', '.join(names)} nor {last} make the same number of"
            " fields, two or more, of its first lines: set --separator"
        )
    counts = ", ".join(f"{count} fields by {SEPARATORS[each.separator]}" for each, count in fields.items())
    raise InputError(f"{file.uri} does not show its separator, its first lines have {counts}: set --separator")


def header_names(file: InputFile, form: Form, encoding: Encoding) -> tuple[str, ...]:
    """The fields of the first record of a file.

    Raises:
      InputError: it is blank, or no record.
    """
    records = head_records(file, form, -1, encoding)
    if records is not None:
        kind = int(records.kind[0])
    else:
        kind = _ENDLESS if head(file, 1, encoding) else kernels.BLANK
    if records is None or kind > kernels.DOUBLED:
        why, remedy = _NO_RECORD.get(kind, _NO_RECORD[kernels.UNMATCHED])
        raise InputError(f"{file.uri}: its first line {why}, and so is no header and no record: {remedy}")
    line = bytes(records.data[: records.stop[0]])
    record = (encoding.utf8(line) or line).removesuffix(b"\n").removesuffix(b"\r")
    separator = form.separator.encode()
    if not form.has_quotes:
        return tuple(name.decode(errors="replace") for name in record.split(separator))
    fields = re.finditer(rb'(?:"((?:[^"]|"")*)"|([^%b]*))(?:%b|\Z)' % ((re.escape(separator),) * 2), record)
    return tuple(map(_name, itertools.islice(fields, int(records.fields[0]))))


def check_header_text(file: InputFile, form: Form, encoding: Encoding) -> None:
    """InputError if the header is not in the encoding: its names would be unlike those that people give."""
    records = head_records(file, form, -1, encoding)
    if records is not None and encoding.utf8(bytes(records.data[: records.stop[0]])) is None:
        raise InputError(f"{file.uri}: its header is {reasons.not_in(encoding.of_lines.name)}: {_OTHER_ENCODING}")


def _name(field: re.Match[bytes]) -> str:
    quoted, plain = field.groups()
    return (plain if quoted is None else quoted.replace(b'""', b'"')).decode(errors="replace")


def wanted_field(file: InputFile, field: str, names: Sequence[str], count: int) -> int:
    """The number of the field, from 0.

    Args:
      field: a name, or a number from 1; names: of the header, () without one; count: how many fields there are.

    Raises:
      InputError: there is no such field, or it is not clear which.
    """
    if names.count(field) > 1:
        first = list(names).index(field) + 1
        raise InputError(
            f"--field={field}: {names.count(field)} fields of {file.uri} have this name: give a number, as"
            f" --field={first}"
        )
    if field in names:
        return list(names).index(field)
    if field.isascii() and field.isdigit() and 1 <= int(field) <= count:
        return int(field) - 1
    if names:
        there = shown_list(names)
        raise InputError(
            f"--field={field}: the header of {file.uri} does not have it; there are {there}: give one of these names,"
            f" or a number from 1 to {count}, or set another --separator"
        )
    raise InputError(f"--field={field}: with --no_header, fields have numbers, from 1 to {count} in {file.uri}")
