"""What runs are made from."""

from __future__ import annotations

from pipeline.options import Options
from pipeline.runs.directory import make_identity


class File:
    def __init__(self, uri: str, size: int = 10, version: str = "1"):
        self.uri, self.size, self.version = uri, size, version


TOKENIZER = {"name": "whitespace", "unicode": "14.0.0"}


FILES = (File("/corpus/a.txt"), File("/corpus/b.txt"))


def identity(files=FILES, tokenizer=TOKENIZER, **options):
    return make_identity(Options.checked(options), files, tokenizer)
