"""Writes the text of Python's own help topics: a small corpus that every interpreter brings along.

    python -m examples.python_topics topics.txt

A paragraph becomes a line, because to the trainer a line is a sentence; only words
are kept, in lower case. The text is that of `help("topics")`, so it differs a
little from one Python version to the next, and so do the vectors.
"""

from __future__ import annotations

import pathlib
import re
import sys
from collections.abc import Iterator
from pydoc_data.topics import topics

_PARAGRAPH = re.compile(r"\n\s*\n")
_WORD = re.compile(r"[a-z_]{2,}")


def lines() -> Iterator[str]:
    """The words of each paragraph of all topics, in the order of the topics' names."""
    for _, text in sorted(topics.items()):
        for paragraph in _PARAGRAPH.split(text):
            words = _WORD.findall(paragraph.lower())
            if words:
                yield " ".join(words) + "\n"


def main(path: str) -> None:
    file = pathlib.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines()), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.python_topics FILE")
    main(sys.argv[1])
