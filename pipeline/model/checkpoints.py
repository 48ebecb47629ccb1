"""Checkpoints: a model in Parquet, a file for each partition (65,536 words), complete when its record exists.

    checkpoints/KEY/step=000000012345/part-000000-of-000004.parquet
      word string (int64 where the items are integers), id int32, count int64, input and output fixed_size_list<float32>

A run with --update trains in trained/KEY/step=... in the same form, from step 0 on: the vectors of its parent. Their
average with what was trained is its one checkpoint. Then trained/ is removed.

No column has nulls. Vectors are stored without encoding or compression (floats do not compress), so every Parquet
reader can read them as lists. The schema metadata of each partition says where the checkpoint comes from, as JSON under
"beam2vec".

When training ends, a record says with which step. So it is noticed if the last checkpoint is gone, and the one before
it is not taken for the last.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batches.schedule import step_name, step_of
from pipeline.corpus.readers.values import INTEGERS
from pipeline.errors import ArtifactError
from pipeline.model.model import BLOCK_ROWS, Model, block_digest, join_digests, model_digest
from pipeline.runtime import memory
from pipeline.runtime.messages import warn
from pipeline.runtime.shown_text import shown
from pipeline.storage.commits import Commits
from pipeline.storage.records import (
    KEY_DIGITS,
    Artifact,
    Digest,
    Number,
    Record,
    Records,
    canonical_json,
    record_path,
    stage_folder,
)

STAGE = "checkpoints"
TRAINED = "trained"
"""The stage of the checkpoints of a run with --update until they are averaged with its parent's vectors.

