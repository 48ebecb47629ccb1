"""Which records a finished run must have: one rule for each stage."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping

from pipeline.batches.replay import STAGE as REPLAY
from pipeline.batches.stored import STAGE as BATCHES
from pipeline.batches.stored import stored_name, stored_place
from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.corpus.readers.open_reader import reader_of
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import TextNumbers
from pipeline.corpus.work_units import WorkUnit
from pipeline.model import loss_curve
from pipeline.model.checkpoints import END_STAGE, PARTS_STAGE, TRAINED
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.initial_vectors import START_STAGE
from pipeline.runs.timings import STAGE as TIMINGS
from pipeline.storage.records import Record, record_path
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.counts import CountNumbers
from pipeline.words.phrases import PHRASES, WORDS, phrases_stage, words_stage
from pipeline.words.reservoir import STAGE as RESERVOIR
from pipeline.words.stored_unigram import STAGE as UNIGRAM
from pipeline.words.totals import STAGE as TOTALS
from pipeline.words.vocabulary import STAGE as VOCABULARY
from pipeline.words.vocabulary import VocabularyNumbers

UNDER_CHECKPOINTS = (loss_curve.STAGE, "slices", PARTS_STAGE, "shards", END_STAGE, TIMINGS, START_STAGE, TRAINED)
"""Stages of records that share the key of the checkpoints."""


def key_of_stage(stage: str, keys: Mapping[str, str]) -> str | None:
    """The key that the records of a stage have in this run; None if it has no such stage."""
    return keys.get(CHECKPOINTS if stage in UNDER_CHECKPOINTS else stage)


@dataclasses.dataclass
class Inventory:
    """The records of a run in short, without artefacts."""

    names: dict[str, set[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    """stage -> names of its records"""
    read_files: set[str] = dataclasses.field(default_factory=set)
    """input files that were counted or unpacked"""
    tokens: int | None = None
    """of the corpus that are in the vocabulary; None if there is no vocabulary"""
    units: int | None = None
    """units of work; None if there is no vocabulary"""

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


def missing_corpus_records(inventory: Inventory, keys: Mapping[str, str], identity: Mapping) -> Iterator[str]:
    """Paths of the missing records of the corpus side.

    Args:
      identity: run.json.
    """
    options, units = identity["options"]["model"], inventory.unit_names()
    required: dict[str, set[str]] = {VOCABULARY: {VOCABULARY}, TOTALS: {TOTALS}, COUNTS: units, TOKENS: units}
    for number in range(1, options["phrases"] + 1):
        if identity.get("update"):
            required[phrases_stage(number)] = {PHRASES}
        else:
            required[words_stage(number)] = units
            required[phrases_stage(number)] = {WORDS, PHRASES, *units}
    if options["replay_words"]:
        required[RESERVOIR] = {RESERVOIR}
    yield from _missing(inventory, keys, required)


def missing_records(inventory: Inventory, keys: Mapping[str, str], options: Mapping[str, Mapping]) -> Iterator[str]:
    """Paths of the missing records of other stages, which a run makes itself even if it takes its corpus side.

    Args:
      options: of run.json.
    """
    required = {UNIGRAM: {UNIGRAM}}
    if options["model"].get("update"):
        required[REPLAY] = {REPLAY}
    if "dims" in options["model"]:
        required[END_STAGE] = {"end"}
    if options["model"].get("start_from") or options["model"].get("update"):
        required[START_STAGE] = {START_STAGE}
    # The options of a run of jobs.preprocess do not say: epochs may be added to it.
    if options["layout"].get("batches", "stored" if inventory.names[BATCHES] else "") == "stored":
        required[BATCHES] = _stored_batches(inventory, options["model"].get("epochs"))
    yield from _missing(inventory, keys, required)


def unread_files(inventory: Inventory, identity: Mapping) -> Iterator[str]:
    """Input files that no record says were counted or unpacked, of a format whose files all leave digests."""
    if reader_of(identity["options"]["model"].get("input_format", "text")).leaves_digests:
        yield from (
            file["uri"] for file in identity["inputs"] if file["size"] and file["uri"] not in inventory.read_files
        )


def _stored_batches(inventory: Inventory, epochs: int | None) -> set[str]:
    """Names of the stored batches of all epochs; if their number is not known, up to the last epoch that has some."""
    if epochs is None:
        places = [place for name in inventory.names[BATCHES] if (place := stored_place(name))]
        epochs = 1 + max((epoch for epoch, _ in places), default=0)
    return {stored_name(epoch, shard) for epoch in range(epochs) for shard in range(inventory.units or 0)}


def _missing(inventory: Inventory, keys: Mapping[str, str], required: Mapping[str, set[str]]) -> Iterator[str]:
    for stage, names in required.items():
        key = key_of_stage(stage, keys)
        yield from (record_path(stage, key, name) for name in sorted(names - inventory.names[stage]) if key)
