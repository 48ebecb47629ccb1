r"""Writes Python's own help topics as JSON lines, a topic an object, text nested in it.

    python -m examples.json_articles topics.jsonl
    beam2vec train --input=topics.jsonl --input_format=jsonl --field=body.text --tokenizer=unicode_words \
        --lowercase --output=runs/json_articles --dims=50 --epochs=30 --batch_size=256 --learning_rate=0.05
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from pydoc_data.topics import topics

_LINE_END = re.compile(r"(?<!\n)\n(?!\n)")


def rows() -> list[dict]:
    """Each paragraph of a topic on a line of its own, since a line is a sentence."""
    return [
        {"title": title, "body": {"text": _LINE_END.sub(" ", text), "letters": len(text)}}
        for title, text in sorted(topics.items())
    ]


def main(path: str) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    pathlib.Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.json_articles FILE.jsonl")
    main(sys.argv[1])
