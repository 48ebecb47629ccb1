"""A text counted and encoded once, in memory, from which many models are trained."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline.batches.sampling import Sampling
from pipeline.batches.schedule import Schedule
from pipeline.batches.shards import BatchShard
from pipeline.batches.tokens import encode_unit, tokens_to_parquet
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.work_units import TextSource, plan_work_units
from pipeline.model.checkpoints import END_STAGE, CheckpointRef, read_checkpoint
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.initial_vectors import initial_vectors
from pipeline.model.loss_curve import STAGE as METRICS
from pipeline.model.model import Model
from pipeline.options import Options
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Artifact, Records
from pipeline.training.epochs import ranges_to_train
from pipeline.training.on_device import new_backend
from pipeline.training.replicas.trainer import Replicas
from pipeline.training.trainer import Trainer
from pipeline.words import unigram
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts
from pipeline.words.vocabulary import Vocabulary, build_vocabulary

_KEY = "0" * 32
"""Stage key of every model that is trained."""


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text counted and encoded, held in memory, from which many models can be trained."""

    vocabulary: Vocabulary
    shards: list[BatchShard]
    """Their sampling is that of the options they were prepared with."""
    records: Records

    @property
    def tokens(self) -> int:
        return sum(shard.positions for shard in self.shards)

    def fit(self, options: Options, **trainer: Any) -> CheckpointRef:
        """Train; of `options`, what training depends on. `trainer` goes to `Trainer`, or `Replicas`."""
        commits = Commits(self.records, CHECKPOINTS, _KEY)
        forget_training(commits)
        shards = [dataclasses.replace(shard, sampling=Sampling.of(options)) for shard in self.shards]
        vocabulary = self.vocabulary
        if options.replicas > 1:  # one after the other, each on all threads
            made: Trainer | Replicas = Replicas(options, commits, threads=options.thread_count, **trainer)
        else:
            made = Trainer(options, commits, **trainer)
        return made.train(vocabulary.words, vocabulary.counts, shards)

    def train(self, options: Options, **trainer: Any) -> Model:
        """The model that `fit` makes."""
        return read_checkpoint(self.records, self.fit(options, **trainer))


def forget_training(commits: Commits) -> None:
    """Removes the records of a model, so that the next one is trained from the start. `commits` are of checkpoints."""
    for stage in (CHECKPOINTS, END_STAGE, METRICS):
        for record in commits.beside(stage).all():
            commits.records.remove(record)


class Session:
    """A model in training, without metrics and checkpoints: what `train` of other libraries does."""

    def __init__(self, corpus: Corpus, options: Options):
        self._corpus, self._threads = corpus, options.thread_count
        self._shards = [dataclasses.replace(shard, sampling=Sampling.of(options)) for shard in corpus.shards]
        self._schedule = Schedule.of(options, corpus.tokens)
        w_in = initial_vectors(corpus.vocabulary.words.to_pylist(), options.dims, options.seed)
        w_out = np.zeros(w_in.shape, np.float32)
        self._backend = new_backend(w_in, w_out, options, self._schedule, self._threads).backend

    def train(self) -> None:
        """An epoch, rows included."""
        schedule, records = self._schedule, self._corpus.records
        with ThreadPoolExecutor(self._threads) as pool:
            for block in ranges_to_train(
                self._backend,
                self._shards,
                records,
                0,
                schedule.batch_size,
                0,
                schedule.steps_per_epoch,
                pool if self._threads > 1 else None,
            ):
                self._backend.train(block.rows, block.bounds, schedule.learning_rates(block.first, block.steps))


def prepare(path: str, options: Options, name: str) -> Corpus:
    """Count, build the vocabulary and encode, by the functions of the job's stages.

    Args:
      path: a plain text file.
      name: of the memory:// storage that holds tokens and tables; one for each corpus.
    """
    records = Records(open_storage(f"memory://{name}"))
    reader = open_reader(options, [])
    units = plan_work_units([TextSource(path, os.path.getsize(path))], options.block_bytes)
    counts = merge_counts(count_unit(unit, reader).table for unit in units)
    vocabulary = Vocabulary.from_table(build_vocabulary([counts], options.min_count, options.max_vocabulary))
    table = unigram.build(vocabulary.counts, options.power, options.subsample).to_table()
    distribution = records.write_artifact("unigram/unigram.parquet", to_parquet(table))
    encoded = ((encode_unit(unit, vocabulary, reader)) for unit in units)
    stored = (
        (records.write_artifact(f"tokens/{index}.parquet", tokens_to_parquet(unit.table)), unit.tokens)
        for index, unit in enumerate(encoded)
    )
    return Corpus(vocabulary, list(_shards(stored, Sampling.of(options), distribution)), records)


def _shards(stored: Iterable[tuple[Artifact, int]], sampling: Sampling, distribution: Artifact) -> Iterator[BatchShard]:
    position = 0
    for index, (artifact, tokens) in enumerate(stored):
        yield BatchShard(index, position, tokens, sampling, artifact, distribution)
        position += tokens
