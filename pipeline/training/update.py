"""Training with --update: from the parent's vectors, and then the average of what was trained and these.

It trains in the stage "trained", which begins with a checkpoint of step 0, the parent's vectors in the new order. What
is averaged is the only checkpoint of the stage "checkpoints", so no reader takes vectors before that.

For both matrices, and a word that the parent had, in three operations of float32, in this order:

    W = parent + f (trained - parent),    f = sqrt(c / C), in float64, rounded once to float32

c: occurrences in the text of this run; C: its total in all text, so a word moves as far as the new text is part of what
is known of it. A word with c = 0 keeps its bytes. A word that is new takes what was trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.batches.shards import BatchShard
from pipeline.errors import ArtifactError
from pipeline.kernels.float_mode import default_float_mode
from pipeline.model.checkpoints import (
    TRAINED,
    VERSION,
    CheckpointNumbers,
    CheckpointRef,
    commit_checkpoint,
    latest_checkpoint,
    read_partition,
    record_end,
    recorded,
    write_partition,
)
from pipeline.model.initial_vectors import found_words
from pipeline.model.model import BLOCK_ROWS, Model, block_digest, join_digests
from pipeline.storage.commits import Commits
from pipeline.training.trainer import Trained, Trainer
from pipeline.words.vocabulary import Vocabulary


@default_float_mode()
def shares(occurrences: np.ndarray, totals: np.ndarray, had: np.ndarray) -> np.ndarray:
    """f of each word, float32 [V].

    Args:
      occurrences: int64 [V], c; totals: int64 [V], C; had: bool [V], whether the parent had the word.
    """
    f = np.sqrt(np.minimum(occurrences / np.maximum(totals, 1), 1.0)).astype(np.float32)
    return np.where(had, f, np.float32(1))


@default_float_mode()
def averaged(before: np.ndarray, trained: np.ndarray, f: np.ndarray) -> np.ndarray:
    """The rows of a matrix (float32 [n, dims]) after averaging; see the head of this module.

    >>> averaged(np.float32([[1, 2], [1, 2], [1, 2]]), np.float32([[3, 4]] * 3), np.float32([0, 0.5, 1]))
    array([[1., 2.],
           [2., 3.],
           [3., 4.]], dtype=float32)
    """
    difference = trained - before
    difference *= f[:, None]
    difference += before
    difference[f == 0] = before[f == 0]  # copied: -0.0 + 0.0 is 0.0
    difference[f == 1] = trained[f == 1]
    return difference


def trained_update(trainer: Trainer, vocabulary: Vocabulary, shards: Sequence[BatchShard]) -> CheckpointRef:
    """The checkpoint of a run with --update: trained and averaged, or that of an earlier attempt.

    Args:
      trainer: with the commits of the stage "checkpoints".
    """
    if done := finished_update(trainer.commits):
        return done
    commits = trained_stage(trainer.commits)

    def finish(trained: Trained) -> CheckpointRef:
        return average(trainer.commits, trained, vocabulary, trainer.provenance)

    return dataclasses.replace(trainer, commits=commits, finish=finish).train(
        vocabulary.words, vocabulary.counts, shards
    )


def trained_stage(commits: Commits) -> Commits:
    """The commits of the stage "trained". Without a sound step 0 its checkpoints are removed: training begins again."""
    trained = commits.beside(TRAINED)
    if first_checkpoint(trained) is None:
        trained.forget()
    return trained


def finished_update(commits: Commits) -> CheckpointRef | None:
    """The averaged checkpoint, if an earlier attempt has written it. What it was made of is then removed."""
    done = latest_checkpoint(commits.records, commits.key)
    if done is not None:
        record_end(commits, done, keep=1)
        commits.beside(TRAINED).forget()
    return done


def average(
    commits: Commits,
    trained: Trained,
    vocabulary: Vocabulary,
    provenance: Mapping[str, Any],
) -> CheckpointRef:
    """Writes the checkpoint of a run with --update, a partition at a time.

    Args:
      commits: of the stage "checkpoints".
      vocabulary: for the counts c and C.

    Raises:
      ArtifactError: the vectors to begin with are damaged or gone.
    """
    stage = commits.beside(TRAINED)
    first, had = recorded(commits.records, commits.key, TRAINED).get(0), found_words(commits.records, commits.key)
    if not isinstance(first, CheckpointRef) or had is None:
        raise ArtifactError(
            f"{commits.records.storage.uri(stage.path(''))} has lost the vectors of the parent",
            "start the run again with --overwrite",
        )
    f = shares(vocabulary.text_occurrences, vocabulary.occurrences, had)
    more = {**provenance, "words": trained.words, "steps": trained.step}
    parts, digests = [], []
    for index, after in enumerate(trained.blocks):
        before = read_partition(commits.records, first, index)
        rows = slice(index * BLOCK_ROWS, index * BLOCK_ROWS + len(after.words))
        sides = averaged(before.input, after.input, f[rows]), averaged(before.output, after.output, f[rows])
        block = Model(after.words, after.counts, *sides)
        digests.append(block_digest(block))
        parts.append(write_partition(commits, trained.step, (index, len(first.parts)), block, more))
    digest = join_digests(trained.words, trained.dims, digests)
    numbers = CheckpointNumbers(
        VERSION, trained.step, trained.step, digest, trained.words, trained.dims, trained.first_epoch_rows
    )
    ref = commit_checkpoint(commits, numbers, parts)
    record_end(commits, ref, keep=1)
    stage.forget()
    return ref


def first_checkpoint(trained: Commits) -> CheckpointRef | None:
    """Step 0 of the stage "trained", the vectors that training began with; None if it is missing or damaged."""
    ref = recorded(trained.records, trained.key, TRAINED).get(0)
    if not isinstance(ref, CheckpointRef) or any(trained.records.damage(part, "digest") for part in ref.parts):
        return None
    return ref
