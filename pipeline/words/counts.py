"""Word counts: of a unit of work, merged bucket by bucket over all of them, pruned by --min_count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.corpus.dead_letters import DeadLetters, write_dead_letters
from pipeline.corpus.digests import STAGE as INPUTS_STAGE
from pipeline.corpus.files import check_all_unchanged
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.word_table import WordTable
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import ArtifactError
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Record, Records
from pipeline.words.merging import SCHEMA

STAGE = "counts"


@dataclass(frozen=True)
class UnitCounts:
    """What counting one unit found."""

    table: pa.Table
    """word: string, count: int64; in the order in which words first occur."""
    lines: int
    """All lines or rows, bad ones too."""
    bad_lines: int
    tokens: int
    bytes: int
    fingerprint: str
    """16 hex digits over all tokens in order and the ends of sentences; encoding has to find the same."""
    dead_letters: pa.Table | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    """uri -> content digests of the fixed ranges that begin in this unit; see `input_digests`."""
    reused: bool = False
    """Read back from an earlier run's artefact."""


def count_unit(unit: WorkUnit, reader: Reader, whole: bool = True) -> UnitCounts:
    """Reads and counts one unit of work.

    Memory: some blocks of 8 MiB and the unit's distinct words.

    Args:
      whole: with dead letters and content digests of the input, which are noted once a run.

    Raises:
      InputError: a file is not what it was when it was listed; the user's tokeniser failed.
    """
    words, dead_letters = WordTable(), DeadLetters()
    inputs: dict[str, str] = {}
    lines = tokens = 0
    for portion in reader.portions(unit.ranges, dead_letters, inputs if whole else None):
        lines += portion.lines
        for spans in portion.spans:
            words.count(spans)
            tokens += len(spans.start)
    check_all_unchanged(unit.ranges)
    return UnitCounts(
        table=pa.table([words.words(), pa.array(words.values())], schema=SCHEMA),
        lines=lines + dead_letters.count,
        bad_lines=dead_letters.count,
        tokens=tokens,
        bytes=unit.size,
        fingerprint=words.fingerprint,
        dead_letters=dead_letters.table() if whole and dead_letters.count else None,
        inputs=inputs,
    )


def counted_unit(
    records: Records,
    key: str,
    unit: WorkUnit,
    reader: Reader,
    stage: str = STAGE,
    folder: str = STAGE,
    renew_lock: Callable[[], None] = lambda: None,
) -> UnitCounts:
    """The unit's counts: from its artefact where that is whole, else counted and committed.

    Args:
      renew_lock: called when the unit is counted, before anything is written; raises when the lock is lost.
    """
    done = load_unit_counts(records, key, unit, stage)
    if done:
        return done
    counts = count_unit(unit, reader, whole=stage == STAGE)
    renew_lock()
    return commit_unit_counts(records, key, unit, counts, stage, folder)


def commit_unit_counts(
    records: Records, key: str, unit: WorkUnit, counts: UnitCounts, stage: str = STAGE, folder: str = STAGE
) -> UnitCounts:
    """Writes the counts into `folder`, dead_letters/ and the records of one unit; returns `counts`."""
    artifacts = [records.write_artifact(f"{folder}/{unit.name}.parquet", to_parquet(counts.table))]
    if counts.dead_letters is not None:
        path = f"dead_letters/{unit.name}.parquet"
        artifacts.append(records.write_artifact(path, write_dead_letters(counts.dead_letters)))
    if _reads_input(unit, stage):
        records.commit(Record(INPUTS_STAGE, unit.name, key, (), dict(counts.inputs)))
    numbers = {name: getattr(counts, name) for name in _NUMBERS} | {"words": counts.table.num_rows}
    records.commit(Record(stage, unit.name, key, tuple(artifacts), numbers))
    return counts


def _reads_input(unit: WorkUnit, stage: str) -> bool:
    """Whether digests of the input are recorded beside the counts; of a compressed file, those who unpack it do it."""
    return stage == STAGE and any(part.version for part in unit.ranges)


_NUMBERS = ("lines", "bad_lines", "tokens", "bytes", "fingerprint")


def load_unit_counts(records: Records, key: str, unit: WorkUnit, stage: str = STAGE) -> UnitCounts | None:
    """What an earlier attempt committed; None where that is nothing, or damaged."""
    record = records.valid(stage, unit.name, key)
    if record is None or (_reads_input(unit, stage) and records.load(INPUTS_STAGE, unit.name, key) is None):
        return None
    try:
        table = from_parquet(records.read(record.artifacts[0]))
    except ArtifactError:
        return None
    return UnitCounts(table=table, **{name: record.numbers[name] for name in _NUMBERS}, reused=True)


def not_the_same(unit: WorkUnit, reader: Reader) -> str:
    """The message that a unit's tokens are not those that were counted."""
    first, last = unit.ranges[0], unit.ranges[-1]
    where = f"{first.name()} from byte {first.offset(first.start):,}"
    if last.name() != first.name():
        where += f" to {last.name()}"
    changed = f"the input changed during the run: {where}; touch it and run again with --overwrite"
    if function := reader.tokenizer.users_function:
        return f"--tokenizer={function} is not deterministic, or {changed}"
    return changed
