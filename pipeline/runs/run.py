"""A run, finished or in progress, to read from: for notebooks, evaluation, export and reports.

What it has recorded is in `recorded_run`; here are its words and their vectors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus.readers.values import INTEGERS
from pipeline.errors import ArtifactError, InputError
from pipeline.model.checkpoints import CheckpointRef, read_blocks, read_partition
from pipeline.model.initial_vectors import found_words
from pipeline.model.model import BLOCK_ROWS, Model
from pipeline.model.neighbors import unit_length
from pipeline.model.vectors import (
    USUAL_SIDE,
    OnProgress,
    Vectors,
    listed_words,
    rows_of_top,
    side_of,
    unknown_word,
    wanted_rows,
)
from pipeline.runs.directory import split_step
from pipeline.runs.preprocessed import items_of
from pipeline.runs.recorded_run import RecordedRun
from pipeline.runtime.shown_text import quoted


@dataclasses.dataclass(frozen=True, repr=False, init=False)
class Run(RecordedRun):
    """What a run has made, as Arrow and NumPy.

    Nothing is kept in memory: each call reads its artefacts, and checks them against their digests. Methods that take
    a `step` read the checkpoint after so many training steps, by default the newest. Where that is damaged or gone,
    they raise an ArtifactError; an older one is taken only if its step is asked for.

    Examples:
      >>> run = Run(uri)  # what was --output of the training
      >>> run.words()
      ['a', 'rose', 'is']
      >>> run.vectors().shape, run.options.dims
      ((3, 8), 8)
      >>> run.vocabulary().to_pylist()[0]
      {'word': 'a', 'count': 60}
      >>> [word for word, cosine in run.nearest("rose", top=2)]
      ['a', 'is']
    """

    def side(self, named: str | None = None) -> str:
        """Which of a word's two vectors is meant: the side that is named, else the usual one of the model.

        The usual one is "input" for skip-gram, and for CBOW the "mean" of both (docs/which-vectors.md).
        """
        return USUAL_SIDE[self.options.model] if named is None else named

    def vectors(self, side: str | None = None, step: int | None = None, top: int | None = None) -> np.ndarray:
        """The vectors, float32 [V, dims]: a row for each word, by id; with `top`, the first rows alone.

        Args:
          side: "input", "output", or "mean" of both; by default the usual one (`Run.side`).
          step: of the checkpoint.
          top: how many rows.
        """
        return self._vectors(side, step, top).vectors

    def read_vectors(
        self,
        side: str | None = None,
        step: int | None = None,
        top: int | None = None,
        report: OnProgress = lambda done, total: None,
    ) -> Vectors:
        """Words and one side of their vectors, as `vectors`, without words of --vocabulary that do not occur.

        Args:
          top: how many words, at most.
          report: called with (words read, of how many).
        """
        if not self.options.vocabulary:
            return self._vectors(side, step, top, report)
        absent = self.absent()
        rows = rows_of_top(top, absent)
        return self._vectors(side, step, rows, report).without(absent[:rows])

    def _vectors(
        self, side: str | None, step: int | None, top: int | None, report: OnProgress = lambda done, total: None
    ) -> Vectors:
        ref = self.checkpoint(step)
        rows = wanted_rows(top, ref.words)
        return Vectors.of_blocks(self._blocks(ref, rows), rows, ref.dims, self.side(side), report)

    def absent(self) -> np.ndarray:
        """bool [V]: which words have no vector that was trained: words of --vocabulary that do not occur in the corpus.

        They keep the random vectors that they began with, are never drawn as negatives, and are no neighbours of
        others. Words that began with vectors of --start_from are not among them.
        """
        absent = self._vocabulary().open(self.records).occurrences == 0
        found = found_words(self.records, self.key("checkpoints"))
        return absent if found is None else absent & ~found

    @property
    def has_integers(self) -> bool:
        """Whether the words are integers, because the input holds lists of them."""
        return items_of(self.directory) == INTEGERS

    def words(self, step: int | None = None, top: int | None = None) -> list[Any]:
        """The words of the vocabulary (int where `has_integers`), by id; with `top`, the first alone."""
        ref = self.checkpoint(step)
        rows = wanted_rows(top, ref.words)
        return [word for block in self._blocks(ref, rows) for word in self._typed(block.words).to_pylist()]

    def _typed(self, words: pa.Array) -> pa.Array:
        return words.cast(pa.int64()) if self.has_integers else words

    def __contains__(self, word: object) -> bool:
        """Whether the word (int where `has_integers`) is in the vocabulary."""
        text = self._text(word)
        return text is not None and self._row(text) is not None

    def index(self, word: str | int) -> int:
        """The id of a word: its row in `vectors()`, its place in `words()`. InputError if the word is not known."""
        return self._known_row(word, "index")

    def vector(self, word: str | int, side: str | None = None, step: int | None = None) -> np.ndarray:
        """The vector of a word, float32 [dims]; only its partition is read. InputError if the word is not known."""
        return self._vector(self._known_row(word, "vector"), side, step)

    def similarity(self, word: str | int, other: str | int, side: str | None = None, step: int | None = None) -> float:
        """The cosine of the vectors of two words. InputError if one of them is not known."""
        rows = [self._known_row(one, "similarity") for one in (word, other)]
        a, b = (self._vector(row, side, step).astype(np.float64) for row in rows)
        length = float(np.sqrt((a @ a) * (b @ b)))
        return float(a @ b) / length if length else 0.0

    def nearest(
        self,
        word: str | int | Iterable[str | int] | None = None,
        top: int = 10,
        side: str | None = None,
        step: int | None = None,
        *,
        positive: str | int | Iterable[str | int] | None = (),
        negative: str | int | Iterable[str | int] | None = (),
    ) -> list[tuple[Any, float]]:
        """The `top` words most similar to one, or to several, with their cosines, the most similar first.

        With `positive` and `negative`, those most similar to the mean of the unit vectors of the first less those of
        the second, without these words themselves: `positive=["king", "woman"], negative=["man"]`, as in gensim. A
        string is one word.

        Each call reads all vectors. For many words, read them once:
        `vectors = run.read_vectors()`, then `vectors.neighbors(vectors.rows_of(words, "words"), 10)`.

        Raises:
          InputError: a word is not in the vocabulary; the message names words with a similar spelling.
        """
        more, less = [*listed_words(word), *listed_words(positive)], listed_words(negative)
        if not more and not less:
            raise InputError("nearest: give a word, or words as positive and negative")
        vectors = self.read_vectors(side, step)
        rows = vectors.rows_of([self._known_text(one, "nearest") for one in [*more, *less]], "nearest")
        signs = np.array([1.0] * len(more) + [-1.0] * len(less), np.float32)
        near = vectors.nearest_to(signs @ unit_length(vectors.vectors[rows]), top, rows)
        return [(int(other), cosine) for other, cosine in near] if self.has_integers else near

    def odd_one_out(self, words: Iterable[str | int], side: str | None = None, step: int | None = None) -> Any:
        """The word that is least like the others: the lowest cosine to the mean of the unit vectors of all.

        Raises:
          InputError: there is no word, or one is not in the vocabulary.
        """
        given = [] if isinstance(words, str) else list(words)
        if not given:
            raise InputError("odd_one_out: give a list of words")
        rows = [self._known_row(word, "odd_one_out") for word in given]
        unit = unit_length(np.stack([self._vector(row, side, step) for row in rows]))
        return given[int(np.argmin(unit @ unit.mean(axis=0)))]

    def _known_row(self, word: str | int, asker: str) -> int:
        text = self._known_text(word, asker)
        row = self._row(text)
        if row is None:
            raise unknown_word(text, self._vocabulary().open(self.records).words, asker)
        return row

    def _known_text(self, word: object, asker: str) -> str:
        text = self._text(word)
        if text is None:
            raise InputError(f"{asker}: {quoted(str(word))} is no word but of type {type(word).__name__}: give text")
        return text

    def _text(self, word: object) -> str | None:
        """The word as text; None if it is of a type that no word has: the number 5 is a word where `has_integers`."""
        plain = word.as_py() if isinstance(word, pa.Scalar) else word
        is_integer = isinstance(plain, (int, np.integer)) and not isinstance(plain, bool) and self.has_integers
        return str(plain) if is_integer or isinstance(plain, str) else None

    def _row(self, word: str) -> int | None:
        """The id of a word; None if it is not known."""
        words = self._vocabulary().open(self.records).words
        try:
            row = pc.index(words, pa.scalar(word, words.type)).as_py()
        except UnicodeEncodeError:  # half a surrogate pair, which no word has
            return None
        return None if row < 0 else row

    def _vector(self, row: int, side: str | None, step: int | None) -> np.ndarray:
        block = read_partition(self.records, self.checkpoint(step), row // BLOCK_ROWS)
        return side_of(block, self.side(side))[row % BLOCK_ROWS].copy()

    def blocks(self, step: int | None = None, top: int | None = None) -> Iterator[Model]:
        """The model in parts of 65,536 words, for one that does not fit in memory; with `top`, the first alone."""
        ref = self.checkpoint(step)
        return self._blocks(ref, wanted_rows(top, ref.words))

    def _blocks(self, ref: CheckpointRef, rows: int) -> Iterator[Model]:
        try:
            for block in read_blocks(self.records, ref):
                first = slice(0, rows)
                yield Model(block.words[first], block.counts[first], block.input[first], block.output[first])
                rows -= len(block.words)
                if rows <= 0:
                    return
        except ArtifactError as error:
            raise ArtifactError(error.problem, self._other_checkpoints(ref.step)) from error

    def keyed_vectors(self, side: str | None = None, step: int | None = None) -> Any:
        """gensim's KeyedVectors with words, counts and vectors; ImportError without gensim."""
        try:
            from gensim.models import KeyedVectors
        except ImportError as error:
            raise ImportError("keyed_vectors() needs gensim: pip install 'beam2vec[gensim]'") from error

        ref = self.checkpoint(step)
        counts = np.concatenate([block.counts for block in self._blocks(ref, ref.words)])
        vectors = KeyedVectors(ref.dims, dtype=np.float32)
        keys = list(map(str, self.words(ref.step)))  # gensim takes integers for places
        vectors.add_vectors(keys, self.vectors(side, ref.step))
        vectors.expandos["count"] = counts  # `extras` of add_vectors does not take what its documentation says
        vectors.add_lifecycle_event("created", run=self.uri, step=ref.step, steps=ref.steps, digest=ref.digest)
        return vectors


def run_at(given: str) -> tuple[Run, CheckpointRef]:
    """The run and the checkpoint that RUN or RUN@STEP names; of RUN alone, the newest.

    Raises:
      InputError: there is no such run, or no such checkpoint.
    """
    uri, step = split_step(given)
    run = Run.open(uri, f"{uri}@STEP")
    return run, run.checkpoint(step)
