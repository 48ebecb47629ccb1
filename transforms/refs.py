"""References that travel on the graph's edges in place of tables."""

import dataclasses

from pipeline.records import Artifact


@dataclasses.dataclass(frozen=True)
class UnitSummary:
    """What counting a unit found, without the words."""

    index: int
    bytes: int
    lines: int
    bad_lines: int
    tokens: int


@dataclasses.dataclass(frozen=True)
class VocabularyRef:
    """The stored vocabulary."""

    artifact: Artifact
    words: int
    tokens: int
    """of the corpus that are in the vocabulary"""


@dataclasses.dataclass(frozen=True)
class UnigramRef:
    """The stored unigram distribution."""

    artifact: Artifact
    words: int


@dataclasses.dataclass(frozen=True)
class PhraseWordsRef:
    """The stored words that a pass of --phrases looks for pairs of."""

    artifact: Artifact | None
    """None where the pass is done already."""
    tokens: int
    """of the corpus, rare words too"""


@dataclasses.dataclass(frozen=True)
class PhrasesRef:
    """The stored phrases of the passes so far."""

    passes: tuple[Artifact, ...]
