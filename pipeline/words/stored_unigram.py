"""The unigram distribution of a run, as its stage stores it."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.storage.commits import Commits, Made
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Artifact, Number
from pipeline.words.unigram import build
from pipeline.words.vocabulary import VocabularyRef

STAGE = "unigram"


@dataclasses.dataclass(frozen=True)
class UnigramNumbers:
    """What is recorded of the unigram distribution."""

    words: Number
    """that can be drawn"""


@dataclasses.dataclass(frozen=True)
class UnigramRef:
    """The stored unigram distribution."""

    artifact: Artifact
    words: int
    """that can be drawn"""
    tokens: int = 0
    """tokens of the text that are in the vocabulary"""


def stored_unigram(commits: Commits, vocabulary: VocabularyRef, power: float, subsample: float) -> UnigramRef:
    """The distribution that an earlier attempt has stored, else a new one from the vocabulary."""

    def make() -> Made:
        words = vocabulary.open(commits.records)
        noise = build(words.counts, power, subsample, words.occurrences > 0)
        drawn = int(np.count_nonzero(noise.probability))
        return [commits.put("unigram.parquet", to_parquet(noise.to_table()))], UnigramNumbers(drawn)

    record = commits.once(STAGE, make)
    return UnigramRef(record.artifact, record.read(UnigramNumbers).words, vocabulary.tokens)
