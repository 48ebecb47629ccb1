"""What vectors know: all evaluations of one checkpoint as JSON values, for commands and reports."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from pipeline.analysis.evaluation import (
    MOST_FREQUENT,
    Analogies,
    AnalogiesResult,
    PairsResult,
    SectionResult,
    WordPairs,
    evaluate_analogies,
    evaluate_pairs,
)
from pipeline.model.vectors import Report, Vectors


def evaluation_of(
    known: Vectors,
    pairs: Sequence[WordPairs] = (),
    analogies: Sequence[Analogies] = (),
    most_frequent: int = MOST_FREQUENT,
    ignore_case: bool = True,
    report: Report = lambda done, total: None,
) -> dict[str, Any]:
    """{"pairs": [...], "analogies": [...]}, an entry a file, with the numbers of gensim.

    Raises:
      InputError: a file shares no word with the vocabulary.
    """
    words, vectors = known.words, known.vectors
    return {
        "pairs": [
            {"file": one.uri, "invalid_lines": one.invalid}
            | _pairs(evaluate_pairs(words, vectors, one, most_frequent, ignore_case))
            for one in pairs
        ],
        "analogies": [
            {"file": one.uri, "invalid_lines": one.invalid}
            | _analogies(evaluate_analogies(words, vectors, one, most_frequent, ignore_case, report))
            for one in analogies
        ],
    }


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
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
