"""Checkpoints: a model in Parquet, 65,536 words a part, whole when its record is there.

    checkpoints/step=00012345/part-00000-of-00004.parquet
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
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batches.schedule import step_of
from pipeline.corpus.readers.values import INTEGERS
from pipeline.errors import ArtifactError
from pipeline.model.model import BLOCK_ROWS, Model, block_digest, join_digests, model_digest
from pipeline.runtime.shown_text import shown, shown_line
from pipeline.storage.records import Artifact, Record, Records, canonical_json, record_path

STAGE = "checkpoints"
PARTS_STAGE = "merges"
"""Records of parts that several workers make, before a record makes them a checkpoint."""
METADATA_KEY = b"beam2vec"
GROUP_ROWS = 8_192
"""Words in a row group: what is copied at a time, since the rows of matrices lie apart."""
END_STAGE = "training"
"""Its one record says with which step training ended."""
_END = "end"
_RECORD = re.compile(r"records/checkpoints/step=(\d+)\.json")
_PART = re.compile(r"checkpoints/step=(\d{8,})/part-\d{5,}-of-\d{5,}\.parquet")
_log = logging.getLogger(__name__)


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
    """Training steps of the whole run; None where the record does not say."""

    @classmethod
    def of_record(cls, record: Record) -> CheckpointRef:
        numbers = record.numbers
        return cls(
            numbers["step"],
            f"{STAGE}/{record.name}",
            numbers["digest"],
            numbers["words"],
            numbers["dims"],
            record.artifacts,
            numbers.get("steps"),
        )

    @property
    def place(self) -> str:
        """As people are told: "step 240 of 284"."""
        return step_of(self.step, self.steps)


def write_checkpoint(
    records: Records, key: str, step: int, model: Model, provenance: Mapping[str, Any], steps: int | None = None
) -> CheckpointRef:
    """Writes the parts, then the record that makes them a checkpoint.

    Args:
      key: the stage key of "checkpoints".
      step: training steps done, over all epochs.
      provenance: JSON values for the parts' metadata (configuration, versions, input
        digest, …); step, steps, digest, words and dims are added. "items" says whether the words are integers.
      steps: training steps of the whole run; None stands for not known.
    """
    digest = model_digest(model)
    blocks = list(model.blocks())
    more = {"digest": digest, "words": len(model.words), **_of(steps)}
    parts = [
        write_part(records, step, (index, len(blocks)), block, {**provenance, **more})
        for index, block in enumerate(blocks)
    ]
    record = checkpoint_record(key, step, model.dims, len(model.words), parts, digest, steps)
    records.commit(record)
    return CheckpointRef.of_record(record)


def write_part(
    records: Records, step: int, place: tuple[int, int], block: Model, provenance: Mapping[str, Any]
) -> Artifact:
    """Writes one part; it counts once the checkpoint's record is there.

    Args:
      place: index of the part, and how many there are.
      block: its words, at most BLOCK_ROWS.
    """
    index, parts = place
    word_type = pa.int64() if provenance.get("items") == INTEGERS else pa.string()
    schema = _schema(block.dims, {**provenance, "step": step, "dims": block.dims}, word_type)
    path = f"{STAGE}/step={step:08d}/part-{index:05d}-of-{parts:05d}.parquet"
    return records.stream_artifact(path, lambda file: _write_parquet(file, block, index * BLOCK_ROWS, schema))


def checkpoint_record(
    key: str, step: int, dims: int, words: int, parts: Sequence[Artifact], digest: str, steps: int | None
) -> Record:
    """What makes the parts, in order, the checkpoint of `step` once it is committed."""
    numbers = {"step": step, **_of(steps), "digest": digest, "words": words, "dims": dims}
    return Record(STAGE, _name(step), key, tuple(parts), numbers)


def _name(step: int) -> str:
    return f"step={step:08d}"


def _of(steps: int | None) -> dict[str, int]:
    return {} if steps is None else {"steps": steps}


def record_end(records: Records, key: str, ref: CheckpointRef) -> None:
    """Record that training is over, where this committed checkpoint is that of the last step; written once."""
    if ref.step == ref.steps and _end(records, key) != ref.step:
        records.commit(Record(END_STAGE, _END, key, (), {"step": ref.step}))


def _end(records: Records, key: str) -> int | None:
    """The step that training ended with; None while it has not."""
    record = records.load(END_STAGE, _END, key)
    return record.numbers["step"] if record else None


def recorded(records: Records, key: str) -> dict[int, CheckpointRef | str]:
    """Step -> the checkpoint recorded for it under this stage key, by step; parts are not looked at.

    Where a record is damaged, or is gone though training ended with it, its place holds what is wrong, in words.
    """
    # Asked first: a run that ends meanwhile has its last checkpoint by then.
    ends = [record for _, record in records.scan(END_STAGE)]
    end = next((record.numbers["step"] for record in ends if record and record.key == key), None)
    found: dict[int, CheckpointRef | str] = {}
    for path, record in records.scan(STAGE):
        if record and record.key == key:
            found[record.numbers["step"]] = CheckpointRef.of_record(record)
        elif record is None and (match := _RECORD.fullmatch(path)):
            found[int(match[1])] = f"{records.storage.uri(path)} is damaged"
    if None in ends:  # damaged; it is written when training has ended, with the last step that there is
        end = max((ref.steps or 0 for ref in found.values() if isinstance(ref, CheckpointRef)), default=0) or None
    if end is not None and end not in found:
        path = record_path(STAGE, _name(end))
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


def remove_newer(records: Records, key: str, step: int) -> None:
    """Removes checkpoints above `step`, which are damaged: else pruning would keep them before those made anew."""
    for above, found in recorded(records, key).items():
        if above > step:
            parts = found.parts if isinstance(found, CheckpointRef) else ()
            records.remove(Record(STAGE, _name(above), key, parts))


def prune_checkpoints(records: Records, key: str, keep: int) -> list[int]:
    """Removes all but the newest `keep` (at least one) undamaged checkpoints; returns the steps removed.

    Parts that a killed writer left without a record go too, where a newer checkpoint is kept.
    """
    kept: list[CheckpointRef] = []
    removed = []
    for ref in reversed(checkpoints(records, key)):
        if len(kept) < max(1, keep) and _damage(records, ref, "size") is None:
            kept.append(ref)
        elif kept:
            records.remove(Record(STAGE, _name(ref.step), key, ref.parts))
            removed.append(ref.step)
    if kept:
        remove_unrecorded(records, kept[0].step)
    return sorted(removed)


def remove_unrecorded(records: Records, below: int | None = None) -> None:
    """Removes parts that no record names, below a step or all: who reads the highest folder would take them.

    Call it with the lock held; without `below` only while no checkpoint is being written.
    """
    for path in unrecorded_parts(records, below):
        records.storage.delete(path)


def unrecorded_parts(records: Records, below: int | None = None) -> Iterator[str]:
    """Paths of parts that no record names, below a step or all."""
    named = [*records.all(STAGE), *records.all(PARTS_STAGE)]
    recorded = {artifact.path for record in named for artifact in record.artifacts}
    for info in records.storage.list(STAGE):
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
