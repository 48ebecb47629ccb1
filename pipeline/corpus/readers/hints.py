"""Notices JSON lines and tables that are read as plain text, which makes words of names and separators.

>>> format_hint([b'{"id": 1, "text": "a rose"}', b'{"id": 2, "text": "is a rose"}'])
'looks like JSON lines: --input_format=jsonl --field=text takes the text alone'
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pipeline.runtime.shown_text import shown, shown_list

_LEAST_LINES, _MOST_LINES = 2, 20
_LEAST_ROWS = 5
"""Lines of a table: fewer lines may have as many commas by chance."""
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


def format_hint(lines: Sequence[bytes]) -> str:
    """What the first lines of a file look like, and what to do; "" where they are plain text."""
    texts = [line.decode(errors="replace").strip() for line in lines[:_MOST_LINES]]
    return _json_hint(texts) or _table_hint(texts)


def _json_hint(texts: Sequence[str]) -> str:
    if len(texts) < _LEAST_LINES or not all(text.startswith("{") for text in texts):
        return ""
    try:
        rows = [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        return ""
    lengths: dict[str, int] = {}
    for name, value in ((name, value) for row in rows for name, value in row.items()):
        if isinstance(value, (str, list)):
            lengths[name] = lengths.get(name, 0) + len(value)
    field = shown(max(lengths, key=lambda name: lengths[name])) if lengths else "NAME"
    return f"looks like JSON lines: --input_format=jsonl --field={field} takes the text alone"


def _table_hint(texts: Sequence[str]) -> str:
    if len(texts) < _LEAST_ROWS:
        return ""
    for separator, name in _SEPARATORS.items():
        columns = [cell.strip(' "') for cell in texts[0].split(separator)]
        is_header = all(cell and len(cell.split()) <= 3 for cell in columns) and len(set(columns)) == len(columns)
        if len(columns) > 1 and is_header and len({text.count(separator) for text in texts}) == 1:
            return (
                f"looks like a table with {name} between its columns ({shown_list(columns)}), all of which become"
                " words: write the column with the text as Parquet or JSON lines, and name it by --field"
            )
    return ""
