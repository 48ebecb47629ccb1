"""Events of OpenLineage, as JSON files: which text went into which generation, and how the attempt ended.

    events/0012-START.json, 0012-COMPLETE.json      or FAIL; ABORT, written by the next attempt, where none has an end

An attempt is a run of its own, with a random id; its parent run is the generation, whose id follows from its name. A
collector that takes events by HTTP takes these files as they are (https://openlineage.io/docs/spec).
"""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any

from pipeline.series.entries import Decided
from pipeline.storage.records import canonical_json
from pipeline.storage.storage import Storage
from pipeline.storage.world import world

FOLDER = "events"
START, COMPLETE, FAIL, ABORT = "START", "COMPLETE", "FAIL", "ABORT"
NAMESPACE = "beam2vec"
PRODUCER = "https://github.com/beam2vec"
_SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets/1-0-0"
_NAME = re.compile(rf"{FOLDER}/([0-9]{{4,}})-([A-Z]+)\.json")
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)


class Attempt:
    """One attempt to make a generation: `begin`, then `end`."""

    def __init__(self, series: Storage, number: int, event: dict[str, Any]):
        self.series, self.number, self.event = series, number, event

    @classmethod
    def begin(cls, series: Storage, decided: Decided, input_root: str) -> Attempt:
        """Writes ABORT for attempts that have no end, and START for this one."""
        numbers = _abort_others(series)
        event = started(series.root, decided, input_root, str(uuid.UUID(world().token(16), version=4)))
        while not series.create(_path(numbers + 1, START), canonical_json(_at_time(event, START))):
            numbers += 1
        return cls(series, numbers + 1, event)

    def end(self, kind: str, why: str = "") -> None:
        """Writes COMPLETE, or FAIL with the reason."""
        event = _at_time(self.event, kind)
        if why:
            message = {**_facet("ErrorMessageRunFacet"), "message": why, "programmingLanguage": "PYTHON"}
            event = {**event, "run": {**event["run"], "facets": {**event["run"]["facets"], "errorMessage": message}}}
        self.series.put(_path(self.number, kind), canonical_json(event))


def started(series: str, decided: Decided, input_root: str, attempt: str) -> dict[str, Any]:
    """An event of an attempt, without its kind and time."""
    job = {"namespace": NAMESPACE, "name": series}
    parent = {"run": {"runId": str(uuid.uuid5(_IDS, f"{series}/{decided.folder}"))}, "job": job}
    version = {**_facet("DatasetVersionDatasetFacet"), "datasetVersion": decided.manifest_digest}
    return {
        "producer": PRODUCER,
        "schemaURL": _SPEC,
        "run": {"runId": attempt, "facets": {"parent": {**_facet("ParentRunFacet"), **parent}}},
        "job": {"namespace": NAMESPACE, "name": f"{series}.{decided.mode}", "facets": {}},
        "inputs": [{**_dataset(input_root), "facets": {"version": version}}],
        "outputs": [{**_dataset(f"{series}/{decided.folder}"), "facets": {}}],
    }


def _abort_others(series: Storage) -> int:
    """The number of the last attempt; those without an end get one."""
    kinds: dict[int, set[str]] = {}
    for info in series.walk(FOLDER):
        if match := _NAME.fullmatch(info.path):
            kinds.setdefault(int(match[1]), set()).add(match[2])
    for number, seen in kinds.items():
        if seen == {START}:
            event = series.find(_path(number, START)) or b""
            series.put(_path(number, ABORT), event.replace(b'"eventType":"START"', b'"eventType":"ABORT"'))
    return max(kinds, default=0)


def _path(number: int, kind: str) -> str:
    return f"{FOLDER}/{number:04}-{kind}.json"


def _at_time(event: dict[str, Any], kind: str) -> dict[str, Any]:
    now = datetime.datetime.fromtimestamp(world().time(), datetime.UTC)
    return {**event, "eventType": kind, "eventTime": now.isoformat(timespec="milliseconds")}


def _facet(name: str) -> dict[str, str]:
    return {"_producer": PRODUCER, "_schemaURL": f"{_FACETS}/{name}.json#/$defs/{name}"}


def _dataset(uri: str) -> dict[str, str]:
    """Namespace and name as OpenLineage has them: of a bucket, or of a path."""
    scheme, found, rest = uri.partition("://")
    if not found:
        return {"namespace": "file", "name": uri}
    bucket, _, name = rest.partition("/")
    return {"namespace": f"{scheme}://{bucket}", "name": name or "/"}
