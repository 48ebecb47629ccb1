"""What a run's vectors know: all evaluations of one checkpoint as JSON values, for commands and reports."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
from pipeline.errors import InputError
from pipeline.model.checkpoints import CheckpointRef
from pipeline.model.neighbors import nearest
from pipeline.model.spelling import suggestions
from pipeline.runs.run import Run, side_of
from pipeline.runtime.shown_text import quoted

Report = Callable[[int, int], None]
"""Told (done, of how many)."""


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Words by id and one vector of each."""

    words: pa.Array
    """string [V]"""
    vectors: np.ndarray
    """float32 [V, dims]"""

    @classmethod
    def read(
        cls,
        run: Run,
        ref: CheckpointRef,
        side: str = "input",
        top: int | None = None,
        report: Report = lambda done, total: None,
    ) -> Vectors:
        """One side of a checkpoint, the first `top` words; holds a part beside it."""
        rows = ref.words if top is None else min(top, ref.words)
        words, vectors, done = [], np.empty((rows, ref.dims), np.float32), 0
        for block in run.blocks(ref.step, rows):
            words.append(block.words)
            vectors[done : done + len(block.words)] = side_of(block, side)
            done += len(block.words)
            report(done, rows)
        return cls(pa.concat_arrays(words), vectors)

    def rows_of(self, wanted: Sequence[str], option: str) -> list[int]:
        """Row of each word; InputError that suggests near words where one is not known."""
        found = pc.index_in(pa.array(wanted, pa.string()), value_set=self.words).to_pylist()
        for word, row in zip(wanted, found):
            if row is None:
                near = suggestions(word, self.words)
                hint = f"; did you mean {' or '.join(map(quoted, near))}?" if near else ""
                size = f"{len(self.words):,}"
                raise InputError(f"{option}: {quoted(word)} is not in the vocabulary of {size} words{hint}")
        return found

    def neighbors(self, rows: Sequence[int], count: int) -> list[list[tuple[str, float]]]:
        """The nearest words of each row, with their cosines, nearest first."""
        ids, cosines = nearest(self.vectors, np.array(rows, np.int64), count)
        return [
            [(self.words[int(i)].as_py(), float(cosine)) for i, cosine in zip(near, values)]
            for near, values in zip(ids, cosines)
        ]


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
