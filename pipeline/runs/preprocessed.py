"""The corpus side of a run: what it depends on, and how a training run takes it from another run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from pipeline.batches.stored import STAGE as BATCHES
from pipeline.batches.stored import stored_batches
from pipeline.batches.tokens import STAGE as TOKENS
from pipeline.corpus.readers.values import TEXT
from pipeline.errors import InputError
from pipeline.options import Options, shown_value
from pipeline.runs.directory import RunDirectory, open_run, options_of_run, package_versions
from pipeline.runs.stage_keys import option_names, with_upstream
from pipeline.words.vocabulary import VocabularyNumbers

TOKEN_STAGES = with_upstream(TOKENS)
"""Stages that a run without text cannot make: it takes them, and the options that decide them, from the other run."""


def open_corpus(uri: str) -> RunDirectory:
    """A run whose corpus side is to be taken, for reading only.

    Raises:
      InputError: there is no run; it has another format; it is unfinished; or it has taken its corpus side itself.
    """
    try:
        run = open_run(uri)
    except InputError as error:
        raise InputError(f"--corpus={uri}: {error}") from error
    if other := run.identity.get("corpus"):
        raise InputError(f"--corpus={uri} takes its corpus side from another run itself: use --corpus={other}")
    _check_made(uri, run)
    return run


def _check_made(uri: str, run: RunDirectory) -> None:
    """InputError if the corpus side is unfinished. Only names are compared; readers of the tokens check the rest."""
    finish = f"start the run in {run.storage.root} again, which goes on with it"
    if corpus_tokens(run) is None:
        raise InputError(f"--corpus={uri} has no vocabulary yet: {finish}")
    encoded, counted = (set(run.records.names(stage, run.keys[stage])) for stage in (TOKENS, "counts"))
    if not encoded or counted - encoded:
        parts = f"{len(encoded):,} of {len(counted):,} units" if counted else "none of its units"
        raise InputError(f"--corpus={uri} is unfinished, it has {parts} as tokens: {finish}")


def corpus_tokens(run: RunDirectory) -> int | None:
    """How many tokens of the corpus are in the vocabulary; None if there is no vocabulary yet."""
    record = run.records.load("vocabulary", "vocabulary", run.keys["vocabulary"])
    return record.read(VocabularyNumbers).tokens if record else None


def stored_epochs(run: RunDirectory) -> int:
    """How many epochs of batches the run has stored, judged by the first shard."""
    return len(stored_batches(run.records, run.keys[BATCHES], 0))


def with_options_of(uri: str, run: RunDirectory, options: Options, set_by_user: Collection[str]) -> Options:
    """The options of a run that takes its corpus side from `run`.

    Options that decide the tokens are those of the corpus run. Options that decide the unigram distribution and the
    rows (window, seed and so on) are those of the corpus run unless the user has set them. All others are the user's.

    Args:
      set_by_user: names of the options that the user has set.

    Raises:
      InputError: the user has set an option that decides the tokens to another value (all are named), or options do not
        go together.
    """
    pinned = run.pinned(Options())
    saved: dict[str, Any] = {name: getattr(pinned, name) for name in option_names()}
    fixed = option_names(TOKEN_STAGES)
    unequal = [
        f"--{name} is {shown_value(name, getattr(options, name))}, the corpus has {shown_value(name, saved[name])}"
        for name in fixed
        if name in set_by_user and getattr(options, name) != saved[name]
    ]
    if unequal:
        raise InputError(
            f"--corpus={uri} was made with other options: {'; '.join(unequal)}. Leave them out, or preprocess again"
        )
    taken = {name: value for name, value in saved.items() if name in fixed or name not in set_by_user}
    merged = dataclasses.replace(options, **taken)
    merged.check()
    return merged


def taking_identity(run: RunDirectory, options: Options) -> dict[str, Any]:
    """The identity of a run that takes its corpus side from `run`, in the form of `make_identity`.

    Except for `corpus` and `versions` it equals that of a run that counts the same input itself, so the stage keys are
    the same.
    """
    own = {"options": options_of_run(options), "versions": package_versions(), "corpus": run.storage.root}
    return {name: value for name, value in run.identity.items() if name not in own} | own


def items_of(run: RunDirectory) -> str:
    """What the corpus holds: TEXT, STRINGS or INTEGERS."""
    return run.identity["tokenizer"].get("items", TEXT)
