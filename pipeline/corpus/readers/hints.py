"""Notices JSON lines and tables that are read as plain text, which makes words of names and separators.

>>> format_hint([b'{"id": 1, "text": "a rose"}', b'{"id": 2, "text": "is a rose"}'])
'looks like JSON lines: --input_format=jsonl --field=text takes the text alone'
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from typing import Any

from pipeline.runtime.shown_text import shown, shown_list

_MOST_LINES = 20
_LEAST_ROWS = 5
"""Lines of a table: fewer lines may have as many commas by chance."""
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_DOCUMENT = re.compile(r"""\[\s*[{"]|\[\s*\[\s*["0-9]|\{\s*"[^"]*"\s*:""")
_NUMBER = re.compile(r"[0-9]+")


def format_hint(lines: Sequence[bytes], is_split: bool = False) -> str:
    """What the first lines of a file look like, and what to do; "" where they are plain text.

    Args:
      lines: without empty ones; a lone line may be cut.
      is_split: whether lines are cut into items, so that separators are no part of words.
    """
    texts = [line.decode(errors="replace").strip().removeprefix("\ufeff") for line in lines[:_MOST_LINES]]
    return _json_hint(texts) or ("" if is_split else _table_hint(texts))


def _json_hint(texts: Sequence[str]) -> str:
    if not texts or not texts[0].startswith(("{", "[")):
        return ""
    rows = _parsed(texts)
    if rows and all(isinstance(row, dict) and row for row in rows):
        return f"looks like JSON lines: --input_format=jsonl --field={_longest_field(rows)} takes the text alone"
    are_lists = all(isinstance(row, list) and row and isinstance(row[0], (str, int)) for row in rows)
    if len(rows) > 1 and are_lists:
        return (
            "looks like lists in JSON, whose commas and brackets become words: write objects, as by jq -c '{items: .}',"
            " and read them by --input_format=jsonl --field=items"
        )
    if len(rows) < 2 and _DOCUMENT.match(" ".join(texts)) and (len(texts) == 1 or not _parsed(texts[:1])):
        return (
            "looks like one JSON document, whose names and brackets become words: write a row a line, as by"
            " jq -c '.[]', and read that by --input_format=jsonl --field=NAME"
        )
    return ""


def _parsed(texts: Sequence[str]) -> list[Any]:
    """The values of lines that are JSON; [] if one is not."""
    try:
        return [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        return []


def _longest_field(rows: Sequence[dict]) -> str:
    """The field with most text, or items; NAME where no row has such a field."""
    lengths: dict[str, int] = {}
    for name, value in ((name, value) for row in rows for name, value in row.items()):
        if isinstance(value, (str, list)):
            lengths[name] = lengths.get(name, 0) + len(value)
    return shown(max(lengths, key=lambda name: lengths[name])) if lengths else "NAME"


def _table_hint(texts: Sequence[str]) -> str:
    for separator, name in _SEPARATORS.items():
        rows = _rows(texts, separator)
        if len(rows) < _LEAST_ROWS or len(rows[0]) < 2 or len(set(map(len, rows))) > 1:
            continue
        columns = [cell.strip() for cell in rows[0]]
        is_header = all(cell and len(cell.split()) <= 3 for cell in columns) and len(set(columns)) == len(columns)
        if is_header or all(_NUMBER.fullmatch(row[0].strip()) for row in rows):
            between = f" ({shown_list(columns)})" if is_header else ""
            longest = max(range(len(columns)), key=lambda i: sum(len(row[i]) for row in rows[1:]))
            field = f"--field={shown(columns[longest])}" if is_header else f"--no_header --field={longest + 1}"
            return (
                f"looks like a table with {name} between its columns{between}, all of which become words:"
                f" --input_format=csv {field} takes one of them"
            )
    return ""


def _rows(texts: Sequence[str], separator: str) -> list[list[str]]:
    """The lines cut into cells, which may be quoted; [] where that cannot be."""
    try:
        return list(csv.reader(texts, delimiter=separator, skipinitialspace=True))
    except csv.Error:  # a cell is too long
        return []
