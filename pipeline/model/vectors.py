"""One vector of each word, and the words near to one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.model.model import Model
from pipeline.model.neighbors import nearest
from pipeline.model.spelling import suggestions
from pipeline.runtime.shown_text import quoted

SIDES = ("input", "output", "mean")
"""Which of a word's two vectors: as a context, as a target (or negative), or half their sum."""

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
    def of_blocks(
        cls,
        blocks: Iterable[Model],
        rows: int,
        dims: int,
        side: str = "input",
        report: Report = lambda done, total: None,
    ) -> Vectors:
        """One side of a model that comes in blocks of `rows` words together; holds a block beside it."""
        words, vectors, done = [], np.empty((rows, dims), np.float32), 0
        for block in blocks:
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


def side_of(block: Model, side: str) -> np.ndarray:
    """float32 [V, dims]: the vectors of one side, or half the sum of both."""
    if side == "mean":
        return (block.input + block.output) * np.float32(0.5)
    if side not in SIDES:
        raise InputError(f"--vectors={side}: allowed are {', '.join(SIDES)}")
    return block.input if side == "input" else block.output
