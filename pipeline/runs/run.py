"""A run, finished or in progress, to read from: for notebooks, evaluation, export and reports."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.batches import stored, tokens
from pipeline.batches.replay import ReplayRef
from pipeline.batches.sampling import Sampling
from pipeline.batches.shards import BatchShard
from pipeline.corpus.readers.values import INTEGERS
from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.model import loss_curve
from pipeline.model.checkpoints import CheckpointRef, UnusableCheckpoint, read_blocks, read_partition, recorded
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
from pipeline.options import MAX_EPOCHS, Options
from pipeline.runs.directory import RunDirectory, is_run, open_run, split_step
from pipeline.runs.preprocessed import items_of
from pipeline.runs.preprocessed_records import allow_corpus
from pipeline.runtime.shown_text import quoted
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Record, Records
from pipeline.words.unigram import UnigramDistribution
from pipeline.words.vocabulary import VocabularyRef


@dataclasses.dataclass(frozen=True, repr=False, init=False)
class Run:
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

    uri: str
    directory: RunDirectory
    step_option: str = "--step"
    """What selects a checkpoint of this run, for messages: an option, or RUN@STEP."""

    def __init__(
        self,
        uri: str | os.PathLike[str],
        directory: RunDirectory | None = None,
        step_option: str = "--step",
        corpus: str = "",
    ):
        """The run in a folder or bucket prefix; of a series, what is current now, or SERIES@NAME.

        Args:
          directory: the run, where it is open already.
          corpus: the run that it takes its corpus side from, if that may be read although it is in another store.

        Raises:
          InputError: there is no run.
        """
        path = os.fspath(uri)
        if corpus:
            allow_corpus(corpus)
        opened = directory or open_run(path)
        if not directory and opened.storage.root != open_storage(path).root:
            path = opened.storage.root  # of a series: what is current may be another soon
        object.__setattr__(self, "uri", path)
        object.__setattr__(self, "directory", opened)
        object.__setattr__(self, "step_option", step_option)

    @classmethod
    def open(cls, uri: str | os.PathLike[str], step_option: str = "--step") -> Run:
        """The same as `Run(uri)`."""
        return cls(uri, None, step_option)

    def __repr__(self) -> str:
        """The run, with the step of its newest checkpoint or what is wrong with it; partitions are not read."""
        try:
            if self.directory.has_model:
                return f"<Run {self.uri}: {self.checkpoint().place}>"
            return f"<Run {self.uri}: a preprocessed corpus, {self.vocabulary_tokens():,} tokens>"
        except PipelineError as error:
            return f"<Run {self.uri}: {error}>"

    @property
    def records(self) -> Records:
        return self.directory.records

    @property
    def options(self) -> Options:
        """The model and layout options of the run; execution options, which are not kept, have their defaults."""
        return self.directory.pinned(Options())

    @property
    def identity(self) -> dict[str, Any]:
        """What is in run.json: options, inputs, tokenizer, versions."""
        return self.directory.identity

    def key(self, stage: str) -> str:
        return self.directory.keys[stage]

    def checkpoint(self, step: int | None = None) -> CheckpointRef:
        """The checkpoint after `step` training steps, by default the newest.

        Its partitions are checked when they are read.

        Raises:
          InputError: there is no checkpoint yet, or none of this step.
          ArtifactError: its record is damaged, or is missing although training ended with it.
        """
        checkpoints = self._checkpoints()
        if step is None:
            if not checkpoints:
                remedy = self._remedy() if self.directory.has_model else f"run beam2vec train with --corpus={self.uri}"
                raise InputError(f"{self.uri} has no checkpoint yet: {remedy}")
            step = max(checkpoints)
        if step not in checkpoints:
            steps = ", ".join(map(str, checkpoints)) or "none"
            option = self.step_option
            named = f"{option.removesuffix('STEP')}{step}" if option.endswith("@STEP") else f"{option}={step}"
            raise InputError(f"{named}: {self.uri} has no such checkpoint; there are: {steps}")
        ref = checkpoints[step]
        if isinstance(ref, UnusableCheckpoint):
            raise ArtifactError(ref.problem, self._other_checkpoints(step))
        return ref

    def _checkpoints(self) -> dict[int, CheckpointRef | UnusableCheckpoint]:
        return recorded(self.records, self.key("checkpoints"))

    def _other_checkpoints(self, damaged: int) -> str:
        """What to do if the checkpoint of a step is damaged."""
        checkpoints = self._checkpoints()
        others = [str(step) for step, ref in checkpoints.items() if step != damaged and isinstance(ref, CheckpointRef)]
        ways = ["start the training again"] if damaged == max(checkpoints, default=damaged) or not others else []
        if others:
            ways.append(f"take another checkpoint by {self.step_option} (there are: {', '.join(others)})")
        return ", or ".join(ways)

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

    def vocabulary(self) -> pa.Table:
        """A table of `word` (string; int64 where items are integers) and `count` (int64), the most frequent first.

        A word's id is its row.
        """
        return self._vocabulary().open(self.records).to_table()

    def _vocabulary(self) -> VocabularyRef:
        return VocabularyRef.of(self._record("vocabulary", "vocabulary"))

    def vocabulary_words(self) -> int:
        """How many words the vocabulary has."""
        return self._vocabulary().words

    def vocabulary_tokens(self) -> int:
        """How many tokens of the corpus are in the vocabulary."""
        return self._vocabulary().tokens

    def unigram(self) -> UnigramDistribution:
        """What negatives are drawn from, and which tokens subsampling keeps."""
        data = self.records.read(self._record("unigram", "unigram").artifact)
        return UnigramDistribution.from_table(pq.read_table(pa.BufferReader(data)))

    def metrics(self) -> pa.Table:
        """The loss curve, a row for each training step that was sampled.

        `step`, `epoch` and `position` (int64) are those done by then. `loss` (float64) is the mean per
        (context, output) pair since the row before, `learning_rate` is float32. docs/schema.md has the rest.
        """
        return loss_curve.read_metrics(self.records, self.key("checkpoints"))

    def devices(self) -> list[loss_curve.TrainedOn]:
        """What the steps were trained on, in their order; each entry stands until the next."""
        return loss_curve.read_devices(self.records, self.key("checkpoints"))

    def shards(self) -> list[BatchShard]:
        """References to the corpus as token ids; InputError unless all of it is encoded."""
        unigram = self._record("unigram", "unigram").artifact
        tokens_of_corpus, parent = self.vocabulary_tokens(), self.identity.get("update")
        sampling = Sampling.of(self.options, parent["model"] if parent else "")
        replay = ReplayRef.of(self._record("replay", "replay")) if parent else None
        stored = self._stored()
        encoded = self.records.all(tokens.STAGE, self.key(tokens.STAGE))
        token_shards = sorted(map(tokens.shard_of, encoded), key=lambda shard: shard.index)
        number = sum(shard.tokens + shard.kept_back_tokens for shard in token_shards)
        if number != tokens_of_corpus:
            raise InputError(f"{self.uri} has {number:,} of {tokens_of_corpus:,} tokens as ids: {self._remedy()}")
        shards: list[BatchShard] = []
        position, of = 0, sum(shard.tokens for shard in token_shards)
        for shard in token_shards:
            place, rows = (shard.index, position, shard.tokens), stored.get(shard.index, ())
            artifacts = shard.artifact, unigram
            shards.append(BatchShard(*place, sampling, *artifacts, rows, replay, shard.kept_back, of))
            position += shard.tokens
        return shards

    def batches(self, epoch: int = 0) -> Iterator[pa.RecordBatch]:
        """The training rows of an epoch (from 0), in corpus order: the rows that the model is trained on.

        Batches of position int64, context list<int32>, target int32, negatives fixed_size_list<int32>[K]. They are read
        if they are stored, else made again. `pipeline.batches.rows.to_numpy` turns a batch into arrays.

        Raises:
          InputError: the run has no such epoch, or not all of the corpus is encoded.
        """
        epochs = self.options.epochs if self.directory.has_model else MAX_EPOCHS
        if not 0 <= epoch < epochs:
            raise InputError(f"epoch {epoch}: {self.uri} has epochs 0 to {epochs - 1}")
        shards = self.shards()
        return (batch for shard in shards for batch in shard.batches(self.records, epoch))

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

    def _record(self, stage: str, name: str) -> Record:
        record = self.records.load(stage, name, self.key(stage))
        if record is None:
            if (corpus := self.identity.get("corpus")) and not is_run(corpus):
                raise InputError(
                    f"{self.uri} takes its {stage} from the run in {corpus}, which is gone: put it back, or name its"
                    " new place by beam2vec train with --corpus"
                )
            raise InputError(f"{self.uri} has no {stage} yet: {self._remedy()}")
        return record

    def _remedy(self) -> str:
        return f"run beam2vec {'train' if self.directory.has_model else 'preprocess'} with this --output (again)"

    def _stored(self) -> dict[int, tuple[Artifact, ...]]:
        """Shard -> its stored epochs, up to the first that is missing."""
        artifacts: dict[int, dict[int, Artifact]] = {}
        for record in self.records.all(stored.STAGE, self.key(stored.STAGE)):
            if place := stored.stored_place(record.name):
                artifacts.setdefault(place[1], {})[place[0]] = record.artifact
        return {
            shard: tuple(epochs[epoch] for epoch in itertools.takewhile(epochs.__contains__, itertools.count()))
            for shard, epochs in artifacts.items()
        }


def run_at(given: str) -> tuple[Run, CheckpointRef]:
    """The run and the checkpoint that RUN or RUN@STEP names; of RUN alone, the newest.

    Raises:
      InputError: there is no such run, or no such checkpoint.
    """
    uri, step = split_step(given)
    run = Run.open(uri, f"{uri}@STEP")
    return run, run.checkpoint(step)
