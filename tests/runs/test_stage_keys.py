"""Stage keys: what changes them, and from which stage on."""

from __future__ import annotations

import pytest

from pipeline.options import Options
from pipeline.runs.stage_keys import UPSTREAM, stage_keys
from tests.helpers.identities import File, identity

CHANGES = {
    "max_line_bytes": (1000, "text"),
    "lowercase": (True, "counts"),
    "block_bytes": (1000, "counts"),
    "min_count": (1, "vocabulary"),
    "power": (1.0, "unigram"),
    "seed": (2, "batches"),
    "dims": (3, "checkpoints"),
    "threads": (7, None),
    "batches": ("stored", None),
}


def below(stage: str | None) -> set[str]:
    return {stage} | {n for n, up in UPSTREAM.items() if stage in up for n in below(n)} if stage else set()


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_changes_the_keys_from_its_stage_on(name):
    value, stage = CHANGES[name]
    same, other = identity(), identity()
    a, b = stage_keys(same, Options()), stage_keys(other, Options(**{name: value}))
    totals = {"totals"} if name == "min_count" else set()  # words of the vocabulary are never cut from them
    assert {n for n in UPSTREAM if a[n] != b[n]} - {None} == below(stage) | totals


def test_inputs_change_every_key_and_the_tokenizer_those_from_counts_on():
    a = stage_keys(identity(), Options())
    changed = [
        stage_keys(identity([first, File("/corpus/b.txt")]), Options())
        for first in (File("other"), File("/corpus/a.txt", size=11), File("/corpus/a.txt", version="2"))
    ]
    c = stage_keys(identity(tokenizer={"name": "m:f", "digest": "1"}), Options())
    for other in changed:
        assert all(a[stage] != other[stage] for stage in UPSTREAM)
    assert {stage for stage in UPSTREAM if a[stage] != c[stage]} == below("counts")
    assert len(set(a.values())) == len(UPSTREAM)
    assert all(len(key) == 32 for key in a.values())


PARENT = {"model": "a" * 64, "totals": "b" * 64, "reservoir": "c" * 64, "phrases": ["d" * 64]}


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("model", {"totals", "vocabulary", "unigram", "tokens", "replay", "batches", "checkpoints"}),
        ("totals", {"totals", "vocabulary", "unigram", "tokens", "replay", "batches", "checkpoints"}),
        ("reservoir", {"reservoir", "replay", "batches", "checkpoints"}),
        ("phrases", set(UPSTREAM) - {"text"} | {"phrases-1", "replay"}),
    ],
)
def test_what_a_parent_has_made_changes_the_keys_of_what_is_made_of_it(name, stages):
    options = Options(update="parent", phrases=1)
    changed = ["e" * 64] if name == "phrases" else "e" * 64
    a, b = (stage_keys({**identity(), "update": parent}, options) for parent in (PARENT, {**PARENT, name: changed}))
    assert {stage for stage in a if a[stage] != b[stage]} == stages
    other_name = stage_keys({**identity(), "update": PARENT}, Options(update="elsewhere", phrases=1))
    assert other_name == a
    assert "words-1" not in a


def test_epochs_decide_what_is_replayed():
    a, b = (stage_keys({**identity(), "update": PARENT}, Options(update="x", epochs=n)) for n in (5, 6))
    assert {stage for stage in a if a[stage] != b[stage]} == {"replay", "batches", "checkpoints"}
