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
    """What is recorded of a counted unit; its artefacts are the table, and the dead letters if there are some."""

    lines: Number
    """All lines or rows, bad ones too."""
    bad_lines: Number
    tokens: Number
    bytes: Number
    words: Number
    """Different words."""
    fingerprint: str
    """16 hex digits over all tokens in order and the ends of sentences; encoding has to find the same."""
    files: list[FileDigests]
    """Of what was read of input files; a compressed file's are recorded where it is unpacked."""


@dataclass(frozen=True)
class UnitCounts(CountNumbers):
    """What counting one unit found."""

    table: pa.Table
    """word: string, count: int64; in the order in which words first occur."""
    dead_letters: DeadLetters = dataclasses.field(default_factory=DeadLetters)

    @property
    def numbers(self) -> CountNumbers:
        return CountNumbers(**{field.name: getattr(self, field.name) for field in dataclasses.fields(CountNumbers)})


def count_unit(unit: WorkUnit, reader: Reader, whole: bool = True) -> UnitCounts:
    """Reads and counts one unit of work.

    Memory: some blocks of 8 MiB and the unit's distinct words.

    Args:
      whole: with dead letters and content digests of the input, which are noted once a run.

    Raises:
      InputError: a file is not what it was when it was listed; the user's tokeniser failed.
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
    """The unit's counts: of an earlier attempt, else counted and committed. `whole` as in `count_unit`."""
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
        table = from_parquet(commits.records.read(record.artifacts[0]))
        return UnitCounts(**vars(record.read(CountNumbers)), table=table)
    except ArtifactError:
        return None


def counted_fingerprint(commits: Commits, unit: WorkUnit) -> str | None:
    """What a count of words found in the unit, from its record; None if there is none."""
    record = commits.load(unit.name)
    return record.read(CountNumbers).fingerprint if record else None


def fingerprint_mismatch_message(unit: WorkUnit, reader: Reader) -> str:
    """The message that a unit's tokens are not those that were counted."""
    first, last = unit.ranges[0], unit.ranges[-1]
    where = f"{first.name()} from byte {first.offset(first.start):,}"
    if last.name() != first.name():
        where += f" to {last.name()}"
    changed = f"the input changed during the run: {where}; touch it and run again with --overwrite"
    if function := reader.tokenizer.users_function:
        return f"--tokenizer={function} is not deterministic, or {changed}"
    return changed
