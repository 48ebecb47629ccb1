"""Events of OpenLineage: what the specification demands of a run event."""

from __future__ import annotations

import datetime
import json
import uuid

import pytest
from openlineage.client import event_v2
from openlineage.client.generated import dataset_version_dataset, error_message_run, parent_run
from openlineage.client.serde import Serde

from pipeline.series.decisions import decide
from pipeline.series.events import COMPLETE, FAIL, Attempt
from pipeline.storage.open_storage import open_storage
from tests.series.logs import Series, decided


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path))


@pytest.fixture
def a_decision():
    series = Series()
    series.files["2026-11-01"] = {"dt=2026-11-01/a"}
    return decided(decide(series.listing(), series.state))


def events(storage) -> dict[str, dict]:
    return {info.path: json.loads(storage.read(info.path)) for info in storage.list("events")}


def check(event: dict) -> None:
    """The required members of RunEvent, Run, Job, Dataset and of facets (OpenLineage 2-0-2)."""
    assert {"eventTime", "producer", "schemaURL", "run", "job", "eventType"} <= event.keys()
    assert datetime.datetime.fromisoformat(event["eventTime"]).tzinfo
    assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
    uuid.UUID(event["run"]["runId"])
    places = [event["job"], *event["inputs"], *event["outputs"]]
    assert all(place["namespace"] and place["name"] for place in places)
    facets = [facet for one in (event["run"], *places) for facet in one["facets"].values()]
    assert facets
    for facet in facets:
        assert facet["_producer"].startswith("https://")
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
    parent = event["run"]["facets"]["parent"]
    uuid.UUID(parent["run"]["runId"])
    assert parent["job"]["namespace"]


def by_the_client(event: dict) -> dict:
    """The event as OpenLineage's own classes write it; they know no member that the published schema does not have."""

    def run_facet(name: str, facet: dict) -> parent_run.ParentRunFacet | error_message_run.ErrorMessageRunFacet:
        if name == "parent":
            return parent_run.ParentRunFacet(parent_run.Run(**facet["run"]), parent_run.Job(**facet["job"]))
        return error_message_run.ErrorMessageRunFacet(facet["message"], facet["programmingLanguage"])

    def dataset(kind: type, given: dict) -> event_v2.Dataset:
        facets = {
            name: dataset_version_dataset.DatasetVersionDatasetFacet(facet["datasetVersion"])
            for name, facet in given["facets"].items()
        }
        return kind(given["namespace"], given["name"], facets=facets)

    facets = {name: run_facet(name, facet) for name, facet in event["run"]["facets"].items()}
    written = event_v2.RunEvent(
        eventTime=event["eventTime"],
        eventType=event_v2.RunState[event["eventType"]],
        producer=event["producer"],
        run=event_v2.Run(event["run"]["runId"], facets),
        job=event_v2.Job(**event["job"]),
        inputs=[dataset(event_v2.InputDataset, one) for one in event["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, one) for one in event["outputs"]],
    )
    return json.loads(Serde.to_json(written))


def members(value, path=""):
    """Paths and values of all that is said, without who says it by which version of a schema, and what is empty."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("_producer", "_schemaURL", "producer"):
                yield from members(inner, f"{path}/{name}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from members(inner, f"{path}/{i}")
    else:
        yield path, value


@pytest.mark.parametrize("end", [COMPLETE, FAIL])
def test_events_are_what_the_client_of_openlineage_writes(storage, a_decision, end):
    Attempt.begin(storage, a_decision, "s3://texts/all").end(end, "it was no text" if end == FAIL else "")
    for event in events(storage).values():
        assert dict(members(event)) == dict(members(by_the_client(event)))
        assert event["schemaURL"] == by_the_client(event)["schemaURL"]


def test_an_attempt_has_a_start_and_an_end(storage, a_decision):
    Attempt.begin(storage, a_decision, "s3://texts/all").end(COMPLETE)
    found = events(storage)
    assert list(found) == ["events/0001-COMPLETE.json", "events/0001-START.json"]
    for event in found.values():
        check(event)
    start = found["events/0001-START.json"]
    assert start["inputs"][0]["namespace"] == "s3://texts"
    assert start["inputs"][0]["facets"]["version"]["datasetVersion"] == a_decision.manifest_digest
    assert start["run"]["runId"] == found["events/0001-COMPLETE.json"]["run"]["runId"]


def test_a_failure_says_why(storage, a_decision):
    Attempt.begin(storage, a_decision, "/texts").end(FAIL, "no room")
    event = events(storage)["events/0001-FAIL.json"]
    check(event)
    assert event["run"]["facets"]["errorMessage"]["message"] == "no room"


def test_the_next_attempt_ends_one_that_was_killed(storage, a_decision):
    Attempt.begin(storage, a_decision, "/texts")
    Attempt.begin(storage, a_decision, "/texts").end(COMPLETE)
    found = events(storage)
    assert sorted(found) == [
        "events/0001-ABORT.json",
        "events/0001-START.json",
        "events/0002-COMPLETE.json",
        "events/0002-START.json",
    ]
    aborted, first, second = (found[f"events/{name}.json"] for name in ("0001-ABORT", "0001-START", "0002-START"))
    check(aborted)
    assert (aborted["eventType"], aborted["run"]["runId"]) == ("ABORT", first["run"]["runId"])
    assert first["run"]["runId"] != second["run"]["runId"]
    assert first["run"]["facets"]["parent"] == second["run"]["facets"]["parent"]
