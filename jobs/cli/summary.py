"""What a command prints: the plan before, the result afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from jobs.cli import events
from jobs.sources import Request, Source
from jobs.training_job import Result
from pipeline.analysis.export_files import Files, one_file
from pipeline.analysis.report.data import frequent_rows
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.open_reader import reader_of
from pipeline.corpus.readers.reader import Reader, first_sentences
from pipeline.corpus.unpacking import compressions_of
from pipeline.errors import ArtifactError
from pipeline.model.loss_curve import SCHEMA, final_loss, training_rate, up_to
from pipeline.model.model import BLOCK_ROWS
from pipeline.model.vectors import Vectors
from pipeline.options import Options, shown_value
from pipeline.runs.preprocessed import corpus_tokens, stored_epochs
from pipeline.runs.run import Run
from pipeline.runtime.messages import take_warnings, warn
from pipeline.runtime.progress import scaled
from pipeline.runtime.shown_text import counted, quoted, shown, shown_list

QUERIES = 4
NEIGHBORS = 5


def tell_plan(request: Request, source: Source, runner: str, names: Collection[str] | None = None) -> None:
    """For --dry_run: what would be done, and what the first lines become; `names` are the command's options, or all."""
    lines = list(_plan_lines(request, source, runner, names))
    events.tell("plan", {"lines": lines}, lines)


def _plan_lines(request: Request, source: Source, runner: str, names: Collection[str] | None) -> Iterator[str]:
    if source.corpus:
        tokens, epochs = corpus_tokens(source.corpus), stored_epochs(source.corpus)
        yield f"corpus: {source.corpus.storage.root}, {tokens:,} tokens, batches of {counted(epochs, 'epoch')} stored"
    if source.reader:
        yield from _input_lines(request, source.files, source.reader)
    if hint := source.hint():
        yield f"note: {hint}"
    for kind in ("model", "layout", "execution"):
        values = source.options.of_kind(kind).items()
        shown_options = (
            (name, value) for name, value in values if value is not None and (names is None or name in names)
        )
        texts = (f"--{name}={shown_value(name, value) if value != '' else ''}" for name, value in shown_options)
        yield f"{kind}: " + " ".join(texts)
    yield f"output: {request.output}, runner: {runner}; nothing was written (--dry_run)"


def _input_lines(request: Request, files: Sequence[InputFile], reader: Reader) -> Iterator[str]:
    options = request.options
    size = sum(file.size for file in files)
    yield f"input: {counted(len(files), 'file')}, {scaled(size)}B, the first is {shown(files[0].uri)}"
    can_be_packed = reader_of(options.input_format).can_be_compressed
    packed = sum(bool(name) for name in compressions_of(files)) if can_be_packed else 0
    yield f"work units: about {-(-size // options.block_bytes):,} of {scaled(options.block_bytes)}B"
    if packed:
        yield f"{counted(packed, 'compressed file')} will be unpacked into {request.output}/text first"
    if options.phrases:
        yield f"phrases: {options.phrases} passes, each of which reads the text twice; words are not joined below"
    yield "the first sentences become:"
    for sentence in first_sentences(files, reader):
        yield "  " + " | ".join(map(shown, sentence[:12])) + (" | ..." if len(sentence) > 12 else "")


def result_file_of(request: Request) -> Files | None:
    """The file of --json, checked; None without one."""
    return one_file("--json", request.json) if request.json else None


def tell(result: Result, json_file: Files | None) -> None:
    """Prints the result of a training or preprocessing command, and writes it as JSON."""
    described = _described(result)
    if json_file:
        json_file.pack_json(described)
    if json_file and json_file.is_stdout:
        return
    if not result.has_ended:
        lines = _lines_of_job(result)
    elif result.run.directory.has_model:
        lines = _lines_of_model(result, described)
    else:
        lines = _lines_of_corpus(result, described)
    events.tell("result", described, lines)


def _described(result: Result) -> dict[str, Any]:
    """The result as JSON values."""
    run = result.run
    described: dict[str, Any] = {"run": run.records.storage.root, "has_ended": result.has_ended}
    if result.has_ended:
        described["tokens"] = run.vocabulary_tokens()
    if result.has_ended and run.directory.has_model:
        ref = run.checkpoint()
        metrics = up_to(_metrics(run), ref.step)
        losses = metrics["holdout_loss"].drop_null() if "holdout_loss" in metrics.column_names else []
        described |= {
            "step": ref.step,
            "steps": ref.steps,
            "digest": ref.digest,
            "words": ref.words,
            "dims": ref.dims,
            "loss": final_loss(metrics),
            "holdout_loss": losses[-1].as_py() if losses else None,
            "tokens_per_second": training_rate(metrics, run.options.batch_size),
            "devices": [dataclasses.asdict(device) for device in run.devices()],
            "vectors": run.records.storage.uri(ref.folder),
            "report": result.report or None,
        }
    elif result.has_ended:
        described["words"] = run.vocabulary_words()
    return described | {"seconds": round(result.seconds, 3), "warnings": [*result.warnings, *take_warnings()]}


