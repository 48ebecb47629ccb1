"""Verifies a run, finished or not: reads it again and compares it with its records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.batches.tokens import TokenNumbers
from pipeline.corpus.readers.open_reader import reader_of
from pipeline.errors import ArtifactError, PipelineError
from pipeline.model.checkpoints import STAGE, CheckpointRef, UnusableCheckpoint, read_blocks, recorded
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

_AGAIN = "start the run again, which makes it again"
_AGAIN_CHECKPOINT = "start the run again, which makes it again if it is the newest checkpoint, and else removes it"


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """The result of `verify_run`.

    problems: a line each, which names the file; empty if all is well.
    digest: model digest (hex) of the newest sound checkpoint; None if there is none.
    checked: number of artefacts read.
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
        """Whether there are no problems, and the run is finished or at work."""
        return not self.problems and self.state != "unfinished"


@dataclasses.dataclass
class _Findings:
    """Collects what the records say, and problems."""

    problems: list[str] = dataclasses.field(default_factory=list)
    inventory: Inventory = dataclasses.field(default_factory=Inventory)
    named: set[str] = dataclasses.field(default_factory=set)
    """paths of artefacts that records name"""
    tokens: int = 0
    """in token shards"""
    checked: int = 0
    newest: CheckpointRef | None = None
    """the newest sound checkpoint"""

    def add(self, record: Record) -> None:
        self.inventory.add(record)
        if record.stage == TOKENS:
            numbers = record.read(TokenNumbers)
            self.tokens += numbers.tokens + numbers.kept_back


def verify_run(storage: Storage, inputs: bool = False) -> VerifyReport:
    """Checks every record, every artefact's size and digest, and every checkpoint's model digest.

    Artefacts are read as a stream, checkpoints partition by partition. In a finished run every stage must have its
    records, and a record must name every file. A run that is at work is not finished, so nothing counts as missing.

    Args:
      inputs: read the input files too, and compare them with the digests from counting.

    Raises:
      InputError: there is no run.
    """
    run = run_directory.open_run(storage.root)
    at_work = lock.is_held(storage)
    findings = _Findings()
    _check_own_records(run, findings)
    if isinstance(run.records, CorpusRecords):
        _check_taken_records(run.records, run.keys, findings)
    ended, place = _progress(run, findings)
    if not at_work:
        if ended:
            findings.problems += _missing(run, findings)
        findings.problems += _unnamed(run.storage, findings.named)
    if inputs:
        findings.problems += _input_problems(run.records, run.keys, run.identity)
    state = "at work" if at_work else "finished" if ended else "unfinished"
    return VerifyReport(
        findings.problems, findings.newest.digest if findings.newest else None, findings.checked, state, place
    )


def _check_own_records(run: RunDirectory, findings: _Findings) -> None:
    """Reads the run's records and their artefacts."""
    storage, foreign = run.storage, 0
    for path, record in run.records.scan():
        if record is None:
            findings.problems.append(f"{storage.uri(path)} is damaged: delete it and start the run again")
            stage, name = path.split("/")[1], path.rpartition("/")[2].removesuffix(".json")
            findings.inventory.names[stage].add(name)  # it exists: no second line shall call it missing
            continue
        if record.key != key_of_stage(record.stage, run.keys):
            foreign += 1
            continue
        findings.checked += len(record.artifacts)
        problems = _record_problems(run.records, record)
        if problems and storage.info(path) is None:
            continue  # a run at work has pruned it
        findings.problems += problems
        findings.named |= {artifact.path for artifact in record.artifacts}
        try:
            findings.add(record)
            if record.stage == STAGE and not problems:
                ref = CheckpointRef.of_record(record)
                findings.newest = max(findings.newest or ref, ref, key=lambda ref: ref.step)
        except ArtifactError as error:  # its numbers do not fit its stage
            findings.problems.append(str(error))
    if foreign:
        whose = "run.json is of another run, put it back"
        if findings.named:
            whose = (
                "a command that lost its lock has left them: start the run again, it removes them;"
                " or run.json is of another run: then put it back"
            )
        findings.problems.append(
            f"{foreign:,} records in {storage.uri(RECORDS)} are not of this run's options: {whose}"
        )


