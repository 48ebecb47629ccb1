"""The request for a run, and the source of its corpus side: input files, or another run (--corpus)."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Collection, Sequence
from typing import Any

from pipeline.corpus.files import InputFile, match_inputs
from pipeline.corpus.given_sentences import GivenSentences
from pipeline.corpus.readers.open_reader import open_reader
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.readers.reusing import reusing
from pipeline.corpus.readers.values import TEXT
from pipeline.errors import InputError, PipelineError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.checkpoints import TRAINED, checkpoints
from pipeline.options import Options
from pipeline.runs.current import resolved
from pipeline.runs.differences import differences
from pipeline.runs.directory import RunDirectory, make_identity, open_run, split_step
from pipeline.runs.parent import ParentRef, check_tokenizer, options_of_child
from pipeline.runs.preprocessed import items_of, open_corpus, stored_epochs, taking_identity, with_options_of
from pipeline.runs.run import Run
from pipeline.runs.start_vectors import StartRef, start_ref
from pipeline.runs.taken import new_files
from pipeline.runtime.process import each
from pipeline.storage.open_storage import is_remote, is_within, open_storage
from pipeline.words.word_list import WordListRef, word_list
from transforms.job_context import JobContext

_LOOKED_AT = 8
"""Files whose first lines are looked at, for a hint that they are of another format."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user wants."""

    inputs: tuple[str, ...]
    """files, folders, patterns"""
    output: str
    overwrite: bool
    report: bool
    """whether to write a report at the end"""
    options: Options
    beam: tuple[str, ...]
    """arguments for Beam"""
    corpus: str = ""
    """the run whose corpus side is taken, in place of input"""
    set_by_user: frozenset[str] = frozenset()
    """names of the options that the user has set; the others have their defaults"""
    json: str = ""
    """the file that a command writes its result to, besides printing it"""
    skip_taken: bool = False
    """with --update, leave out files that the chain has taken"""
    accept_tokenizer: bool = False
    """with --update, accept another version of the tokeniser"""
    take_over: bool = False
    """whether no other command uses the output, so that an old lock there may be replaced on any store"""
    sentences: GivenSentences | None = None
    """what a program gives in place of input"""

    def files(self) -> list[InputFile]:
        """The input files; InputError if there are none."""
        if self.sentences:
            return [self.sentences.input_file(open_storage(self.output))]
        return match_inputs(self.inputs, self.output)


@dataclasses.dataclass(frozen=True)
class Source:
    """What a run is made from; it is checked, but not read yet."""

    options: Options
    identity: dict[str, Any]
    files: Sequence[InputFile] = ()
    """of --input"""
    reader: Reader | None = None
    """turns them into sentences"""
    listed: WordListRef | None = None
    """the words of --vocabulary"""
    corpus: RunDirectory | None = None
    """the run of --corpus, which has the tokens"""
    start: StartRef | None = None
    """the first vectors, of --start_from or --update"""
    parent: ParentRef | None = None
    """the run of --update"""
    sentences: GivenSentences | None = None
    """what a program gives, which `files` are to hold"""
    notes: tuple[str, ...] = ()
    """what the user should hear of it"""

    @property
    def items(self) -> str:
        """What the corpus holds: TEXT, STRINGS or INTEGERS (`pipeline.corpus.readers.values`)."""
        if self.corpus:
            return items_of(self.corpus)
        return self.reader.items if self.reader else TEXT

    def warnings(self, run: RunDirectory) -> list[str]:
        """What the user may not have meant: input of another format, stored batches of other options."""
        corpus = self.corpus
        warnings = list(self.notes)
        if corpus and stored_epochs(corpus) and corpus.keys["batches"] != run.keys["batches"]:
            warnings.append(f"the batches stored in {corpus.storage.root} are of other options: they are not used")
        elif hint := self.hint():
            warnings.append(hint)
        return warnings

    def hint(self) -> str:
        """A file that looks like another format than that by which it is read, and what to do; else "".

        Of many files, a few are looked at.
        """
        files = _of_each_kind(self.files)
        hints = each(self._hint_of, files, bool(files) and is_remote(files[0].uri))
        return next((f"{file.uri} {hint}" for file, hint in zip(files, hints) if hint), "")

    def _hint_of(self, file: InputFile) -> str:
        with contextlib.suppress(InputError):  # where a file cannot be read, the stage that reads it says so
            reader = self.reader
            return reader.hint(file) or reader.tokenizer.hint(lambda: reader.preview(file)) if reader else ""
        return ""

    def context(self, run: RunDirectory, lock_token: str, beam: tuple[str, ...]) -> JobContext:
        """The context for the stages."""
        options = run.pinned(self.options)
        start, parent = self.start, self.parent
        return JobContext(run.records, run.keys, options, self.reader, lock_token, self.listed, beam, start, parent)


