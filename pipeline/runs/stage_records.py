"""Which records a run must have when it has ended: one rule for each stage."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping

from pipeline.batches.stored import STAGE as BATCHES
from pipeline.batches.stored import stored_name, stored_place
from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import TextNumbers
from pipeline.corpus.work_units import WorkUnit
from pipeline.model import loss_curve
from pipeline.model.checkpoints import END_STAGE, PARTS_STAGE
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.runs.timings import STAGE as TIMINGS
from pipeline.storage.records import Record, record_path
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers
from pipeline.words.phrases import PHRASES, WORDS, phrases_stage, words_stage
from pipeline.words.unigram import STAGE as UNIGRAM
from pipeline.words.vocabulary import STAGE as VOCABULARY
from pipeline.words.vocabulary import VocabularyNumbers

UNDER_CHECKPOINTS = (loss_curve.STAGE, "slices", PARTS_STAGE, "shards", END_STAGE, TIMINGS)
"""Stages of records that share the key of the checkpoints."""


def key_of_stage(stage: str, keys: Mapping[str, str]) -> str | None:
    """The key that the records of a stage have in this run; None if it has no such stage."""
    return keys.get(CHECKPOINTS if stage in UNDER_CHECKPOINTS else stage)


@dataclasses.dataclass
class Inventory:
    """What is recorded of a run, without the artefacts."""

    names: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    """Stage -> names of its records."""
    read_files: set[str] = dataclasses.field(default_factory=set)
    """Input files that were counted or unpacked."""
    tokens: int | None = None
    """Of the corpus in the vocabulary; None if there is no vocabulary."""
    units: int | None = None
    """Units of work; None if there is no vocabulary."""

    def add(self, record: Record) -> None:
        self.names[record.stage].add(record.name)
        if record.stage == COUNTS:
            self.read_files |= {file.uri for file in record.read(CountNumbers).files}
        elif record.stage == TEXT:
            self.read_files |= {file.uri for file in record.read(TextNumbers).files}
        elif record.stage == VOCABULARY:
            numbers = record.read(VocabularyNumbers)
            self.tokens, self.units = numbers.tokens, numbers.units

    def unit_names(self) -> set[str]:
        return {WorkUnit(index, ()).name for index in range(self.units or 0)}


def missing_corpus_records(made: Inventory, keys: Mapping[str, str], phrases: int) -> Iterator[str]:
    """Paths of the records of the corpus side that should be there and are not.

    Args:
      phrases: passes.
    """
    units = made.unit_names()
    wanted: dict[str, set[str]] = {VOCABULARY: {VOCABULARY}, COUNTS: units, TOKENS: units}
    for number in range(1, phrases + 1):
        wanted[words_stage(number)] = units
        wanted[phrases_stage(number)] = {WORDS, PHRASES, *units}
    yield from _missing(made, keys, wanted)


def missing_records(made: Inventory, keys: Mapping[str, str], options: Mapping[str, Mapping]) -> Iterator[str]:
    """As above, of what each run makes itself, also where it takes the corpus side of another one.

    Args:
      options: of run.json.
    """
    wanted = {UNIGRAM: {UNIGRAM}}
    if "dims" in options["model"]:
        wanted[END_STAGE] = {"end"}
    # A run of jobs.preprocess does not say: epochs may be added to it.
    if options["layout"].get("batches", "stored" if made.names[BATCHES] else "") == "stored":
        wanted[BATCHES] = _stored_batches(made, options["model"].get("epochs"))
    yield from _missing(made, keys, wanted)


def unread_files(made: Inventory, identity: Mapping) -> Iterator[str]:
    """Input files of which no record says that they were counted or unpacked. A Parquet file may have no rows."""
    if identity["options"]["model"].get("input_format") != "parquet":
        yield from (file["uri"] for file in identity["inputs"] if file["size"] and file["uri"] not in made.read_files)


def _stored_batches(made: Inventory, epochs: int | None) -> set[str]:
    """The names of the batches of all epochs; where nobody knows how many: up to the last that some are stored of."""
    if epochs is None:
        places = [place for name in made.names[BATCHES] if (place := stored_place(name))]
        epochs = 1 + max((epoch for epoch, _ in places), default=0)
    return {stored_name(epoch, shard) for epoch in range(epochs) for shard in range(made.units or 0)}


def _missing(made: Inventory, keys: Mapping[str, str], wanted: Mapping[str, set[str]]) -> Iterator[str]:
    for stage, names in wanted.items():
        key = key_of_stage(stage, keys)
        yield from (record_path(stage, key, name) for name in sorted(names - made.names[stage]) if key)
