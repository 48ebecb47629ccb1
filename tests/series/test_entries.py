"""Entries of the log as JSON."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import ArtifactError
from pipeline.series.entries import (
    Decided,
    Dropped,
    Figure,
    Parent,
    Policy,
    Promoted,
    Refused,
    Released,
    RolledBack,
    Void,
    from_json,
    path_of,
    to_json,
)
from tests.series.logs import DIGEST

FOLDER = "generations/2026-11-29"
ENTRIES = [
    Policy(root="/texts", by="dt=*", gates=("words",), options={"dims": 50, "field": None, "lowercase": True}),
    Decided(
        name="2026-11-29",
        partition="2026-11-29",
        folder=FOLDER,
        mode="update",
        follows="generations/2026-11-28",
        parent=Parent("2026-11-28", "generations/2026-11-28", DIGEST),
        options={"dims": 50, "subsample": 0.001},
        manifest="manifests/x.parquet",
        manifest_digest=DIGEST,
        files=3,
        bytes=100,
        fingerprint="ff",
    ),
    Void(folder=FOLDER, why="changed"),
    Promoted(name="x", folder=FOLDER, model=DIGEST, figures=(Figure("words", 12.0, 3.0, None), Figure("seen"))),
    Refused(name="x", folder=FOLDER, why="words", figures=(Figure("words", 0.0, 1.0, None, "refused", "none"),)),
    RolledBack(name="x", folder=FOLDER, withdrawn=("generations/2026-11-30",)),
    Released(partition="x", forced=True),
    Dropped(partition="x"),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_comes_back_as_it_was(entry):
    assert from_json(to_json(entry), "log/0.json") == entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_any_changed_byte_is_damage(entry):
    data = to_json(entry)
    for place in range(0, len(data), 7):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(ArtifactError, match="damaged"):
            from_json(changed, "log/0.json")


def test_the_json_says_what_it_is():
    body = json.loads(to_json(ENTRIES[3]))
    assert (body["entry"], body["version"], body["name"]) == ("promoted", 1, "x")
    assert path_of(12) == "log/00000000000000000012.json"
