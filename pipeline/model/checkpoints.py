"""Checkpoints: a model in Parquet, 65,536 words a part, whole when its record is there.

    checkpoints/KEY/step=000000012345/part-000000-of-000004.parquet
      word string (int64 where the items are integers), id int32, count int64, input and output fixed_size_list<float32>

No column holds nulls. The vectors are stored plainly (floats do not compress),
so every Parquet reader takes them as lists. Where a checkpoint comes from stands
as JSON in each part's schema metadata, under "beam2vec".

When training is over, a record says with which step. So a last checkpoint that is
gone is missed, and the one before it is not taken for the last.
"""

from __future__ import annotations

import dataclasses
import logging
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
from pipeline.runtime.shown_text import shown, shown_line
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
PARTS_STAGE = "merges"
"""Records of parts that several workers make, before a record makes them a checkpoint."""
VERSION = 1
"""Of a checkpoint: what a later run may take from an earlier one. Raise it when parts or their meaning change."""
METADATA_KEY = b"beam2vec"
GROUP_ROWS = 8_192
"""Words in a row group: what is copied at a time, since the rows of matrices lie apart."""
END_STAGE = "training"
"""Its one record says with which step training ended."""
_END = "end"
_RECORD = re.compile(r"records/checkpoints/[0-9a-f]{8}/step=(\d{12})\.json")
_PART = re.compile(r"checkpoints/[0-9a-f]{8}/step=(\d{12})/part-\d{6}-of-\d{6}\.parquet")
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CheckpointNumbers:
    """What is recorded of a checkpoint; its artefacts are the parts in order."""

    version: Number
    step: Number
    steps: Number | None
    """Training steps of the whole run; None stands for not known."""
    digest: Digest
    """Of the model."""
    words: Number
    dims: Number


@dataclasses.dataclass(frozen=True)
class EndNumbers:
    """What is recorded when training is over."""

    step: Number


@dataclasses.dataclass(frozen=True)
class CheckpointRef:
    """A committed checkpoint: after `step` training steps, in `folder` of the output."""

    step: int
    folder: str
    digest: str
    words: int
    dims: int
    parts: tuple[Artifact, ...]
    steps: int | None = None
    """Training steps of the whole run; None if the record does not say."""

    @classmethod
    def of_record(cls, record: Record) -> CheckpointRef:
        n = record.read(CheckpointNumbers)
        folder = f"{STAGE}/{record.key[:KEY_DIGITS]}/{record.name}"
        return cls(n.step, folder, n.digest, n.words, n.dims, record.artifacts, n.steps)

    @property
    def place(self) -> str:
        """As people are told: "step 240 of 284"."""
        return step_of(self.step, self.steps)


def write_checkpoint(
    commits: Commits, step: int, model: Model, provenance: Mapping[str, Any], steps: int | None = None
) -> CheckpointRef:
    """Writes the parts, then the record that makes them a checkpoint.

    Args:
      commits: of this stage.
      step: training steps done, over all epochs.
      provenance: JSON values for the parts' metadata (configuration, versions, input
        digest, …); step, steps, digest, words and dims are added. "items" says whether the words are integers.
      steps: training steps of the whole run; None stands for not known.
    """
    digest = model_digest(model)
    blocks = list(model.blocks())
    more = {"digest": digest, "words": len(model.words), "steps": steps}
    parts = [
        write_part(commits, step, (index, len(blocks)), block, {**provenance, **more})
        for index, block in enumerate(blocks)
    ]
    numbers = CheckpointNumbers(VERSION, step, steps, digest, len(model.words), model.dims)
    return commit_checkpoint(commits, numbers, parts)


def write_part(
    commits: Commits, step: int, place: tuple[int, int], block: Model, provenance: Mapping[str, Any]
) -> Artifact:
    """Writes one part; it counts once the checkpoint's record is there.

    Args:
      place: index of the part, and how many there are.
      block: its words, at most BLOCK_ROWS.
    """
    index, parts = place
    word_type = pa.int64() if provenance.get("items") == INTEGERS else pa.string()
    more = {"checkpoint_version": VERSION, "step": step, "dims": block.dims}
    schema = _schema(block.dims, {**provenance, **more}, word_type)
    tail = f"{step_name(step)}/part-{index:06d}-of-{parts:06d}.parquet"
    return commits.stream(tail, lambda file: _write_parquet(file, block, index * BLOCK_ROWS, schema))


def commit_checkpoint(commits: Commits, numbers: CheckpointNumbers, parts: Sequence[Artifact]) -> CheckpointRef:
    """Makes the parts, in order, a checkpoint."""
    return CheckpointRef.of_record(commits.commit(step_name(numbers.step), parts, numbers))


