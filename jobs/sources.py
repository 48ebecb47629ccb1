"""What a run is asked to be, and where its corpus side comes from: input files, or another run (--corpus)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from pipeline.corpus.files import InputFile, match_inputs
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.readers.values import TEXT
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.runs.directory import RunDirectory, make_identity
from pipeline.runs.preprocessed import items_of, open_corpus, stored_epochs, taking_identity, with_options_of
from pipeline.storage.open_storage import open_storage
from pipeline.words.word_list import WordListRef, word_list
from transforms.job_context import JobContext


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked for."""

    inputs: tuple[str, ...]
    """Files, folders, patterns."""
    output: str
    overwrite: bool
    report: bool
    """Whether to end with a report."""
    options: Options
    beam: tuple[str, ...]
    """Arguments for Beam."""
    corpus: str = ""
    """The run whose corpus side is taken in place of input."""
    given: frozenset[str] = frozenset()
    """Which of the options were given; the others have their defaults."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What a run is made from, looked at but not read yet."""

    options: Options
    identity: dict[str, Any]
    files: Sequence[InputFile] = ()
    """Of --input."""
    reader: Reader | None = None
    """How they become sentences."""
    listed: WordListRef | None = None
    """The words of --vocabulary."""
    corpus: RunDirectory | None = None
    """The run of --corpus, whose tokens are there already."""

    @property
    def items(self) -> str:
        """What a token was: text or an item of a list; see `pipeline.corpus.readers.values`."""
        if self.corpus:
            return items_of(self.corpus)
        return self.reader.items if self.reader else TEXT

    def notes(self, run: RunDirectory) -> list[str]:
        """What the user should know about how this fits the run."""
        corpus = self.corpus
        if corpus and stored_epochs(corpus) and corpus.keys["batches"] != run.keys["batches"]:
            return [f"the batches stored in {corpus.storage.root} are of other options: they are not used"]
        return []

    def context(self, run: RunDirectory, lock_token: str, beam: tuple[str, ...]) -> JobContext:
        """What the stages are handed."""
        return JobContext(run.records, run.keys, run.pinned(self.options), self.reader, lock_token, self.listed, beam)


def read_input(request: Request, files: Sequence[InputFile], names: Collection[str] | None = None) -> Source:
    """Input files as the source; `names` are those of the options that the run knows, None stands for all."""
    options = request.options
    reader = open_reader(options, files)
    listed = word_list(options.vocabulary, reader.items) if options.vocabulary else None
    tokenizer = reader.identity()
    identity = make_identity(options, files, tokenizer, listed.digest if listed else "", names)
    return Source(options, identity, files, reader, listed)


def take_corpus(request: Request) -> Source:
    """The run of --corpus as the source.

    Raises:
      InputError: it cannot serve, or was made with other options than those given.
    """
    uri = request.corpus
    corpus = open_corpus(uri)
    try:
        corpus.storage.root.encode()  # as shards name it
    except UnicodeEncodeError as error:
        raise InputError(f"--corpus={uri}: the bytes of its path are no UTF-8: rename the folder") from error
    if open_storage(request.output).root == corpus.storage.root:
        raise InputError(f"--output={request.output} is the --corpus itself, which is only read: choose another")
    options = with_options_of(uri, corpus, request.options, request.given)
    return Source(options, taking_identity(corpus, options), corpus=corpus)


def find_source(request: Request) -> Source:
    """The source that is asked for."""
    return take_corpus(request) if request.corpus else read_input(request, match_inputs(request.inputs, request.output))