def _of_each_kind(files: Sequence[InputFile]) -> list[InputFile]:
    """At most _LOOKED_AT files: the first one, the first with each ending, and others with equal gaps between them."""
    endings = {pathlib.PurePosixPath(file.uri).suffix: file for file in reversed(files)}
    spread = files[:: -(-len(files) // _LOOKED_AT) or 1]
    return list({file.uri: file for file in (*files[:1], *endings.values(), *spread)}.values())[:_LOOKED_AT]


def read_input(request: Request, files: Sequence[InputFile], names: Collection[str] | None = None) -> Source:
    """Input files as the source; `names` are the options that the run has, None stands for all."""
    options = request.options
    given = request.sentences
    reader = reusing(open_reader(options, [given.spooled] if given else files), options)
    listed = word_list(options.vocabulary, reader.items) if options.vocabulary else None
    tokenizer = reader.identity()
    identity = make_identity(options, files, tokenizer, listed.digest if listed else "", names)
    return Source(options, identity, files, reader, listed, sentences=given)


def take_corpus(request: Request) -> Source:
    """The run of --corpus as the source.

    Raises:
      InputError: it cannot serve, or was made with other options than those given.
    """
    uri = request.corpus
    corpus = open_corpus(uri)
    try:
        corpus.storage.root.encode()  # records of shards contain it as text
    except UnicodeEncodeError as error:
        raise InputError(f"--corpus={uri}: its path is not valid UTF-8: rename the folder") from error
    _check_apart(request, "corpus", uri)
    options = with_options_of(uri, corpus, request.options, request.set_by_user)
    return Source(options, taking_identity(corpus, options), corpus=corpus)


def find_source(request: Request) -> Source:
    """The source of a training run: its input files, or its --corpus; and what its vectors start from."""
    request = _with_current(request)
    for name in ("skip_taken", "accept_tokenizer"):
        if getattr(request, name) and not request.options.update:
            raise InputError(f"--{name} has no effect without --update: leave it out, or name the parent")
    if request.options.update:
        return _update(request, request.options.update)
    source = take_corpus(request) if request.corpus else read_input(request, request.files())
    given = request.options.start_from
    if not given:
        return source
    _check_apart(request, "start_from", split_step(given)[0])
    try:
        start = start_ref(given, request.options.dims)
    except PipelineError as error:
        run = _begun(request, "start_from", CHECKPOINTS)
        if run is None:
            raise
        source = _starting(source, StartRef(given, request.options.dims, run.identity["start_from"]))
        _check_kept(request, run, source.identity, error)
        return source
    return _starting(source, start)


def _starting(source: Source, start: StartRef) -> Source:
    return dataclasses.replace(source, start=start, identity={**source.identity, "start_from": start.digest})


def _check_apart(request: Request, option: str, uri: str) -> None:
    """InputError if the output is a run that is only read, or lies in it."""
    if is_within(request.output, uri):
        raise InputError(
            f"--output={request.output} is in the run of --{option}={uri}, which is only read: choose another"
        )


def _check_kept(request: Request, run: RunDirectory, identity: dict[str, Any], gone: PipelineError) -> None:
    """InputError if --overwrite would remove what was made of something that is gone."""
    if request.overwrite and differences(run.identity, identity):
        raise InputError(
            f"{gone}: --overwrite would remove what {request.output} has of it, and nothing could be made anew; choose"
            " another --output"
        ) from gone


def _with_current(request: Request) -> Request:
    """The request with the runs that are meant by --update=SERIES and --start_from=SERIES: others may be soon."""
    options = request.options
    if options.update:
        options = dataclasses.replace(options, update=_resolved(options.update))
    if options.start_from:
        uri, step = split_step(options.start_from)
        run = _resolved(uri)
        options = dataclasses.replace(options, start_from=f"{run}@{step}" if step is not None else run)
    return dataclasses.replace(request, options=options)


def _resolved(given: str) -> str:
    """What is meant; as it is given where its store is not there: the run may need it no more."""
    try:
        return resolved(given)
    except PipelineError:
        return given


def _begun(request: Request, option: str, stage: str) -> RunDirectory | None:
    """The run in --output, if it was begun with the same value of the option, and has a checkpoint.

    What the option names may be gone by then.
    """
    with contextlib.suppress(PipelineError):
        run = open_run(request.output)
        saved = run.identity["options"]["model"].get(option)
        is_same = saved is not None and _place(saved) == _place(getattr(request.options, option))
        if is_same and any(checkpoints(run.records, run.keys[CHECKPOINTS], name) for name in (stage, CHECKPOINTS)):
            return run
    return None


def _place(given: str) -> tuple[str, int | None]:
    """The place and the step that RUN or RUN@STEP names, however it is written."""
    uri, step = split_step(given)
    return open_storage(uri).root, step


def _update(request: Request, given: str) -> Source:
    """The source of a run with --update: its new input files, and its parent.

    The parent may be gone once the run has the vectors that it begins with; then what run.json says is taken.
    """
    if request.corpus:
        raise InputError(f"--update reads new text: give --input in place of --corpus={request.corpus}")
    try:
        parent = Run.open(given)
        ref = ParentRef.of(parent)
    except PipelineError as error:
        run = _begun(request, "update", TRAINED)
        if run is None:
            raise
        source = _without_parent(request, given, run)
        _check_kept(request, run, source.identity, error)
        return source
    _check_apart(request, "update", given)
    options = options_of_child(parent, request.options, request.set_by_user)
    request = dataclasses.replace(request, options=options)
    files = request.files()
    looked_at = [request.sentences.spooled] if request.sentences else files  # those are not in the run yet
    reader = open_reader(options, looked_at)
    try:
        new = new_files(looked_at, ref.taken_files(), reader, request.skip_taken, f"--update={given}")
    except InputError as error:
        if request.sentences:
            raise InputError(f"--update={given} and the runs before it have taken these sentences already") from error
        raise
    files = files if request.sentences else new
    source = read_input(request, files)
    notes = check_tokenizer(parent, source.identity, request.accept_tokenizer)
    identity = {**source.identity, "update": ref.identity()}
    start = ref.start(options.dims)
    return dataclasses.replace(source, start=start, parent=ref, identity=identity, notes=tuple(notes))


def _without_parent(request: Request, given: str, run: RunDirectory) -> Source:
    """The source of a run whose parent is gone: options and input as they were when it began."""
    own = {name: value for name, value in dataclasses.asdict(request.options).items() if name in request.set_by_user}
    options = dataclasses.replace(run.pinned(request.options), **own)
    known = {file["uri"] for file in run.identity["inputs"]}
    files = request.files()
    if request.skip_taken:
        files = [file for file in files if file.uri in known]
    source = read_input(dataclasses.replace(request, options=options), files)
    saved = run.identity["update"]
    ref = ParentRef(given, 0, saved["model"], saved["totals"], saved["reservoir"], tuple(saved["phrases"]))
    identity = {**source.identity, "update": saved}
    return dataclasses.replace(source, start=ref.start(options.dims), parent=ref, identity=identity)
