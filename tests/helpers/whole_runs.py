"""A run with something of every stage: phrases, a packed file, bad lines, stored batches, several checkpoints."""

from __future__ import annotations

import gzip
import pathlib

from tests.helpers.commands import TINY, write_corpus

EVERY_STAGE = (
    *TINY, "--no_report", "--phrases=1", "--phrase_threshold=2", "--phrase_discount=1", "--batches=stored",
    "--max_bad_lines=5", "--checkpoint_every=10", "--keep_checkpoints=2",
)  # fmt: skip


def write_every_kind(corpus: pathlib.Path) -> None:
    """Makes the folder, with a file that has a bad line, a packed one and an empty one."""
    corpus.mkdir()
    with open(write_corpus(corpus / "a.txt", lines=60, words=40), "ab") as file:
        file.write(b"bad \xff line\n")
    packed = write_corpus(corpus / "b.txt", lines=60, words=40, seed=1)
    (corpus / "b.txt.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    (corpus / "empty.txt").write_bytes(b"")
