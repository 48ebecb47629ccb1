"""Training as a call, for programs and notebooks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from beam2vec.quiet_beam import without_warnings_of_beam
from pipeline.corpus.given_sentences import OF_SENTENCES, GivenSentences, spooled
from pipeline.errors import InputError, find
from pipeline.model.spelling import suggestions
from pipeline.options import Options
from pipeline.runs.run import Run
from pipeline.runtime import progress as stages
from pipeline.runtime.messages import take_warnings
from pipeline.runtime.progress import Progress
from pipeline.runtime.shown_text import quoted

with without_warnings_of_beam():  # it warns on import about clients that are not used
    from jobs.cli.parser import named_elsewhere
    from jobs.sources import Request
    from jobs.training_job import PREPROCESSING, Job, run_job

Inputs = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Sentences = Iterable[Iterable[str]]
ProgressArgument = bool | Callable[[Progress], None]
_OF_FILES = ("input_format", "field", "encoding", "separator", "no_header", "no_quotes")
"""Options that say how files are read."""
_one_at_a_time = threading.Lock()
"""Progress and requests to stop are global in a process, so one job runs at a time."""


def train(
    input: Inputs = (),
    output: str | os.PathLike[str] = "",
    *,
    sentences: Sentences | None = None,
    corpus: str | os.PathLike[str] | Run = "",
    overwrite: bool = False,
    take_over: bool = False,
    report: bool = False,
    progress: ProgressArgument = False,
    beam_options: Iterable[str] = (),
    **options: Any,
) -> Run:
    """Trains word embeddings, or goes on with a run that was interrupted.

    Nothing is printed, and the state of the process does not change. Warnings are `PipelineWarning`s. A call in another
    thread waits for the first.

    Args:
      input: a file, folder or pattern of text, or several of them.
      output: where the run goes: a folder, or `s3://bucket/prefix`.
      sentences: in place of `input`, lists of words, which are taken as they are. They are read once, so a generator
        will do, and stored in the run as Parquet; some MB are in memory. The same sentences again are the same run.
      corpus: in place of `input`, a run whose tokens are trained on.
      overwrite: replace a run in `output` that differs.
      take_over: take over from a command that was killed, on a store without conditional replacement.
      report: write `report.html` into the output.
      progress: True shows a bar for each stage (in a notebook, a widget); a function is called with a `Progress`.
      beam_options: options of Beam's, as on the command line: `["--runner=FlinkRunner", ...]`.
      **options: those of the command, by name: `dims=100, epochs=5`. docs/options.md lists them. Paths may be
        `os.PathLike`, `start_from` and `update` a `Run`.

    Returns:
      the run, to read from.

    Raises:
      InputError: an option or the input cannot be used.
      OutputInUseError: another process is at work in `output`.
      ArtifactError: what is stored in `output` is damaged, and cannot be made again.
      NonFiniteError: training diverged.
      KeyboardInterrupt: as it came. What was being trained is in a checkpoint, and the same call goes on.

    Examples:
      >>> import tempfile, beam2vec
      >>> folder = tempfile.mkdtemp()
      >>> with open(folder + "/text.txt", "w") as file:
      ...     _ = file.write("a rose is a rose is a rose\\n" * 20)
      >>> run = beam2vec.train(folder + "/text.txt", folder + "/run", dims=8, batch_size=32)
      >>> run.words()
      ['a', 'rose', 'is']
      >>> lists = [["a", "rose", "is", "a", "rose"]] * 40
      >>> beam2vec.train(sentences=lists, output=folder + "/lists", dims=8, batch_size=32).words()
      ['a', 'rose', 'is']
    """
    call = _Call(input, output, corpus, overwrite, report, progress, beam_options, take_over, sentences=sentences)
    return _run(call, options)


def update(
    parent: str | os.PathLike[str] | Run,
    input: Inputs = (),
    output: str | os.PathLike[str] = "",
    *,
    sentences: Sentences | None = None,
    skip_taken: bool = False,
    accept_tokenizer: bool = False,
    overwrite: bool = False,
    report: bool = False,
    progress: ProgressArgument = False,
    beam_options: Iterable[str] = (),
    take_over: bool = False,
    **options: Any,
) -> Run:
    """Brings a finished run up to date with new text, in a run of its own; docs/generations.md says how.

    It costs what the new text and some of the old costs. Words keep their places, and those that do not occur in the
    new text keep their bytes. Other arguments, result and errors are those of `train`; options that are not given are
    those of the parent.

    Args:
      parent: the run to go on from, which stays as it is.
      input: new text alone; or `sentences`, where those of the parent were given so.
      skip_taken: leave out files that the parent, or one before it, has taken; else they are an InputError.
      accept_tokenizer: go on although the tokeniser has another version than the parent's.

    Examples:
      >>> import tempfile, beam2vec
      >>> folder = tempfile.mkdtemp()
      >>> for day, line in enumerate(["a rose is a rose is a rose", "is a violet a rose"]):
      ...     with open(f"{folder}/{day}.txt", "w") as file:
      ...         _ = file.write(f"{line}\\n" * 20)
      >>> first = beam2vec.train(folder + "/0.txt", folder + "/first", dims=8, batch_size=32)
      >>> second = beam2vec.update(first, folder + "/1.txt", folder + "/second")
      >>> second.vocabulary().to_pylist()[1]
      {'word': 'rose', 'count': 80, 'new': 20}
    """
    if not parent:
        raise InputError("update needs a parent: the run to go on from")
    given = (input, output, "", overwrite, report, progress, beam_options, take_over, skip_taken, accept_tokenizer)
    return _run(_Call(*given, sentences), {**options, "update": parent})


def preprocess(
    input: Inputs = (),
    output: str | os.PathLike[str] = "",
    *,
    sentences: Sentences | None = None,
    overwrite: bool = False,
    take_over: bool = False,
    progress: ProgressArgument = False,
    beam_options: Iterable[str] = (),
    **options: Any,
) -> Run:
    """Counts words, makes the vocabulary and encodes the text, for `train(corpus=output)`.

    Arguments, result and errors are those of `train`. With `batches="stored"` the training rows are written too.
    """
    call = _Call(
        *(input, output, "", overwrite, False, progress, beam_options, take_over), sentences=sentences, trains=False
    )
    return _run(call, options)


@dataclasses.dataclass(frozen=True)
class _Call:
    """The arguments of a call that are not options."""

    input: Inputs
    output: str | os.PathLike[str]
    corpus: str | os.PathLike[str] | Run
    overwrite: bool
    report: bool
    progress: ProgressArgument
    beam_options: Iterable[str]
    take_over: bool = False
    skip_taken: bool = False
    accept_tokenizer: bool = False
    sentences: Sentences | None = None
    trains: bool = True


def _run(call: _Call, options: dict[str, Any]) -> Run:
    input = call.input
    inputs = (input,) if isinstance(input, (str, os.PathLike)) else tuple(input)
    for path in inputs:
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(
                f"input has {quoted(path, 40)}: give paths of files or folders, or patterns; give lists of words as"
                " sentences"
            )
    if isinstance(files := options.get("stopwords"), (list, tuple)):
        options = {**options, "stopwords": ",".join(map(str, files))}
    options = {name: _text_of(value) for name, value in options.items()}
    _check(call, inputs, options)
    with spooled(call.sentences) if call.sentences is not None else contextlib.nullcontext() as given:
        if given:
            options |= OF_SENTENCES
        return _run_request(call, inputs, options, given)


def _run_request(
    call: _Call, inputs: tuple[str | os.PathLike[str], ...], options: dict[str, Any], given: GivenSentences | None
) -> Run:
    request = Request(
        tuple(os.fspath(path) for path in inputs),
        os.fspath(call.output),
        call.overwrite,
        call.report,
        Options.checked(options),
        tuple(call.beam_options),
        _text_of(call.corpus),
        frozenset(options),
        skip_taken=call.skip_taken,
        accept_tokenizer=call.accept_tokenizer,
        take_over=call.take_over,
        sentences=given,
    )
    with _one_at_a_time, without_warnings_of_beam(), stages.reported_to(call.progress):
        take_warnings()  # of an earlier call, which raised
        try:
            return run_job(Job.of(request, call.trains)).run
        except Exception as error:
            known_error = find(error)
            if known_error is None or known_error is error:
                raise
            raise known_error from error


def _text_of(value: Any) -> Any:
    """A run or a path as text; anything else as it is."""
    if isinstance(value, Run):
        return value.uri
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _check(call: _Call, inputs: tuple, options: dict[str, Any]) -> None:
    """InputError if an argument is missing, or is not an option."""
    names = set(Options.__dataclass_fields__) if call.trains else set(PREPROCESSING)
    for name in options:
        if name not in names:
            if hint := named_elsewhere(f"--{name}"):
                raise InputError(hint.removeprefix("--"))
            near = suggestions(name, sorted(names), 1)
            raise InputError(f"{name} is no option{f': did you mean {near[0]}?' if near else ''}")
    if not isinstance(call.progress, (bool, type(None))) and not callable(call.progress):
        raise InputError(f"progress={call.progress!r}: give True, False, or a function that takes a Progress")
    if call.output is None or not os.fspath(call.output):
        raise InputError("output is missing: the folder that the run goes to")
    if bool(inputs) + bool(call.corpus) + (call.sentences is not None) != 1:
        raise InputError(
            "give either input (files of text), sentences (lists of words) or corpus (a run whose tokens are trained"
            " on)"
        )
    for name in _OF_FILES if call.sentences is not None else ():
        if name in options:
            raise InputError(
                f"{name} goes with input, not with sentences: leave it out, or write the sentences as a file"
            )
