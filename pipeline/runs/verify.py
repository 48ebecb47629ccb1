"""Reads a finished or interrupted run again and compares it with its records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.batches.tokens import TokenNumbers
from pipeline.errors import ArtifactError, PipelineError
from pipeline.model.checkpoints import STAGE, CheckpointRef, check_digest, read_blocks, recorded
from pipeline.model.model import block_digest
from pipeline.runs import directory as run_directory
from pipeline.runs.directory import RunDirectory
from pipeline.runs.input_check import changed_inputs, recorded_files
from pipeline.runs.leftovers import STAGE_FOLDERS
from pipeline.runs.preprocessed_records import CorpusRecords
from pipeline.runs.stage_keys import CORPUS_STAGES
from pipeline.runs.stage_records import (
    Inventory,
    key_of_stage,
    missing_corpus_records,
    missing_records,
    unread_files,
)
from pipeline.storage import lock
from pipeline.storage.records import FOLDER as RECORDS
from pipeline.storage.records import Record, Records
from pipeline.storage.storage import Storage
from pipeline.words.counts import STAGE as COUNTS

_AGAIN = "run the same command again, and it is made again"


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """What verify_run found.

    problems: a line each, naming the file; empty where all is well.
    digest: model digest (hex) of the newest sound checkpoint; None if there is none.
    checked: artefacts read.
    state: "at work", "unfinished" or "finished".
    place: how far the run is, in words: "step 240 of 284".
    """

    problems: list[str]
    digest: str | None
    checked: int
    state: str
    place: str

    @property
    def is_sound(self) -> bool:
        """Whether nothing differs, and the run has ended or is at work."""
        return not self.problems and self.state != "unfinished"


@dataclasses.dataclass
class _Findings:
    """What is gathered while records are read."""

    problems: list[str] = dataclasses.field(default_factory=list)
    made: Inventory = dataclasses.field(default_factory=Inventory)
    named: set[str] = dataclasses.field(default_factory=set)
    """Paths of artefacts that records name."""
    tokens: int = 0
    """In token shards."""
    checked: int = 0
    newest: CheckpointRef | None = None
    """The newest sound checkpoint."""

    def add(self, record: Record) -> None:
        self.made.add(record)
        if record.stage == TOKENS:
            self.tokens += record.read(TokenNumbers).tokens


def verify_run(storage: Storage, inputs: bool = False) -> VerifyReport:
    """Checks every record, every artefact's size and digest, and every checkpoint's model digest.

    Artefacts are read as a stream, checkpoints part by part. Of a run that has ended, every stage must have its
    records, and every file must have a record that names it. A run at work is told as such: what it has not
    recorded yet is not missed.

    Args:
      inputs: read the input files too, and compare them with the digests made while counting.

    Raises:
      InputError: there is no run here.
    """
    run = run_directory.open_run(storage.root)
    at_work = lock.is_held(storage)
    found = _Findings()
    _check_own_records(run, found)
    if isinstance(run.records, CorpusRecords):
        _check_taken_records(run.records, run.keys, found)
    ended, place = _progress(run, found)
    if not at_work:
        if ended:
            found.problems += _missing(run, found)
        found.problems += _unnamed(run.storage, found.named)
    if inputs:
        found.problems += _input_problems(run.records, run.keys, run.identity)
    state = "at work" if at_work else "finished" if ended else "unfinished"
    return VerifyReport(found.problems, found.newest.digest if found.newest else None, found.checked, state, place)


def _check_own_records(run: RunDirectory, found: _Findings) -> None:
    """Reads the run's records and their artefacts."""
    storage, foreign = run.storage, 0
    for path, record in run.records.scan():
        if record is None:
            found.problems.append(f"{storage.uri(path)} is damaged: delete it and run the same command again")
            stage, name = path.split("/")[1], path.rpartition("/")[2].removesuffix(".json")
            found.made.names[stage].add(name)  # it is there: no second line tells it as missing
            continue
        if record.key != key_of_stage(record.stage, run.keys):
            foreign += 1
            continue
        found.checked += len(record.artifacts)
        problems = _record_problems(run.records, record)
        if problems and storage.info(path) is None:
            continue  # a run at work has pruned it
        found.problems += problems
        found.named |= {artifact.path for artifact in record.artifacts}
        try:
            found.add(record)
            if record.stage == STAGE and not problems:
                ref = CheckpointRef.of_record(record)
                found.newest = max(found.newest or ref, ref, key=lambda ref: ref.step)
        except ArtifactError as error:  # its numbers are not those of its stage
            found.problems.append(str(error))
    if foreign:
        whose = "run.json is of another run, put it back"
        if found.named:
            whose = (
                "a command that lost its lock has left them: run the same command again, it removes them;"
                " or run.json is of another run: then put it back"
            )
        found.problems.append(f"{foreign:,} records in {storage.uri(RECORDS)} are not of this run's options: {whose}")