Its step 0 is kept as long as the stage is.
"""
PARTS_STAGE = "merges"
"""The stage of records of single partitions, which several workers make before a record makes them a checkpoint."""
VERSION = 1
"""Version of checkpoints. Raise it when their files or meaning change: runs do not resume from other versions."""
METADATA_KEY = b"beam2vec"
GROUP_ROWS = 8_192
"""Words in a row group, and words that are copied at a time to write it."""
END_STAGE = "training"
"""The stage of the one record that says with which step training ended."""
_END = "end"
_RECORD = re.compile(r"records/[a-z]+/[0-9a-f]{8}/step=(\d{12})\.json")
_PART = re.compile(r"[a-z]+/[0-9a-f]{8}/step=(\d{12})/part-\d{6}-of-\d{6}\.parquet")


@dataclasses.dataclass(frozen=True)
class CheckpointNumbers:
    """What is recorded of a checkpoint; its artefacts are the partitions in order."""

    version: Number
    step: Number
    steps: Number | None
    """training steps of the whole run; None if not known"""
    digest: Digest
    """of the model"""
    words: Number
    dims: Number
    first_epoch_rows: Number | None = None
    """targets trained on in the first epoch, up to this step; None if not known"""


@dataclasses.dataclass(frozen=True)
class EndNumbers:
    """What is recorded when training is over."""

    step: Number


@dataclasses.dataclass(frozen=True)
class CheckpointRef:
    """A committed checkpoint, after `step` training steps, in `folder` of the output."""

    step: int
    folder: str
    digest: str
    words: int
    dims: int
    parts: tuple[Artifact, ...]
    steps: int | None = None
    """training steps of the whole run; None if the record does not say"""
    first_epoch_rows: int | None = None
    """targets trained on in the first epoch, up to this step; None if the record does not say"""

    @classmethod
    def of_record(cls, record: Record) -> CheckpointRef:
        n = record.read(CheckpointNumbers)
        if len(record.artifacts) != max(1, -(-n.words // BLOCK_ROWS)):
            raise ArtifactError(
                f"{record.path} is damaged: it names {len(record.artifacts):,} partitions for {n.words:,} words",
                "delete it and start the run again",
            )
        folder = f"{record.stage}/{record.key[:KEY_DIGITS]}/{record.name}"
        return cls(n.step, folder, n.digest, n.words, n.dims, record.artifacts, n.steps, n.first_epoch_rows)

    @property
    def place(self) -> str:
        """The step in words: "step 240 of 284"."""
        return step_of(self.step, self.steps)


def write_checkpoint(
    commits: Commits,
    step: int,
    model: Model,
    provenance: Mapping[str, Any],
    steps: int | None = None,
    first_epoch_rows: int | None = None,
) -> CheckpointRef:
    """Writes the partitions, then the record that makes them a checkpoint.

    Args:
      commits: of this stage.
      step: training steps done, over all epochs.
      provenance: JSON values for the metadata (configuration, versions, input digest, …); step, steps, digest, words
        and dims are added. "items" says whether the words are integers.
      steps: training steps of the whole run; None if not known.
      first_epoch_rows: targets trained on in the first epoch, up to this step; None if not known.
    """
    digest = model_digest(model)
    blocks = list(model.blocks())
    more = {"digest": digest, "words": len(model.words), "steps": steps}
    parts = [
        write_partition(commits, step, (index, len(blocks)), block, {**provenance, **more})
        for index, block in enumerate(blocks)
    ]
    numbers = CheckpointNumbers(VERSION, step, steps, digest, len(model.words), model.dims, first_epoch_rows)
    return commit_checkpoint(commits, numbers, parts)


def write_partition(
    commits: Commits, step: int, place: tuple[int, int], block: Model, provenance: Mapping[str, Any]
) -> Artifact:
    """Writes one partition. It counts when the record of the checkpoint is written.

    Args:
      place: (index of the partition, number of partitions).
      block: its words, at most BLOCK_ROWS.
    """
    index, parts = place
    word_type = pa.int64() if provenance.get("items") == INTEGERS else pa.string()
    more = {"checkpoint_version": VERSION, "step": step, "dims": block.dims}
    schema = _schema(block.dims, {**provenance, **more}, word_type)
    tail = f"{step_name(step)}/part-{index:06d}-of-{parts:06d}.parquet"
    return commits.stream(tail, lambda file: _write_parquet(file, block, index * BLOCK_ROWS, schema))


def commit_checkpoint(commits: Commits, numbers: CheckpointNumbers, parts: Sequence[Artifact]) -> CheckpointRef:
    """Commits the record that makes the partitions, in order, a checkpoint."""
    return CheckpointRef.of_record(commits.commit(step_name(numbers.step), parts, numbers))


def record_end(commits: Commits, ref: CheckpointRef, keep: int) -> None:
    """Records, once, that training has ended, if this checkpoint is that of the last step.

    Before that it removes older checkpoints but `keep`: a command may have been killed between the last one and this.
    What is TRAINED has not ended: it is averaged yet.
    """
    ends = commits.beside(END_STAGE)
    if commits.stage == STAGE and ref.step == ref.steps and ends.load(_END) is None:
        prune_checkpoints(commits, keep)
        ends.commit(_END, (), EndNumbers(ref.step))


@dataclasses.dataclass(frozen=True)
class UnusableCheckpoint:
    """A checkpoint whose record is damaged, or is missing although training ended with it."""

    problem: str
    is_missing: bool = False


def recorded(records: Records, key: str, stage: str = STAGE) -> dict[int, CheckpointRef | UnusableCheckpoint]:
    """Step -> the checkpoint recorded under this stage key, by rising step; partitions are not checked."""
    # This is read first: if a run ends at the same time, its last checkpoint is listed below.
    ends = [record for _, record in records.scan(stage_folder(END_STAGE, key))] if stage == STAGE else []
    end = next((record.read(EndNumbers).step for record in ends if record and record.key == key), None)
    checkpoints: dict[int, CheckpointRef | UnusableCheckpoint] = {}
    for path, record in records.scan(stage_folder(stage, key)):
        if record and record.key == key:
            try:
                ref = CheckpointRef.of_record(record)
            except ArtifactError as error:
                if match := _RECORD.fullmatch(path):
                    checkpoints[int(match[1])] = UnusableCheckpoint(error.problem)
                continue
            checkpoints[ref.step] = ref
        elif record is None and (match := _RECORD.fullmatch(path)):
            checkpoints[int(match[1])] = UnusableCheckpoint(f"{records.storage.uri(path)} is damaged")
    if None in ends:  # damaged; it is written when training ends, with the last step
        end = max((ref.steps or 0 for ref in checkpoints.values() if isinstance(ref, CheckpointRef)), default=0) or None
    if end is not None and end not in checkpoints:
        path = record_path(STAGE, key, step_name(end))
        problem = f"{records.storage.uri(path)} is missing, and training ended with this checkpoint"
        checkpoints[end] = UnusableCheckpoint(problem, is_missing=True)
    return dict(sorted(checkpoints.items()))


def checkpoints(records: Records, key: str, stage: str = STAGE) -> list[CheckpointRef]:
    """The checkpoints with whole records under this stage key, by rising step; partitions are not checked."""
    known = recorded(records, key, stage).values()
    return [checkpoint for checkpoint in known if isinstance(checkpoint, CheckpointRef)]


def latest_checkpoint(records: Records, key: str, stage: str = STAGE) -> CheckpointRef | None:
    """The newest sound checkpoint, to resume from. All its partitions are read; damaged newer ones are logged.

    To read a run use `Run.checkpoint`, which skips nothing.
    """
    for checkpoint in reversed(recorded(records, key, stage).values()):
        if isinstance(checkpoint, UnusableCheckpoint):
            damage: str | None = checkpoint.problem
        elif not (damage := _damage(records, checkpoint, "digest")):
            return checkpoint
        warn(f"{damage}: this checkpoint is skipped")
    return None


def read_checkpoint(records: Records, ref: CheckpointRef) -> Model:
    """The model, after checks of the digests of its partitions and its own; ArtifactError names what differs."""
    words, counts = [], np.empty(ref.words, np.int64)
    vectors = [np.empty((ref.words, ref.dims), np.float32) for _ in range(2)]
    start = 0
    for block in read_blocks(records, ref):
        rows = slice(start, start + len(block.words))
        words.append(block.words)
        counts[rows], vectors[0][rows], vectors[1][rows] = block.counts, block.input, block.output
        start = rows.stop
    return Model(pa.concat_arrays(words), counts, *vectors)


def read_blocks(records: Records, ref: CheckpointRef) -> Iterator[Model]:
    """The partitions one by one, each after checks of its digest and its ids.

    After the last one, ArtifactError unless together they are the recorded model: each may be whole, and of another.
    """
    digests = []
    for index in range(len(ref.parts)):
        block = read_partition(records, ref, index)
        digests.append(block_digest(block))
        yield block
    check_digest(records, ref, digests)


def read_partition(records: Records, ref: CheckpointRef, index: int) -> Model:
    """One partition, after checks of its digest and its ids."""
    first, stop = index * BLOCK_ROWS, min(ref.words, (index + 1) * BLOCK_ROWS)
    artifact = ref.parts[index]
    data, uri = records.read(artifact), records.storage.uri(artifact.path)
    try:
        with memory.reused(memory.GROUPS_AGAIN):
            block, ids = _from_parquet(data, ref.dims)
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{uri} is not a part of a checkpoint: {shown(error)}") from error
    if not np.array_equal(ids, np.arange(first, stop)):
        raise ArtifactError(f"{uri} does not hold the ids {first} to {stop - 1}")
    return block


def check_digest(records: Records, ref: CheckpointRef, blocks: list[bytes]) -> None:
    """ArtifactError unless the digests of the blocks give the recorded digest of the model."""
    digest = join_digests(ref.words, ref.dims, blocks)
    if digest != ref.digest:
        raise ArtifactError(
            f"{records.storage.uri(ref.folder)}: its model digest is {digest[:16]}… where its record says"
            f" {ref.digest[:16]}…",
            "delete the folder and start the run again",
        )


def remove_newer(commits: Commits, step: int) -> None:
    """Removes checkpoints above `step`, which are damaged: else pruning would keep them in place of new ones."""
    for above, checkpoint in recorded(commits.records, commits.key, commits.stage).items():
        if above > step:
            _remove(commits, above, checkpoint.parts if isinstance(checkpoint, CheckpointRef) else ())


def drop_damaged(commits: Commits, step: int, say: Callable[[str], None]) -> None:
    """Removes damaged checkpoints older than `step`, and says so: training will not make them again."""
    for older, checkpoint in recorded(commits.records, commits.key, commits.stage).items():
        if older < step:
            parts: tuple[Artifact, ...] = ()
            if isinstance(checkpoint, UnusableCheckpoint):
                damage: str | None = checkpoint.problem
            else:
                damage, parts = _damage(commits.records, checkpoint, "digest"), checkpoint.parts
            if damage:
                say(f"{damage}: the checkpoint of step {older:,} is removed")
                _remove(commits, older, parts)


def _remove(commits: Commits, step: int, parts: tuple[Artifact, ...]) -> None:
    commits.remove(Record(commits.stage, step_name(step), commits.key, parts))


def prune_checkpoints(commits: Commits, keep: int) -> list[int]:
    """Removes all but the newest `keep` (at least one) sound checkpoints; returns the steps of those removed.

    Partitions that a killed writer left without a record are removed too, if a newer checkpoint is kept.
    """
    kept: list[CheckpointRef] = []
    removed = []
    for ref in reversed(checkpoints(commits.records, commits.key, commits.stage)):
        if ref.step == 0 and commits.stage == TRAINED:
            continue
        if len(kept) < max(1, keep) and _damage(commits.records, ref, "size") is None:
            kept.append(ref)
        elif kept:
            _remove(commits, ref.step, ref.parts)
            removed.append(ref.step)
    if kept:
        remove_unrecorded(commits, kept[0].step)
    return sorted(removed)


def remove_unrecorded(commits: Commits, below: int | None = None) -> None:
    """Removes partitions that no record names, below a step or all: users who open the last folder would read them.

    Call it with the lock held; without `below` only while no checkpoint is being written.
    """
    paths = list(unrecorded_parts(commits, below))
    if paths:
        commits.settle()
        commits.beside(PARTS_STAGE).settle()
    for path in paths:
        commits.delete(path)


def unrecorded_parts(commits: Commits, below: int | None = None) -> Iterator[str]:
    """Paths of partitions that no record names, below a step or all."""
    named = [*commits.all(), *commits.beside(PARTS_STAGE).all()]
    recorded = {artifact.path for record in named for artifact in record.artifacts}
    for info in commits.records.storage.list(commits.path("")):
        match = _PART.fullmatch(info.path)
        if match and (below is None or int(match[1]) < below) and info.path not in recorded:
            yield info.path


def _damage(records: Records, ref: CheckpointRef, check: str) -> str | None:
    for artifact in ref.parts:
        if damage := records.damage(artifact, check):
            return f"{records.storage.uri(artifact.path)} {damage}"
    return None


def _schema(dims: int, provenance: Mapping[str, Any], word_type: pa.DataType) -> pa.Schema:
    vector = vector_type(dims)
    fields = {"word": word_type, "id": pa.int32(), "count": pa.int64(), "input": vector, "output": vector}
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in fields.items()],
        metadata={METADATA_KEY: canonical_json(provenance)},
    )


def _write_parquet(file: BinaryIO, block: Model, first: int, schema: pa.Schema) -> None:
    form: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    with (
        memory.reused(memory.GROUPS_AGAIN),
        pq.ParquetWriter(file, schema, write_statistics=["word", "id", "count"], **form) as writer,
    ):
        for start in range(0, max(1, len(block.words)), GROUP_ROWS):
            table = _table(block, start, first, schema)
            writer.write_table(table, row_group_size=GROUP_ROWS)


def _table(block: Model, start: int, first: int, schema: pa.Schema) -> pa.Table:
    """GROUP_ROWS words of the block from `start` on; the first word of the block has the id `first`."""
    rows = slice(start, start + GROUP_ROWS)
    words, counts = block.words[rows], block.counts[rows]
    ids = np.arange(first + start, first + start + len(words), dtype=np.int32)
    lists = [vector_lists(matrix[rows]) for matrix in (block.input, block.output)]
    return pa.table([words.cast(schema.field("word").type), ids, counts, *lists], schema=schema)


def vector_type(dims: int) -> pa.DataType:
    """The type of a column of vectors."""
    return pa.list_(pa.field("element", pa.float32(), nullable=False), dims)


def vector_lists(matrix: np.ndarray) -> pa.Array:
    """A float32 matrix as a column of vectors."""
    flat = pa.array(np.ascontiguousarray(matrix, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=vector_type(matrix.shape[1]))


def _from_parquet(data: bytes, dims: int) -> tuple[Model, np.ndarray]:
    """(words with counts and vectors, ids) of a partition; by row groups, because each is in memory twice."""
    file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
    n = file.metadata.num_rows
    words, counts, ids = [pa.array([], pa.string())], np.empty(n, np.int64), np.empty(n, np.int32)
    matrices = {name: np.empty((n, dims), np.float32) for name in ("input", "output")}
    start = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, use_threads=False)
        rows = slice(start, start + len(table))
        words.extend(table["word"].cast(pa.string()).chunks)
        counts[rows], ids[rows] = table["count"], table["id"]
        for name, matrix in matrices.items():
            vectors = vectors_of(table[name].combine_chunks(), dims)
            if vectors.shape != (len(table), dims) or vectors.dtype != np.float32:
                raise ValueError(f"its {name} vectors are not of {dims} float32")
            matrix[rows] = vectors
        start = rows.stop
    return Model(pa.concat_arrays(words), counts, **matrices), ids


def vectors_of(column: pa.Array, dims: int) -> np.ndarray:
    """float32 [n, dims] of a column of vectors."""
    return column.flatten().to_numpy().reshape(-1, dims)