def _check_taken_records(records: CorpusRecords, keys: Mapping[str, str], findings: _Findings) -> None:
    """Reads the records and artefacts that the run takes from the run of --corpus."""
    for stage in CORPUS_STAGES:
        for record in records.all(stage, keys[stage]) if stage in keys else []:
            if any(artifact.root for artifact in record.artifacts):
                findings.checked += len(record.artifacts)
                findings.problems += _record_problems(records, record)
                findings.add(record)
    if findings.tokens != findings.inventory.tokens:
        lacks = "the vocabulary" if findings.inventory.tokens is None else f"all tokens ({_encoded(findings)})"
        findings.problems.append(
            f"{records.corpus.storage.root} does not hold {lacks} that this run takes from it: start the run there"
            " again"
        )


def _progress(run: RunDirectory, findings: _Findings) -> tuple[bool, str]:
    """(whether the run has made everything, how far it is in words)."""
    if run.has_model:
        known = recorded(run.records, run.keys[STAGE])
        findings.problems += [
            f"{checkpoint.problem}: {_AGAIN}"
            for checkpoint in known.values()
            if isinstance(checkpoint, UnusableCheckpoint) and checkpoint.is_missing
        ]
        if refs := [ref for ref in known.values() if isinstance(ref, CheckpointRef)]:
            return refs[-1].step == refs[-1].steps, refs[-1].place
    if findings.inventory.tokens is None:
        counted = len(findings.inventory.names[COUNTS])
        return False, f"{counted:,} {'unit of work is' if counted == 1 else 'units of work are'} counted"
    if findings.tokens != findings.inventory.tokens:
        return False, _encoded(findings)
    return (
        not run.has_model,
        "there is no checkpoint yet" if run.has_model else f"{findings.tokens:,} tokens are encoded",
    )


def _encoded(findings: _Findings) -> str:
    return f"{findings.tokens:,} of {findings.inventory.tokens:,} tokens are encoded"


def _missing(run: RunDirectory, findings: _Findings) -> Iterator[str]:
    """A line for each missing record."""
    uri, own_corpus = run.storage.uri, not isinstance(run.records, CorpusRecords)
    paths = list(missing_records(findings.inventory, run.keys, run.identity["options"]))
    if own_corpus:
        paths += missing_corpus_records(findings.inventory, run.keys, run.identity)
        for file in unread_files(findings.inventory, run.identity):
            yield f"{uri(RECORDS)}: no record says that {file} was read: start the run again"
    for path in paths:
        yield f"{uri(path)} is missing: {_AGAIN}"


def _unnamed(storage: Storage, named: set[str]) -> Iterator[str]:
    """A line for each folder with files that no record names."""
    unnamed: dict[str, int] = {}
    for folder in STAGE_FOLDERS:
        for info in storage.walk(folder):
            if info.path not in named:
                top = info.path.rpartition("/")[0]
                unnamed[top] = unnamed.get(top, 0) + 1
    for folder, count in sorted(unnamed.items()):
        files = "1 file" if count == 1 else f"{count:,} files"
        yield f"{storage.uri(folder)} has {files} that no record names: start the run again, or delete them"


def _record_problems(records: Records, record: Record) -> list[str]:
    if record.stage == STAGE:  # read once, for both digests
        try:
            ref = CheckpointRef.of_record(record)
            for _ in read_blocks(records, ref):
                pass
        except ArtifactError as error:
            return [f"{error.problem}: {_AGAIN_CHECKPOINT}"]
        except PipelineError as error:
            return [str(error)]
        return []
    damages = ((artifact, records.damage(artifact, "digest")) for artifact in record.artifacts)
    return [
        f"{records.uri(artifact)} {damage}: start {f'the run in {artifact.root}' if artifact.root else 'the run'} again"
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
    reader = reader_of(identity["options"]["model"].get("input_format", "text"))
    return unread + list(changed_inputs(reader, files, {file["uri"]: file["size"] for file in identity["inputs"]}))
