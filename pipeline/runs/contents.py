"""What a run has made, as a digest for each stage: of the content alone, not of files, paths, times or compression.

So two runs can be compared although they were written by other versions of Parquet, or lie in other places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.batches.replay import STAGE as REPLAY
from pipeline.batches.tokens import read_tokens
from pipeline.errors import ArtifactError
from pipeline.runs.preprocessed import stored_epochs
from pipeline.runs.run import Run
from pipeline.storage.parquet import from_parquet
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers
from pipeline.words.phrases import PHRASES, phrases_stage
from pipeline.words.reservoir import STAGE as RESERVOIR
from pipeline.words.reservoir import ReservoirRef
from pipeline.words.totals import STAGE as TOTALS


@dataclass(frozen=True)
class Content:
    """The content of one stage."""

    stage: str
    """in words, such as "tokens" """
    digest: str
    """hex"""


def contents(run: Run, epochs: int) -> Iterator[Content]:
    """The stages of a run that has ended, in their order.

    Args:
      epochs: whose batches are looked at, from the first; rows that are not stored are made again.

    Raises:
      ArtifactError: something is damaged or missing.
    """
    if counted := _text(run):
        yield Content("text", counted)
    for number in range(1, run.options.phrases + 1):
        stage = phrases_stage(number)
        if record := run.records.load(stage, PHRASES, run.key(stage)):
            yield Content(f"phrases, pass {number}", _of_table(from_parquet(run.records.read(record.artifact))))
    if record := run.records.load(TOTALS, TOTALS, run.key(TOTALS)):
        yield Content("totals", _of_table(from_parquet(run.records.read(record.artifacts[0]))))
    yield Content("vocabulary", _of_table(run.vocabulary()))
    noise = run.unigram()
    yield Content("unigram distribution", _of_arrays(noise.threshold, noise.alias, noise.keep))
    shards = (read_tokens(run.records.read(shard.tokens)) for shard in run.shards())
    yield Content("tokens", _of_arrays(*(array for pair in shards for array in pair)))
    if run.options.replay_words and (record := run.records.load(RESERVOIR, RESERVOIR, run.key(RESERVOIR))):
        kept = ReservoirRef.of(record).open(run.records)
        yield Content("reservoir", _of_arrays(kept.keys, kept.offset, kept.tokens))
    if run.identity.get("update") and (record := run.records.load(REPLAY, REPLAY, run.key(REPLAY))):
        yield Content("replay", _of_arrays(*read_tokens(run.records.read(record.artifact))))
    if epochs:
        yield Content("batches", _of_batches(batch for epoch in range(epochs) for batch in run.batches(epoch)))
    if run.directory.has_model:
        yield Content("model", run.checkpoint().digest)


def epochs_with_batches(run: Run) -> int:
    """Of how many epochs the run has stored batches, or has taken them from its --corpus."""
    stored = stored_epochs(run.directory)
    return min(stored, run.options.epochs) if run.directory.has_model else stored


def _text(run: Run) -> str:
    """The fingerprints of all counted units; "" where another run has counted."""
    digest, records = hashlib.sha256(), run.records.all(COUNTS, run.key(COUNTS), strict=True)
    for record in sorted(records, key=lambda record: record.name):
        numbers = record.read(CountNumbers)
        digest.update(f"{record.name} {numbers.fingerprint} {numbers.tokens} {numbers.bad_lines}\n".encode())
    return digest.hexdigest() if records else ""


def _of_arrays(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _of_batches(batches: Iterable[pa.RecordBatch]) -> str:
    """Of the columns, each by itself: it does not matter how the rows are cut into batches."""
    digests = [hashlib.sha256() for _ in range(5)]
    for batch in batches:
        context = batch["context"]
        columns = batch["position"], batch["target"], pc.list_value_length(context), context.flatten()
        for digest, column in zip(digests, (*columns, batch["negatives"].flatten())):
            digest.update(np.ascontiguousarray(column.to_numpy()).data)
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def _of_table(table: pa.Table) -> str:
    """Of the names, types and values of the columns."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table[name].combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        digest.update(f"{name} {column.type} {len(column)}\n".encode())
        if column.null_count:
            raise ArtifactError(f"the column {name} has nulls")
        if pa.types.is_string(column.type):
            for word in column.to_pylist():
                digest.update(f"{len(word)} {word}\n".encode())
        else:
            digest.update(np.ascontiguousarray(column.to_numpy()).data)
    return digest.hexdigest()
