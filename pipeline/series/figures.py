"""Measures the figures that gates judge: of a partition's text, and of the generation that was trained on it.

The text is looked at in a run that has only counted and encoded it, with all its words. So it is read by the same
workers as any text, and a bad day costs no training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.analysis.scores import evaluation_of
from pipeline.batches.rows import Rows, generate_rows, to_numpy
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.steps import slice_rows
from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.batches.tokens import is_kept_back, read_tokens, shard_of
from pipeline.corpus.spans import Spans
from pipeline.corpus.word_table import string_buffers
from pipeline.errors import InputError
from pipeline.model.neighbors import nearest
from pipeline.options import Options
from pipeline.runs.parent import ParentRef
from pipeline.runs.run import Run
from pipeline.training.holdout_loss import ROWS, mean_loss_of
from pipeline.words import unigram
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers
from pipeline.words.reservoir import keys_of

_TOKENS_FOR_ROWS = 16 * ROWS
"""Tokens of the sample: subsampling and unknown words leave fewer rows."""
_SHARDS = 16
_MOST_FREQUENT, _NEAREST = 1_000, 10


@dataclasses.dataclass(frozen=True)
class Text:
    """The text of a partition, in a run that has encoded it with all its words (--min_count=1)."""

    run: Run

    @property
    def words(self) -> pa.Array:
        """string [V]"""
        return _words(self.run)

    @property
    def counts(self) -> np.ndarray:
        """int64 [V]"""
        return self.run.vocabulary()["count"].to_numpy()

    def size(self) -> int:
        """How many words the text has."""
        return int(self.counts.sum())

    def bad_lines(self) -> float:
        """The share of lines that are bad."""
        lines = self.lines()
        return sum(one.bad_lines for one in self._counted()) / lines if lines else 0.0

    def lines(self) -> int:
        """How many lines or rows the text has."""
        return sum(one.lines for one in self._counted())

    def _counted(self) -> list[CountNumbers]:
        return [record.read(CountNumbers) for record in self.run.records.all(COUNTS, self.run.key(COUNTS))]

    def shards(self) -> list[Callable[[], tuple[np.ndarray, np.ndarray]]]:
        """Functions that read (tokens int32 [n], offsets int64 [s + 1]), in order."""
        records = self.run.records
        shards = sorted(map(shard_of, records.all(TOKENS, self.run.key(TOKENS))), key=lambda shard: shard.index)
        return [lambda shard=shard: read_tokens(records.read(shard.artifact)) for shard in shards]  # type: ignore[misc]

    def keys(self, tokens: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """uint64 [s]: the keys of sentences, as the reservoir has them."""
        buffer, places = string_buffers(self.words)
        return keys_of(Spans(buffer, places[tokens], places[tokens + 1], offset))


@dataclasses.dataclass(frozen=True)
class Sample:
    """Sentences of the text, evenly from its shards.

    Attributes:
      words: string [V]; tokens: int32 [n], rows of them; offset: int64 [s + 1].
    """

    words: pa.Array
    tokens: np.ndarray
    offset: np.ndarray


def sample_of(text: Text, holdout: float) -> Sample:
    """Sentences for a loss; with --holdout, those that training keeps back."""
    shards = text.shards()
    chosen = np.unique(np.linspace(0, len(shards) - 1, _SHARDS).astype(int)).tolist() if shards else []
    tokens, lengths, words = [np.empty(0, np.int32)], [np.empty(0, np.int64)], text.words
    total = 0
    for n, shard in enumerate(chosen, 1):
        ids, offset = shards[shard]()
        rows = np.arange(len(offset) - 1)
        if holdout:
            rows = rows[is_kept_back(text.keys(ids, offset), holdout)]
        before = np.cumsum(np.diff(offset)[rows]) - np.diff(offset)[rows]
        rows = rows[before < _TOKENS_FOR_ROWS * n // len(chosen) - total]
        for row in rows.tolist():
            tokens.append(ids[offset[row] : offset[row + 1]])
        lengths.append(np.diff(offset)[rows])
        total += int(lengths[-1].sum())
    joined = np.concatenate(lengths)
    return Sample(words, np.concatenate(tokens), np.concatenate([[0], np.cumsum(joined)]).astype(np.int64))


def unknown_share(text: Text, parent: Run) -> float:
    """The share of the occurrences of words that are not in the parent's vocabulary."""
    known = pc.is_in(text.words, value_set=_words(parent)).to_numpy(zero_copy_only=False)
    counts = text.counts
    return float(counts[~known].sum()) / float(counts.sum())