def record_end(commits: Commits, ref: CheckpointRef) -> None:
    """Record that training is over, where this committed checkpoint is that of the last step; written once."""
    ends = commits.beside(END_STAGE)
    if ref.step == ref.steps and ends.load(_END) is None:
        ends.commit(_END, (), EndNumbers(ref.step))


def recorded(records: Records, key: str) -> dict[int, CheckpointRef | str]:
    """Step -> the checkpoint recorded for it under this stage key, by step; parts are not looked at.

    Where a record is damaged, or is gone though training ended with it, its place holds what is wrong, in words.
    """
    # Asked first: a run that ends meanwhile has its last checkpoint by then.
    ends = [record for _, record in records.scan(stage_folder(END_STAGE, key))]
    end = next((record.read(EndNumbers).step for record in ends if record and record.key == key), None)
    found: dict[int, CheckpointRef | str] = {}
    for path, record in records.scan(stage_folder(STAGE, key)):
        if record and record.key == key:
            ref = CheckpointRef.of_record(record)
            found[ref.step] = ref
        elif record is None and (match := _RECORD.fullmatch(path)):
            found[int(match[1])] = f"{records.storage.uri(path)} is damaged"
    if None in ends:  # damaged; it is written when training has ended, with the last step that there is
        end = max((ref.steps or 0 for ref in found.values() if isinstance(ref, CheckpointRef)), default=0) or None
    if end is not None and end not in found:
        path = record_path(STAGE, key, step_name(end))
        found[end] = f"{records.storage.uri(path)} is missing, and training ended with this checkpoint"
    return dict(sorted(found.items()))


def checkpoints(records: Records, key: str) -> list[CheckpointRef]:
    """The checkpoints that are recorded whole under this stage key, by step; parts are not looked at."""
    return [found for found in recorded(records, key).values() if isinstance(found, CheckpointRef)]


def latest_checkpoint(records: Records, key: str) -> CheckpointRef | None:
    """The newest checkpoint that is whole, to go on from: its parts are all read. What is damaged above it is logged.

    Who only reads a run takes `Run.checkpoint`, which passes over nothing.
    """
    for found in reversed(recorded(records, key).values()):
        damage = found if isinstance(found, str) else _damage(records, found, "digest")
        if not damage and isinstance(found, CheckpointRef):
            return found
        _log.warning("%s", shown_line(f"{damage}: it is passed over"))
    return None


def read_checkpoint(records: Records, ref: CheckpointRef) -> Model:
    """The model, checked against the digests of its parts and its own; ArtifactError names what differs."""
    words, counts = [], np.empty(ref.words, np.int64)
    vectors = [np.empty((ref.words, ref.dims), np.float32) for _ in range(2)]
    digests = []
    start = 0
    for block in read_blocks(records, ref):
        rows = slice(start, start + len(block.words))
        words.append(block.words)
        counts[rows], vectors[0][rows], vectors[1][rows] = block.counts, block.input, block.output
        digests.append(block_digest(block))
        start = rows.stop
    check_digest(records, ref, digests)
    return Model(pa.concat_arrays(words), counts, *vectors)


def read_blocks(records: Records, ref: CheckpointRef) -> Iterator[Model]:
    """The parts one by one, each checked against its recorded digest, and for the words that belong there."""
    for index in range(len(ref.parts)):
        yield read_part(records, ref, index)


def read_part(records: Records, ref: CheckpointRef, index: int) -> Model:
    """One part, checked likewise."""
    first, stop = index * BLOCK_ROWS, min(ref.words, (index + 1) * BLOCK_ROWS)
    part = ref.parts[index]
    data, uri = records.read(part), records.storage.uri(part.path)
    try:
        block, ids = _from_parquet(data, ref.dims)
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{uri} is no part of a checkpoint: {shown(error)}") from error
    if not np.array_equal(ids, np.arange(first, stop)):
        raise ArtifactError(f"{uri} does not hold the ids {first} to {stop - 1}")
    return block


def check_digest(records: Records, ref: CheckpointRef, blocks: list[bytes]) -> None:
    """ArtifactError unless the digests of the blocks make the recorded model digest."""
    found = join_digests(ref.words, ref.dims, blocks)
    if found != ref.digest:
        raise ArtifactError(
            f"{records.storage.uri(ref.folder)}: its model digest is {found[:16]}… where its record says"
            f" {ref.digest[:16]}…",
            "delete the folder and run the same command again",
        )


