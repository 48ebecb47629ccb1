"""The fixture of tests of transforms: a plugin of theirs."""

from __future__ import annotations

import collections

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus.files import match_inputs
from pipeline.corpus.work_units import TextSource, plan_work_units
from pipeline.words.vocabulary import Vocabulary
from tests.helpers.commands import write_corpus
from tests.helpers.world import OPTIONS, World, make_context


@pytest.fixture
def world(tmp_path) -> World:
    corpus = write_corpus(tmp_path / "corpus.txt", lines=120, words=150)
    sentences = [line.split() for line in corpus.read_text().splitlines()]
    files = match_inputs([str(corpus)])
    counted = collections.Counter(word for sentence in sentences for word in sentence)
    kept = sorted((-n, word.encode(), word) for word, n in counted.items() if n >= OPTIONS.min_count)
    vocabulary = Vocabulary(pa.array([word for _, _, word in kept]), np.array([-n for n, _, _ in kept]))
    sources = [TextSource(file.uri, file.size, version=file.version) for file in files]
    units = plan_work_units(sources, OPTIONS.block_bytes)
    assert len(units) > 3
    return World(corpus, files, make_context(files, tmp_path / "run"), units, sentences, vocabulary)