def seen_share(text: Text, parent: Run) -> float | None:
    """The share of new sentences that were there before: in the parent's text, or earlier in this one.

    It is taken over the sentences that would be in the parent's reservoir if the parent had had them. None where the
    parent keeps no text, or none of the new sentences falls below its largest key.
    """
    if not parent.options.replay_words:
        return None
    keys = ParentRef.of(parent).open_reservoir().keys
    if not len(keys):
        return None
    parts = [np.empty(0, np.uint64)]
    for read in text.shards():
        new = text.keys(*read())
        parts.append(new[new <= keys[-1]])
    below = np.concatenate(parts)
    different = np.unique(below)
    places = np.minimum(np.searchsorted(keys, different), len(keys) - 1)
    fresh = int((keys[places] != different).sum())
    return 1 - fresh / len(below) if len(below) else None


def losses(sample: Sample, noise_of: Run, models: list[Run]) -> list[float] | None:
    """The mean loss of each model on the sample, over the words that all of them have.

    Rows and negatives are the same for all: they are drawn from the noise of `noise_of`, which is one of the models.
    None where nothing is left of the sample.
    """
    vocabulary, options = noise_of.vocabulary(), noise_of.options
    words = _words(noise_of)
    shared = np.ones(len(words), bool)
    for model in models:
        shared &= pc.is_in(words, value_set=_words(model)).to_numpy(zero_copy_only=False)
    counts = vocabulary["count"].to_numpy()[shared]
    shared_words = words.filter(pa.array(shared))
    rows = _rows(sample, shared_words, counts, options)
    if rows is None:
        return None
    found = []
    for model in models:
        places = pc.index_in(shared_words, value_set=_words(model)).to_numpy(zero_copy_only=False).astype(np.int64)
        own = Rows(places[rows.target], rows.offset, places[rows.context], places[rows.negatives])
        found.append(mean_loss_of(own, model.blocks(), options.model))
    return found


def _rows(sample: Sample, words: pa.Array, counts: np.ndarray, options: Options) -> Rows | None:
    places = pc.index_in(sample.words, value_set=words)
    ids = np.asarray(pc.fill_null(places, -1), np.int32)[sample.tokens]
    kept = ids >= 0
    ends = np.concatenate([[0], np.cumsum(kept)])[sample.offset]
    if len(words) < 2 or not counts.any() or not kept.any():
        return None
    tables = Tables.of(unigram.build(counts, options.power, options.subsample))
    sampling = Sampling(options.window, options.negatives, "any", options.seed)
    batch = generate_rows(ids[kept], ends.astype(np.int64), 0, tables, sampling, 0)
    if not batch.num_rows:
        return None
    rows = to_numpy(batch)[1]
    return slice_rows(rows, 0, min(rows.size, ROWS))


def neighbors_kept(before: Run, after: Run) -> float | None:
    """The share of ten nearest words that are the same, of the most frequent words that both models have."""
    first, second = before.read_vectors(), after.read_vectors()
    places = pc.index_in(second.words, value_set=first.words)
    shared = places.is_valid().to_numpy(zero_copy_only=False)
    old, new = places.drop_null().to_numpy(), np.flatnonzero(shared)
    if len(new) < _NEAREST + 2:
        return None
    sides = first.vectors[old], second.vectors[new]
    rows = np.arange(min(_MOST_FREQUENT, len(new)))
    near = [nearest(vectors, rows, _NEAREST)[0].tolist() for vectors in sides]
    return float(np.mean([len(set(a) & set(b)) / _NEAREST for a, b in zip(*near)]))


def changes(before: Run, after: Run, pairs: tuple[str, ...]) -> Iterator[tuple[str, float | None]]:
    """(file, change of Spearman's correlation) of each evaluation set; None where too few of its words are known."""
    from pipeline.analysis.judgements import read_pairs

    sides = [run.read_vectors() for run in (before, after)] if pairs else []
    for uri in pairs:
        judged = read_pairs(uri)
        try:
            scores = [evaluation_of(known, [judged])["pairs"][0]["spearman"] for known in sides]
        except InputError:  # no word of it is known yet
            scores = [None, None]
        yield uri, None if None in scores else scores[1] - scores[0]


def _words(run: Run) -> pa.Array:
    return run.vocabulary()["word"].combine_chunks().cast(pa.string())
