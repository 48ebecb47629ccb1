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
