"""The corpus side of a run by itself: what it depends on, and how a training run takes it from another run."""

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

GIVEN_STAGES = with_upstream(TOKENS)
"""What a run that reads no text cannot make itself: it takes these as they are, and the options that decide them."""


def open_corpus(uri: str) -> RunDirectory:
    """A run to take the corpus side of, to read from alone.

    Raises:
      InputError: there is no run, it has another format, it has not got so far, or it has no corpus side of its own.
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
    """Names alone are looked at, so that this takes no time; those who read the tokens see whether they are all."""
    finish = f"run the command that filled {run.storage.root} again, it goes on where it was"
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
    """How many epochs of batches the run has stored, told by those of the first shard."""
    return len(stored_batches(run.records, run.keys[BATCHES], 0))


def with_options_of(uri: str, run: RunDirectory, options: Options, given: Collection[str]) -> Options:
    """The options of a run that takes its corpus side from `run`.

    What decides the tokens is the corpus run's. What decides the unigram distribution and the rows
    (window, seed and so on) is the corpus run's unless it is given; all else is as given.

    Args:
      given: names of the options that the user gave.

    Raises:
      InputError: an option that decides the tokens is given with another value; each is named. Or
        an option that is given does not go with the corpus run's.
    """
    pinned = run.pinned(Options())
    saved: dict[str, Any] = {name: getattr(pinned, name) for name in option_names()}
    fixed = option_names(GIVEN_STAGES)
    unequal = [
        f"--{name} is {shown_value(name, getattr(options, name))}, the corpus has {shown_value(name, saved[name])}"
        for name in fixed
        if name in given and getattr(options, name) != saved[name]
    ]
    if unequal:
        raise InputError(
            f"--corpus={uri} was made with other options: {'; '.join(unequal)}. Leave them out, or preprocess anew"
        )
    taken = {name: value for name, value in saved.items() if name in fixed or name not in given}
    merged = dataclasses.replace(options, **taken)
    merged.check()
    return merged


def taking_identity(run: RunDirectory, options: Options) -> dict[str, Any]:
    """What decides the bytes of a run that takes its corpus side from `run`; as `make_identity` gives it.

    All but `corpus` and `versions` is what a run that counts the same input itself would have, so that the
    stage keys are the same.
    """
    own = {"options": options_of_run(options), "versions": package_versions(), "corpus": run.storage.root}
    return {name: value for name, value in run.identity.items() if name not in own} | own


def items_of(run: RunDirectory) -> str:
    """What the tokens are: text, or a list's items; see `fields`."""
    return run.identity["tokenizer"].get("items", TEXT)
