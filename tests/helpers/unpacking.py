"""Compressed files unpacked: how it is asked for, and what came out."""

from __future__ import annotations

from pipeline.corpus.unpacking import STAGE, UnpackedText
from pipeline.corpus.work_units import TextSource
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.records import Records
from tests.helpers.keys import KEY


def text_commits(root: str) -> Commits:
    """Of the work text in an output; those of an attempt of its own."""
    return Commits(Records(open_storage(root)), STAGE, KEY)


def piece_text(source: TextSource) -> bytes:
    root, path = split_uri(source.uri)
    return open_storage(root).read(path)


def work_text(unpacked: UnpackedText) -> bytes:
    """All pieces."""
    return b"".join(map(piece_text, unpacked.sources))