def _lines_of_warnings(described: Mapping[str, Any]) -> Iterator[str]:
    """The warnings of the run under one heading: those on the way may have scrolled away."""
    if warnings := described["warnings"]:
        yield f"warnings    {len(warnings):,}"
        for warning in warnings:
            yield f"  {warning}"


def _lines_of_corpus(result: Result, described: Mapping[str, Any]) -> Iterator[str]:
    """What preprocessing has made, how large it is, and where it is."""
    run = result.run.directory
    storage, options = run.storage, run.pinned(Options())
    shards = len(run.records.names("tokens", run.keys["tokens"]))

    def line(name: str, content: str, folder: str) -> str:
        return f"{name:11} {content}, {scaled(sum(info.size for info in storage.walk(folder)))}B  {storage.uri(folder)}"

    yield line("vocabulary", f"{described['words']:,} words", "vocabulary")
    yield line("unigram", f"power {options.power:g}, subsample {options.subsample:g}", "unigram")
    yield line("tokens", f"{described['tokens']:,} in {counted(shards, 'shard')}", "tokens")
    if epochs := stored_epochs(run):
        yield line("batches", f"{counted(epochs, 'epoch')} of {counted(shards, 'shard')}", "batches")
    if next(storage.walk("dead_letters"), None):
        yield line("bad lines", "left out", "dead_letters")
    stages = "".join(f", {name} {took:,.1f} s" for name, took in result.timings.items())
    yield f"this run    {result.seconds:,.1f} s{stages}"
    yield from _lines_of_warnings(described)
    yield f"to train    beam2vec train --corpus={storage.root} --output=DIR"


def _lines_of_model(result: Result, described: Mapping[str, Any]) -> Iterator[str]:
    """Where the files are, how training went, nearest words of some words, and the digest."""
    run = result.run
    ref = run.checkpoint(described["step"])
    loss = "unknown" if described["loss"] is None else f"{described['loss']:.4f}"
    yield f"vectors     {described['vectors']}"
    yield f"loss curve  {run.records.storage.uri('metrics')}"
    if result.report:
        yield f"report      {result.report}"
    yield f"vocabulary  {ref.words:,} words, {described['tokens']:,} tokens, {ref.dims} dims"
    speed = f", {rate:,.0f} tokens/s" if (rate := described["tokens_per_second"]) else ""
    yield f"trained     {ref.place}, mean loss at the end {loss}{speed}{_on_devices(described['devices'])}"
    yield f"this run    {result.seconds:,.1f} s"
    if described["holdout_loss"] is not None:
        yield f"kept back   mean loss {described['holdout_loss']:.4f} on text that was not trained on"
    # Of the words of the first file of the checkpoint alone: a large model is not read again to be glanced at.
    yield from neighbor_lines(run.read_vectors(step=ref.step, top=BLOCK_ROWS))
    yield from _lines_of_warnings(described)
    yield f"digest: {ref.digest}"


def _on_devices(devices: Sequence[Mapping[str, Any]]) -> str:
    """In words, with the steps where another one was taken."""
    named = []
    for device in devices:
        since = f" after step {device['step']:,}" if device["step"] else ""
        why = f" ({device['reason']})" if device["reason"] else ""
        named.append(f"{device['device']}{since}{why}")
    return f", on {', then '.join(named)}" if named else ""


def _lines_of_job(result: Result) -> Iterator[str]:
    """Where the result of a job will be that continues without this process."""
    run = result.run.directory
    results = "checkpoints" if run.has_model else "tokens"
    yield f"the job goes on without this command; its {results} will be in {run.storage.uri(results)}"
    once = "digest" if run.has_model else "check"
    yield f"{once}, once it has ended: beam2vec verify --run={run.storage.root}"


def _metrics(run: Run) -> pa.Table:
    """The loss curve; if it is damaged, a note and no points, because the model is sound."""
    try:
        return run.metrics()
    except ArtifactError as error:
        warn(f"the loss is left out: {error}")
        return SCHEMA.empty_table()


def neighbor_lines(known: Vectors) -> list[str]:
    """Lines with the nearest words of a few frequent words."""
    rows = frequent_rows(known.words, QUERIES) if len(known.words) > 1 else []
    near = known.neighbors(rows, NEIGHBORS)
    return [
        f"near {quoted(known.words[row].as_py())}: " + shown_list(word for word, _ in words)
        for row, words in zip(rows, near)
    ]
