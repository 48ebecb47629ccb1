"""Stage keys: what an artefact's content depends on, as one name.

    text -> counts -> vocabulary -> unigram ---.
                          '------> tokens -----+-> batches -> checkpoints

A stage's key is a hash of the keys above it, of the options whose first effect is
on this stage, and of the format version. Equal keys mean equal content, so a
run with other `--dims` finds its counts, vocabulary and tokens made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pipeline.format import FORMAT_VERSION
from pipeline.options import Options
from pipeline.records import canonical_json

UPSTREAM: dict[str, tuple[str, ...]] = {
    "text": (),
    "counts": ("text",),
    "vocabulary": ("counts",),
    "unigram": ("vocabulary",),
    "tokens": ("vocabulary",),
    "batches": ("tokens", "unigram"),
    "checkpoints": ("batches",),
}


def stage_keys(identity: Mapping[str, Any], options: Options) -> dict[str, str]:
    """Stage -> key, 32 hex digits.

    Args:
      identity: what `run_directory.make_identity` gives; its "inputs" decide the
        text, its "tokenizer" the counts, and the digest of a "vocabulary" given the
        vocabulary. Versions of packages decide nothing.
      options: model and layout options decide, each from its own stage on.
    """
    own: dict[str, Any] = {
        "text": identity["inputs"],
        "counts": identity["tokenizer"],
        "vocabulary": identity.get("vocabulary"),
    }
    keys: dict[str, str] = {}
    for stage, upstream in UPSTREAM.items():
        content = {
            "format_version": FORMAT_VERSION,
            "stage": stage,
            "upstream": [keys[name] for name in upstream],
            "options": options.of_stage(stage),
            "own": own.get(stage),
        }
        keys[stage] = hashlib.sha256(canonical_json(content)).hexdigest()[:32]
    return keys
