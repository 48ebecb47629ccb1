"""What a run has recorded: options, checkpoints, vocabulary, the loss curve, and the corpus as rows."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batches import stored, tokens
from pipeline.batches.replay import ReplayRef
from pipeline.batches.sampling import Sampling
from pipeline.batches.shards import BatchShard
from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.model import loss_curve
from pipeline.model.checkpoints import CheckpointRef, UnusableCheckpoint, recorded
from pipeline.options import MAX_EPOCHS, Options
from pipeline.runs.directory import RunDirectory, is_run, open_run
from pipeline.runs.preprocessed_records import allow_corpus
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Record, Records
from pipeline.words.unigram import UnigramDistribution
from pipeline.words.vocabulary import VocabularyRef


@dataclasses.dataclass(frozen=True, repr=False, init=False)
class RecordedRun:
    """A run by its records; `Run` adds the vectors of its words."""

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
    def open(cls, uri: str | os.PathLike[str], step_option: str = "--step") -> Self:
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
