"""Stage keys: a hash of everything that the artefacts of a stage depend on.

    text -> counts -> vocabulary -> unigram ---.
                          '------> tokens -----+-> batches -> checkpoints

The key of a stage is a hash of the keys before it, of the options whose first effect is on this stage, and of the
format version. Equal keys mean equal content, so a run with other `--dims` finds its counts, vocabulary and tokens
already made.

Passes of --phrases come between text and counts. Without --phrases no key depends on them:

    text -> words-1 -> phrases-1 -> words-2 -> phrases-2 -> counts
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from pipeline.options import MAX_PASSES, Options
from pipeline.storage.records import canonical_json
from pipeline.words.phrases import phrases_stage, words_stage
from pipeline.words.word_list import LIST_VERSION

FORMAT_VERSION = 2
"""Raise it when the meaning of an artefact changes: artefacts of another format are never reused."""

UPSTREAM: dict[str, tuple[str, ...]] = {
    "text": (),
    "counts": ("text",),
    "vocabulary": ("counts",),
    "unigram": ("vocabulary",),
    "tokens": ("vocabulary",),
    "batches": ("tokens", "unigram"),
    "checkpoints": ("batches",),
}


def stages(passes: int) -> dict[str, tuple[str, ...]]:
    """UPSTREAM, with so many passes of --phrases."""
    between: dict[str, tuple[str, ...]] = {"text": UPSTREAM["text"]}
    last = "text"
    for number in range(1, passes + 1):
        between[words_stage(number)] = (last,)
        last = phrases_stage(number)
        between[last] = (words_stage(number),)
    return between | {**UPSTREAM, "counts": (last,)}


def with_upstream(stage: str) -> set[str]:
    """The stage and all stages that it may depend on, with the most passes of --phrases."""
    return {stage}.union(*(with_upstream(name) for name in _ALL[stage]))


_ALL = stages(MAX_PASSES)
CORPUS_STAGES = tuple(stage for stage in _ALL if stage in with_upstream("batches"))
"""The corpus side: the stages before training."""


def option_names(stages: Collection[str] = CORPUS_STAGES) -> list[str]:
    """The model and layout options whose first effect is on one of the stages."""
    names = {stage.partition("-")[0] for stage in stages}  # the passes of --phrases share their options
    return [field.name for field in dataclasses.fields(Options) if field.metadata["stage"] in names]


def stage_keys(identity: Mapping[str, Any], options: Options) -> dict[str, str]:
    """Stage -> key, 32 hex digits.

    Args:
      identity: from `directory.make_identity`. Its "inputs" decide the stage text, its "tokenizer" each count of words,
        the digest of the file of --vocabulary the stage vocabulary, and that of --start_from the stage checkpoints.
        Versions of packages decide nothing.
      options: each model and layout option decides from its own stage on.
    """
    own: dict[str, Any] = {
        "text": identity["inputs"],
        "counts": identity["tokenizer"],
        "checkpoints": identity.get("start_from"),
        "vocabulary": [listed, LIST_VERSION] if (listed := identity.get("vocabulary")) else None,
    }
    keys: dict[str, str] = {}
    for stage, upstream in stages(options.phrases).items():
        name, numbered, _ = stage.partition("-")
        like = "counts" if numbered and name == "words" else name
        content = {
            "format_version": FORMAT_VERSION,
            "stage": stage,
            "upstream": [keys[name] for name in upstream],
            "options": options.of_stage(like),
            "own": own.get(like),
        }
        keys[stage] = hashlib.sha256(canonical_json(content)).hexdigest()[:32]
    return keys
