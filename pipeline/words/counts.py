"""Word counts of a unit of work."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pyarrow as pa

from pipeline.corpus.dead_letters import DeadLetters, put_dead_letters
from pipeline.corpus.digests import FileDigests
from pipeline.corpus.files import check_all_unchanged
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.word_table import WordTable
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import ArtifactError
from pipeline.storage.commits import Commits
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import Number
from pipeline.words.merging import SCHEMA

STAGE = "counts"


@dataclass(frozen=True)
class CountNumbers:
    """What is recorded of a counted unit; its artefacts are the table, and dead letters if there are any."""

    lines: Number
    """all lines or rows, also bad ones"""
    bad_lines: Number
    tokens: Number
    bytes: Number
    words: Number
    """different words"""
    fingerprint: str
    """16 hex digits that depend on all tokens, their order, and the ends of sentences; encoding must get the same"""
    files: list[FileDigests]
    """digests of the input that was read; those of a compressed file are recorded when it is unpacked"""


@dataclass(frozen=True)
class UnitCounts(CountNumbers):
    """The counts of one unit."""

    table: pa.Table
    """word: string, count: int64; in the order in which words first occur"""
    dead_letters: DeadLetters = dataclasses.field(default_factory=DeadLetters)

    @property
    def numbers(self) -> CountNumbers:
        return CountNumbers(**{field.name: getattr(self, field.name) for field in dataclasses.fields(CountNumbers)})


def count_unit(unit: WorkUnit, reader: Reader, whole: bool = True) -> UnitCounts:
    """Reads and counts one unit of work.

    Memory: some blocks of 8 MiB and the unit's distinct words.

    Args:
      whole: with dead letters and content digests of the input, which a run needs once.

    Raises:
      InputError: a file has changed since it was listed; the user's tokeniser failed.
    """
    words, dead_letters = WordTable(), DeadLetters()
    files: list[FileDigests] = []
    lines = tokens = 0
    for portion in reader.portions(unit.ranges, dead_letters, files if whole else None):
        lines += portion.lines
        for spans in portion.spans:
            words.count(spans)
            tokens += len(spans.start)
    check_all_unchanged(unit.ranges)
    table = pa.table([words.words(), pa.array(words.values())], schema=SCHEMA)
    return UnitCounts(
        lines=lines + dead_letters.count,
        bad_lines=dead_letters.count,
        tokens=tokens,
        bytes=unit.size,
        words=table.num_rows,
        fingerprint=words.fingerprint,
        files=files,
        table=table,
        dead_letters=dead_letters if whole else DeadLetters(),
    )


def counted_unit(commits: Commits, unit: WorkUnit, reader: Reader, whole: bool = True) -> UnitCounts:
    """The unit's counts: those of an earlier attempt, else new ones, which are committed. `whole`: see `count_unit`."""
    if done := _earlier_counts(commits, unit):
        return done
    counts = count_unit(unit, reader, whole)
    artifacts = [commits.put(f"{unit.name}.parquet", to_parquet(counts.table))]
    artifacts += put_dead_letters(commits, unit.name, counts.dead_letters)
    commits.commit(unit.name, artifacts, counts.numbers)
    return counts


def _earlier_counts(commits: Commits, unit: WorkUnit) -> UnitCounts | None:
    record = commits.earlier(unit.name)
    if record is None:
        return None
    try:
        table = from_parquet(commits.records.read(record.artifact))
        return UnitCounts(**vars(record.read(CountNumbers)), table=table)
    except ArtifactError:
        return None


def counted_fingerprint(commits: Commits, unit: WorkUnit) -> str | None:
    """The fingerprint in the record of a unit's count; None if there is no record."""
    record = commits.load(unit.name)
    return record.read(CountNumbers).fingerprint if record else None


def fingerprint_mismatch_message(unit: WorkUnit, reader: Reader) -> str:
    """The message that the tokens of a unit are not those that were counted."""
    first, last = unit.ranges[0], unit.ranges[-1]
    where = f"{first.name()} from byte {first.offset(first.start):,}"
    if last.name() != first.name():
        where += f" to {last.name()}"
    changed = f"the input changed during the run: {where}; touch it and run again with --overwrite"
    if function := reader.tokenizer.users_function:
        return f"--tokenizer={function} is not deterministic, or {changed}"
    return changed
