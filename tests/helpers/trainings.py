"""A small corpus of token ids, and the trainer on it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.batches.sampling import Sampling
from pipeline.batches.shards import BatchShard
from pipeline.batches.tokens import sentences_to_parquet
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.options import Options
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Records
from pipeline.training.trainer import Trainer
from pipeline.words import unigram
from tests.helpers.keys import KEY

VOCABULARY, POSITIONS, SENTENCE = 300, 6000, 12
TOKENS = np.random.default_rng(0).zipf(1.3, POSITIONS).astype(np.int64) % VOCABULARY
COUNTS = np.bincount(TOKENS, minlength=VOCABULARY) + 1


WORDS = pa.array([f"word{i}" for i in range(VOCABULARY)])


def shards_of(records, options, cuts=(0, POSITIONS)):
    distribution = unigram.build(COUNTS, options.power, options.subsample)
    stored = records.write_artifact("unigram/unigram.parquet", to_parquet(distribution.to_table()))
    made = []
    for i, (begin, end) in enumerate(zip(cuts[:-1], cuts[1:])):
        offset = np.append(np.arange(0, end - begin, SENTENCE), end - begin).astype(np.int32)
        data = sentences_to_parquet(TOKENS[begin:end].astype(np.int32), offset)
        tokens = records.write_artifact(f"tokens/{i}.parquet", data)
        kept_back = records.write_artifact(f"tokens/kept-back/{i}.parquet", data) if options.holdout else None
        place = i, begin, end - begin
        made.append(BatchShard(*place, Sampling.of(options), tokens, stored, kept_back=kept_back))
    return made


def new_records():
    records = Records(open_storage("memory://test"))
    for info in records.storage.list():
        records.storage.delete(info.path)
    return records


def commits_of(records):
    """Of the checkpoints."""
    return Commits(records, CHECKPOINTS, KEY)


def train(options, records=None, cuts=(0, POSITIONS), **hooks):
    records = records or new_records()
    return Trainer(options, commits_of(records), **hooks).train(WORDS, COUNTS, shards_of(records, options, cuts)[::-1])


def options_of(**values):
    return Options.checked({"dims": 20, "batch_size": 256, "epochs": 2, "threads": 1, **values})
