"""All evaluations of one checkpoint as JSON values, for commands and reports."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from pipeline.analysis.evaluation import (
    METHODS,
    MOST_FREQUENT,
    AnalogiesResult,
    PairsResult,
    SectionResult,
    evaluate_analogies,
    evaluate_pairs,
)
from pipeline.analysis.judgements import Analogies, WordPairs
from pipeline.model.vectors import OnProgress, Vectors


@dataclasses.dataclass(frozen=True)
class Judged:
    """What vectors are evaluated on, and how."""

    pairs: Sequence[WordPairs] = ()
    analogies: Sequence[Analogies] = ()
    most_frequent: int = MOST_FREQUENT
    ignore_case: bool = True
    method: str = METHODS[0]
    """of answering analogies"""

    def __bool__(self) -> bool:
        return bool(self.pairs or self.analogies)

    def evaluated(self, known: Vectors, report: OnProgress = lambda done, total: None) -> dict[str, Any]:
        """The results of `evaluation_of`."""
        return evaluation_of(
            known, self.pairs, self.analogies, self.most_frequent, self.ignore_case, report, self.method
        )


def evaluation_of(
    known: Vectors,
    pairs: Sequence[WordPairs] = (),
    analogies: Sequence[Analogies] = (),
    most_frequent: int = MOST_FREQUENT,
    ignore_case: bool = True,
    report: OnProgress = lambda done, total: None,
    method: str = METHODS[0],
) -> dict[str, Any]:
    """{"pairs": [...], "analogies": [...]}: an entry for each file, with the numbers of gensim.

    Raises:
      InputError: a file shares no word with the vocabulary.
    """
    words, vectors = known.words, known.vectors
    return {
        "pairs": [
            {"file": entry.uri, "columns": [place + 1 for place in entry.columns]}
            | _left_out(entry)
            | _pairs(evaluate_pairs(words, vectors, entry, most_frequent, ignore_case))
            for entry in pairs
        ],
        "analogies": [
            {"file": entry.uri, "method": method}
            | _left_out(entry)
            | _analogies(evaluate_analogies(words, vectors, entry, most_frequent, ignore_case, report, method))
            for entry in analogies
        ],
    }


def _left_out(judged: WordPairs | Analogies) -> dict[str, Any]:
    return {"invalid_lines": judged.invalid, "first_invalid_line": judged.first_invalid}


def _pairs(result: PairsResult) -> dict[str, Any]:
    return {
        "spearman": _finite(result.spearman),
        "pearson": _finite(result.pearson),
        "pairs": result.pairs,
        "unknown": result.unknown,
    }


def _analogies(result: AnalogiesResult) -> dict[str, Any]:
    return {"total": _section(result.total), "sections": [_section(section) for section in result.sections]}


def _section(section: SectionResult) -> dict[str, Any]:
    return dataclasses.asdict(section) | {"accuracy": section.accuracy}


def _finite(value: float) -> float | None:
    """The value, or None if it is not finite: JSON has no NaN."""
    return value if math.isfinite(value) else None
