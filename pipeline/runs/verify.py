"""Reads a finished or interrupted run again and compares it with its records."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.errors import PipelineError
from pipeline.model import loss_curve
from pipeline.model.checkpoints import STAGE, CheckpointRef, check_digest, read_blocks, recorded, unrecorded_parts
from pipeline.model.model import block_digest
from pipeline.runs import directory as run_directory
from pipeline.runs.directory import RunDirectory, read_timings
from pipeline.runs.input_check import changed_inputs, recorded_digests
from pipeline.runs.preprocessed_records import CorpusRecords
from pipeline.runs.stage_keys import CORPUS_STAGES
from pipeline.storage import lock
from pipeline.storage.records import Record, Records
from pipeline.storage.storage import Storage


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """What verify_run found.

    problems: a line each, naming the file; empty where all is well.
    digest: model digest (hex) of the newest sound checkpoint; None where there is none.
    checked: artefacts read.
    """

    problems: list[str]
    digest: str | None
    checked: int


def verify_run(storage: Storage, inputs: bool = False) -> VerifyReport:
    """Checks every record, every artefact's size and digest, and every checkpoint's model digest.

    Artefacts are read as a stream, checkpoints part by part. The newest sound checkpoint decides
    `digest`. Records that later ones presuppose have to be there, unless the run is at work. A lost
    record of an older checkpoint whose parts are gone too cannot be told from one that was pruned.

    Args:
      inputs: read the input files too, and compare them with the digests made while counting.

    Raises:
      InputError: there is no run here.
    """
    run = run_directory.open_run(storage.root)
    problems: list[str] = []
    newest: tuple[int, str] | None = None
    checked = 0
    there: dict[str, list[Record]] = collections.defaultdict(list)
    for path, record in run.records.scan():
        if record is None:
            problems.append(f"{storage.uri(path)} is damaged: delete it and run the same command again")
            continue
        checked += len(record.artifacts)
        found = _record_problems(run.records, record)
        if found and storage.info(path) is None:
            continue  # a run at work has pruned it
        problems += found
        if record.key == run.keys.get(STAGE if record.stage == loss_curve.STAGE else record.stage):
            there[record.stage].append(record)
            if not found and record.stage == STAGE:
                newest = max(newest or (-1, ""), (record.numbers["step"], record.numbers["digest"]))
    if isinstance(run.records, CorpusRecords):
        taken, missing = _taken(run.records, run.keys)
        checked += sum(len(record.artifacts) for record in taken)
        problems += missing + [problem for record in taken for problem in _record_problems(run.records, record)]
        for record in taken:
            there[record.stage].append(record)
    if not problems and storage.info(lock.PATH) is None:
        problems += _lost(run, there)
    if inputs:
        problems += _input_problems(run.records, run.identity)
    return VerifyReport(problems, newest[1] if newest else None, checked)


def _taken(records: CorpusRecords, keys: Mapping[str, str]) -> tuple[list[Record], list[str]]:
    """(records of the run whose corpus side this one takes, problems where it does not hold all of it any more)."""
    there = [r for stage in CORPUS_STAGES if stage in keys for r in records.all(stage) if r.key == keys[stage]]
    taken = [record for record in there if any(artifact.root for artifact in record.artifacts)]
    tokens, wanted = (sum(r.numbers["tokens"] for r in there if r.stage == stage) for stage in (TOKENS, "vocabulary"))
    if tokens == wanted > 0:
        return taken, []
    root = records.corpus.storage.root
    return taken, [f"{root} does not hold all tokens that this run takes from it: see jobs.verify --run={root}"]


def _lost(run: RunDirectory, there: Mapping[str, list[Record]]) -> list[str]:
    """A line for each record that others presuppose and that is not there.

    Args:
      there: the run's records by stage.
    """
    uri, remedy = run.storage.uri, "run the same command again, and it is made anew"
    lost = []
    if there[STAGE]:
        lost += [stage for stage in ("vocabulary", "unigram") if not there[stage]]
        known, wanted = (sum(r.numbers["tokens"] for r in there[stage]) for stage in (TOKENS, "vocabulary"))
        lost += [TOKENS] if known < wanted else []
    counted = {record.name for record in there["counts"]}
    lost += [f"counts/{record.name}.json" for record in there[TOKENS] if record.name not in counted]
    problems = [f"{uri(f'records/{path}')} is missing, or some of it: {remedy}" for path in lost]
    if gone := [found for found in recorded(run.records, run.keys[STAGE]).values() if isinstance(found, str)]:
        return problems + [f"{line}: {remedy}" for line in gone]
    if not read_timings(run.records, run.keys[STAGE]):
        return problems  # it has not ended yet: somebody may have been killed before the record was written
    last, clocked = (max((r.numbers["step"] for r in there[stage]), default=0) for stage in (STAGE, loss_curve.STAGE))
    if last < clocked:
        problems.append(f"{uri(f'records/{STAGE}')} has nothing of step {clocked}, which was trained: {remedy}")
    folders = sorted({path.rpartition("/")[0] for path in unrecorded_parts(run.records)})
    return problems + [f"{uri(folder)} is named by no record: {remedy}, or removed" for folder in folders]


def _record_problems(records: Records, record: Record) -> list[str]:
    if record.stage == STAGE:  # read once, for both digests
        try:
            ref = CheckpointRef.of_record(record)
            check_digest(records, ref, [block_digest(block) for block in read_blocks(records, ref)])
        except PipelineError as error:
            return [f"{error}. If an older checkpoint stays damaged, delete {records.storage.uri(record.path)}"]
        return []
    damages = ((artifact, records.damage(artifact, "digest")) for artifact in record.artifacts)
    return [
        f"{records.uri(artifact)} {damage}: delete {records.storage_of(artifact).uri(record.path)}, and run"
        f" {'the command that filled that output' if artifact.root else 'the same command'} again"
        for artifact, damage in damages
        if damage
    ]


def _input_problems(records: Records, identity: dict[str, Any]) -> list[str]:
    counted = recorded_digests(records)
    unread = [
        f"{file['uri']} has no content digest: counting has not read it yet"
        for file in identity["inputs"]
        if file["size"] and file["uri"] not in counted
    ]
    return unread + list(changed_inputs(records, {file["uri"]: file["size"] for file in identity["inputs"]}))