def remove_newer(commits: Commits, step: int) -> None:
    """Removes checkpoints above `step`, which are damaged: else pruning would keep them before those made anew."""
    for above, found in recorded(commits.records, commits.key).items():
        if above > step:
            _remove(commits, above, found.parts if isinstance(found, CheckpointRef) else ())


def drop_damaged(commits: Commits, step: int, say: Callable[[str], None]) -> None:
    """Removes older checkpoints than that of `step` that are damaged, and tells so: no training makes them again.

    Sizes alone are compared, for a checkpoint may be large; `verify` reads them all.
    """
    for older, found in recorded(commits.records, commits.key).items():
        if older < step:
            damage = found if isinstance(found, str) else _damage(commits.records, found, "size")
            if damage:
                say(f"{damage}: the checkpoint of step {older:,} is removed")
                _remove(commits, older, found.parts if isinstance(found, CheckpointRef) else ())


def _remove(commits: Commits, step: int, parts: tuple[Artifact, ...]) -> None:
    commits.records.remove(Record(STAGE, step_name(step), commits.key, parts))


def prune_checkpoints(commits: Commits, keep: int) -> list[int]:
    """Removes all but the newest `keep` (at least one) undamaged checkpoints; returns the steps removed.

    Parts that a killed writer left without a record go too, where a newer checkpoint is kept.
    """
    kept: list[CheckpointRef] = []
    removed = []
    for ref in reversed(checkpoints(commits.records, commits.key)):
        if len(kept) < max(1, keep) and _damage(commits.records, ref, "size") is None:
            kept.append(ref)
        elif kept:
            _remove(commits, ref.step, ref.parts)
            removed.append(ref.step)
    if kept:
        remove_unrecorded(commits, kept[0].step)
    return sorted(removed)


def remove_unrecorded(commits: Commits, below: int | None = None) -> None:
    """Removes parts that no record names, below a step or all: who reads the highest folder would take them.

    Call it with the lock held; without `below` only while no checkpoint is being written.
    """
    for path in unrecorded_parts(commits, below):
        commits.records.storage.delete(path)


def unrecorded_parts(commits: Commits, below: int | None = None) -> Iterator[str]:
    """Paths of parts that no record names, below a step or all."""
    named = [*commits.all(), *commits.beside(PARTS_STAGE).all()]
    recorded = {artifact.path for record in named for artifact in record.artifacts}
    for info in commits.records.storage.list(commits.path("")):
        match = _PART.fullmatch(info.path)
        if match and (below is None or int(match[1]) < below) and info.path not in recorded:
            yield info.path


def _damage(records: Records, ref: CheckpointRef, check: str) -> str | None:
    for part in ref.parts:
        if damage := records.damage(part, check):
            return f"{records.storage.uri(part.path)} {damage}"
    return None


def _schema(dims: int, provenance: Mapping[str, Any], word_type: pa.DataType) -> pa.Schema:
    vector = vector_type(dims)
    fields = {"word": word_type, "id": pa.int32(), "count": pa.int64(), "input": vector, "output": vector}
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in fields.items()],
        metadata={METADATA_KEY: canonical_json(provenance)},
    )


def _write_parquet(file: BinaryIO, block: Model, first: int, schema: pa.Schema) -> None:
    with pq.ParquetWriter(
        file, schema, compression="none", use_dictionary=False, write_statistics=["word", "id", "count"]
    ) as writer:
        for start in range(0, max(1, len(block.words)), GROUP_ROWS):
            table = _table(block, start, first, schema)
            writer.write_table(table, row_group_size=GROUP_ROWS)


def _table(block: Model, start: int, first: int, schema: pa.Schema) -> pa.Table:
    """GROUP_ROWS of the block's words from `start`; the first of the block has the id `first`."""
    rows = slice(start, start + GROUP_ROWS)
    words, counts = block.words[rows], block.counts[rows]
    ids = np.arange(first + start, first + start + len(words), dtype=np.int32)
    lists = [vector_lists(matrix[rows]) for matrix in (block.input, block.output)]
    return pa.table([words.cast(schema.field("word").type), ids, counts, *lists], schema=schema)


def vector_type(dims: int) -> pa.DataType:
    """Of a column of vectors."""
    return pa.list_(pa.field("element", pa.float32(), nullable=False), dims)


def vector_lists(matrix: np.ndarray) -> pa.Array:
    """A float32 matrix as such a column."""
    flat = pa.array(np.ascontiguousarray(matrix, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=vector_type(matrix.shape[1]))


def _from_parquet(data: bytes, dims: int) -> tuple[Model, np.ndarray]:
    """A part's words with count and vectors, and their ids; a row group at a time, since all of them lie here twice."""
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
