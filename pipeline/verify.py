"""Reads a finished or interrupted run again and compares it with its records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline import run_directory
from pipeline.checkpoints import STAGE, CheckpointRef, check_digest, read_blocks
from pipeline.corpus_records import CorpusRecords
from pipeline.errors import PipelineError
from pipeline.input_digests import changed_inputs, recorded_digests
from pipeline.model_digest import block_digest
from pipeline.records import Record, Records
from pipeline.stage_keys import CORPUS_STAGES
from pipeline.storage import Storage
from pipeline.tokens import STAGE as TOKENS


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

    Artefacts are read as a stream, checkpoints part by part. A checkpoint whose record was
    lost cannot be told from one that was pruned; the newest that is left decides `digest`.

    Args:
      inputs: read the input files too, and compare them with the digests made while counting.

    Raises:
      InputError: there is no run here.
    """
    run = run_directory.open_run(storage.root)
    problems: list[str] = []
    newest: tuple[int, str] | None = None
    checked = 0
    for path, record in run.records.scan():
        if record is None:
            problems.append(f"{storage.uri(path)} is damaged: the same command again makes it anew")
            continue
        checked += len(record.artifacts)
        found = _record_problems(run.records, record)
        problems += found
        if not found and record.stage == STAGE and record.key == run.keys[STAGE]:
            newest = max(newest or (-1, ""), (record.numbers["step"], record.numbers["digest"]))
    if isinstance(run.records, CorpusRecords):
        taken, missing = _taken(run.records, run.keys)
        checked += sum(len(record.artifacts) for record in taken)
        problems += missing + [problem for record in taken for problem in _record_problems(run.records, record)]
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


def _record_problems(records: Records, record: Record) -> list[str]:
    if record.stage == STAGE:  # read once, for both digests
        try:
            ref = CheckpointRef.of_record(record)
            check_digest(records, ref, [block_digest(block) for block in read_blocks(records, ref)])
        except PipelineError as error:
            return [str(error)]
        return []
    damages = ((artifact, records.damage(artifact, "digest")) for artifact in record.artifacts)
    return [f"{records.uri(artifact)} {damage}" for artifact, damage in damages if damage]


def _input_problems(records: Records, identity: dict[str, Any]) -> list[str]:
    counted = recorded_digests(records)
    unread = [
        f"{file['uri']} has no content digest: counting has not read it yet"
        for file in identity["inputs"]
        if file["size"] and file["uri"] not in counted
    ]
    return unread + list(changed_inputs(records, {file["uri"]: file["size"] for file in identity["inputs"]}))
