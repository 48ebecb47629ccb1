"""Stage keys: a hash of everything that the artefacts of a stage depend on.

    text -> counts -> vocabulary -> unigram ---.
             | |             '------> tokens -----+-> batches -> checkpoints
             | '-> totals
             '---> reservoir

In a run with --update, what the parent has made goes into the keys by its digest:

    counts -> totals (parent's totals) -> vocabulary
    vocabulary -> replay (parent's reservoir) -> batches
    batches -> checkpoints (parent's model)
    counts -> reservoir (parent's reservoir)

The key of a stage is a hash of the keys before it, of the options whose first effect is on this stage, and of the
format version. Equal keys mean equal content, so a run with other `--dims` finds its counts, vocabulary and tokens
already made.

Passes of --phrases come between text and counts. Without --phrases no key depends on them:

    text -> words-1 -> phrases-1 -> words-2 -> phrases-2 -> counts

A run with --update takes the phrases of its parent in their place: text -> phrases-1 -> phrases-2 -> counts
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

FORMAT_VERSION = 3
"""Raise it when the meaning of an artefact changes: artefacts of another format are never reused."""

CARRIES = 1
"""Version of what a run hands on to those that update it: checkpoint, totals, reservoir, phrases, list of files.

It stands in run.json. It is apart from the format, for an update reads a parent of this version and of the one before:
a new format must not end a chain.
"""

UPSTREAM: dict[str, tuple[str, ...]] = {
    "text": (),
    "counts": ("text",),
    "totals": ("counts",),
    "vocabulary": ("counts",),
    "unigram": ("vocabulary",),
    "tokens": ("vocabulary",),
    "reservoir": ("counts",),
    "batches": ("tokens", "unigram"),
    "checkpoints": ("batches",),
}
_OF_AN_UPDATE: dict[str, tuple[str, ...]] = {
    "vocabulary": ("totals",),
    "replay": ("vocabulary",),
    "batches": ("tokens", "unigram", "replay"),
}


def stages(passes: int, is_update: bool = False) -> dict[str, tuple[str, ...]]:
    """UPSTREAM, with so many passes of --phrases, or as in a run with --update."""
    between: dict[str, tuple[str, ...]] = {"text": UPSTREAM["text"]}
    last = "text"
    for number in range(1, passes + 1):
        phrases = phrases_stage(number)
        if not is_update:
            between[words_stage(number)] = (last,)
            last = words_stage(number)
        between[phrases] = (last,)
        last = phrases
    rest = {**UPSTREAM, "counts": (last,)}
    if not is_update:
        return between | rest
    del rest["batches"], rest["checkpoints"]  # stages stand behind those that they need
    return between | rest | _OF_AN_UPDATE | {"checkpoints": UPSTREAM["checkpoints"]}


def with_upstream(stage: str) -> set[str]:
    """The stage and all stages that it may depend on, with the most passes of --phrases."""
    return {stage}.union(*(with_upstream(name) for name in _ALL[stage]))


_ALL = stages(MAX_PASSES)
_CARRIED = ("totals", "reservoir")
CORPUS_STAGES = tuple(stage for stage in _ALL if stage in with_upstream("batches") or stage in _CARRIED)
"""The corpus side: the stages before training."""


def option_names(stages: Collection[str] = CORPUS_STAGES) -> list[str]:
    """The model and layout options whose first effect is on one of the stages."""
    names = {stage.partition("-")[0] for stage in stages}  # the passes of --phrases share their options
    return [field.name for field in dataclasses.fields(Options) if field.metadata["stage"] in names]


def stage_keys(identity: Mapping[str, Any], options: Options) -> dict[str, str]:
    """Stage -> key, 32 hex digits.

    Args:
      identity: from `directory.make_identity`. Its "inputs" decide the stage text, its "tokenizer" each count of words,
        the digest of the file of --vocabulary the stage vocabulary, that of --start_from the stage checkpoints, and
        those of the parent of --update several. Versions of packages decide nothing.
      options: each model and layout option decides from its own stage on.
    """
    own = _own(identity, options)
    keys: dict[str, str] = {}
    for stage, upstream in stages(options.phrases, bool(identity.get("update"))).items():
        name, numbered, _ = stage.partition("-")
        like = "counts" if numbered and name == "words" else name
        content = {
            "format_version": FORMAT_VERSION,
            "stage": stage,
            "upstream": [keys[name] for name in upstream],
            "options": options.of_stage(like),
            "own": own.get(stage, own.get(like)),
        }
        keys[stage] = hashlib.sha256(canonical_json(content)).hexdigest()[:32]
    return keys


def _own(identity: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Stage -> what its key depends on besides the stages before it and its own options."""
    listed, parent = identity.get("vocabulary"), identity.get("update")
    own: dict[str, Any] = {
        "text": identity["inputs"],
        "counts": identity["tokenizer"],
        "checkpoints": identity.get("start_from"),
        "vocabulary": [listed, LIST_VERSION] if listed else None,
    }
    own["totals"] = [listed, options.of_stage("vocabulary")]  # words of the vocabulary are never cut
    own["reservoir"] = [options.holdout]
    if parent:
        own["totals"] += [parent["totals"], parent["model"]]
        own["reservoir"].append(parent["reservoir"])
        own["vocabulary"] = [own["vocabulary"], parent["model"]]  # whose words stay a little longer
        own["replay"] = [parent["reservoir"], parent["model"], options.epochs, options.seed]
        own["batches"] = parent["model"]  # from which the draws' key comes
        own["checkpoints"] = parent["model"]
        for number, digest in enumerate(parent["phrases"], 1):
            own[phrases_stage(number)] = digest
    return own
