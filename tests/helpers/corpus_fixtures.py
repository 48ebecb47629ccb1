"""A small text, and what test_preprocess.py and test_corpus.py make of it once: a plugin of both."""

from __future__ import annotations

import gzip
import pathlib

import pytest

from beam2vec import Run
from tests.helpers.commands import digest_of, write_corpus
from tests.helpers.corpora import STORED, made


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> pathlib.Path:
    """A plain and a compressed file."""
    folder = tmp_path_factory.mktemp("text")
    data = write_corpus(folder / "text", lines=250).read_bytes()
    (folder / "text").unlink()
    half = data.index(b"\n", len(data) // 2) + 1
    (folder / "a.txt").write_bytes(data[:half])
    (folder / "b.txt.gz").write_bytes(gzip.compress(data[half:]))
    return folder


@pytest.fixture(scope="session")
def whole(text, tmp_path_factory) -> Run:
    """The run by one command."""
    output = tmp_path_factory.mktemp("whole") / "run"
    digest_of(text, output, "--block_bytes=12000")
    return Run.open(str(output))


@pytest.fixture(scope="session")
def stream(text, tmp_path_factory) -> str:
    return made(text, tmp_path_factory.mktemp("stream") / "corpus")


@pytest.fixture(scope="session")
def stored(text, tmp_path_factory) -> str:
    return made(text, tmp_path_factory.mktemp("stored") / "corpus", *STORED)