def _check_taken_records(records: CorpusRecords, keys: Mapping[str, str], found: _Findings) -> None:
    """Reads what the run takes from the run of --corpus."""
    for stage in CORPUS_STAGES:
        for record in records.all(stage, keys[stage]) if stage in keys else []:
            if any(artifact.root for artifact in record.artifacts):
                found.checked += len(record.artifacts)
                found.problems += _record_problems(records, record)
                found.add(record)
    if found.tokens != found.made.tokens:
        lacks = "the vocabulary" if found.made.tokens is None else f"all tokens ({_encoded(found)})"
        found.problems.append(
            f"{records.corpus.storage.root} does not hold {lacks} that this run takes from it: run the command that"
            " filled it again"
        )


def _progress(run: RunDirectory, found: _Findings) -> tuple[bool, str]:
    """(whether the run has made all that it is to make, how far it is)."""
    if run.has_model:
        known = recorded(run.records, run.keys[STAGE])
        found.problems += [
            f"{line}: {_AGAIN}" for line in known.values() if isinstance(line, str) and "missing" in line
        ]
        if refs := [ref for ref in known.values() if isinstance(ref, CheckpointRef)]:
            return refs[-1].step == refs[-1].steps, refs[-1].place
    if found.made.tokens is None:
        counted = len(found.made.names[COUNTS])
        return False, f"{counted:,} {'unit of work is' if counted == 1 else 'units of work are'} counted"
    if found.tokens != found.made.tokens:
        return False, _encoded(found)
    return not run.has_model, "no checkpoint is there yet" if run.has_model else f"{found.tokens:,} tokens are encoded"


def _encoded(found: _Findings) -> str:
    return f"{found.tokens:,} of {found.made.tokens:,} tokens are encoded"


def _missing(run: RunDirectory, found: _Findings) -> Iterator[str]:
    """A line for each record that has to be there and is not."""
    uri, own_corpus = run.storage.uri, not isinstance(run.records, CorpusRecords)
    paths = list(missing_records(found.made, run.keys, run.identity["options"]))
    if own_corpus:
        paths += missing_corpus_records(found.made, run.keys, run.identity["options"]["model"]["phrases"])
        for file in unread_files(found.made, run.identity):
            yield f"{uri(RECORDS)}: no record says that {file} was read: run the same command again"
    for path in paths:
        yield f"{uri(path)} is missing: {_AGAIN}"


def _unnamed(storage: Storage, named: set[str]) -> Iterator[str]:
    """A line for each folder that has files which no record names."""
    unnamed: dict[str, int] = {}
    for folder in STAGE_FOLDERS:
        for info in storage.walk(folder):
            if info.path not in named:
                top = info.path.rpartition("/")[0]
                unnamed[top] = unnamed.get(top, 0) + 1
    for folder, count in sorted(unnamed.items()):
        files = "1 file" if count == 1 else f"{count:,} files"
        yield f"{storage.uri(folder)} has {files} that no record names: run the same command again, or delete them"


def _record_problems(records: Records, record: Record) -> list[str]:
    if record.stage == STAGE:  # read once, for both digests
        try:
            ref = CheckpointRef.of_record(record)
            check_digest(records, ref, [block_digest(block) for block in read_blocks(records, ref)])
        except PipelineError as error:
            return [f"{error} (an older checkpoint than the newest is dropped then)"]
        return []
    damages = ((artifact, records.damage(artifact, "digest")) for artifact in record.artifacts)
    return [
        f"{records.uri(artifact)} {damage}: run"
        f" {'the command that filled that output' if artifact.root else 'the same command'} again"
        for artifact, damage in damages
        if damage
    ]


def _input_problems(records: Records, keys: Mapping[str, str], identity: dict[str, Any]) -> list[str]:
    files = recorded_files(records, keys)
    unread = [
        f"{file['uri']} has no content digest: counting has not read it yet"
        for file in identity["inputs"]
        if file["size"] and file["uri"] not in files
    ]
    return unread + list(changed_inputs(files, {file["uri"]: file["size"] for file in identity["inputs"]}))
