"""A whole job as a call: takes a request, returns a run. It parses nothing, prints nothing and handles no signals.

The commands call it with what a terminal needs around it (`around`); `beam2vec.train` calls it as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import apache_beam as beam
import numba
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, TestOptions

from jobs.graph import build, corpus_side, new_graph, pipeline_options
from jobs.runners import launch as runners
from jobs.runners import log_filter
from jobs.runners.launch import LOCAL_RUNNER
from jobs.sources import Request, Source, find_source, read_input
from pipeline.analysis.report.page import report
from pipeline.backends.open_backend import gpu_for
from pipeline.corpus.files import change_since
from pipeline.errors import ArtifactError, InputError, OutputInUseError, PipelineError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.checkpoints import checkpoints
from pipeline.runs.directory import RunDirectory, open_or_create
from pipeline.runs.leftovers import OUR_FOLDERS, REPORT
from pipeline.runs.result_files import result_file
from pipeline.runs.run import Run
from pipeline.runs.stage_keys import option_names
from pipeline.runs.timings import add_timings, add_warnings
from pipeline.runtime import interruption, memory, progress
from pipeline.runtime.messages import keep, say, take_warnings, warn
from pipeline.storage import failures
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import add_storage, open_storage
from transforms.beam_storage import open_beam_storage
from transforms.job_context import JobContext

PREPROCESSING = (*option_names(), "batches", "epochs", "threads", "max_bad_lines", "reuse", "reread")
"""Options that a run without training takes."""
Around = Callable[[Callable[[], None]], contextlib.AbstractContextManager]
"""Gets the function that releases the lock; returns a context in which signals call it."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A checked request: the input exists, and the options go together."""

    request: Request
    source: Source
    beam: PipelineOptions
    trains: bool
    began: float = dataclasses.field(default_factory=time.monotonic)

    @classmethod
    def of(cls, request: Request, trains: bool = True) -> Job:
        """Checks a request, and looks for its input.

        Args:
          trains: False stands for a run that ends with tokens (and batches, where they are stored).

        Raises:
          InputError: something that is asked for cannot be; nothing was written.
        """
        if numba.config.DISABLE_JIT:
            raise InputError("NUMBA_DISABLE_JIT is set, but the kernels only run compiled: unset it")
        add_storage(open_beam_storage)
        interruption.clear()
        log_filter.begin()
        began, options = time.monotonic(), pipeline_options(request.beam, request.options.thread_count)
        if not trains:
            source = read_input(request, request.files(), option_names())
            return cls(request, source, options, trains, began)
        if options.view_as(StandardOptions).runner == LOCAL_RUNNER:  # elsewhere, workers have the GPU
            gpu_for(request.options.device)
        return cls(request, find_source(request), options, trains, began)

    @property
    def is_dry(self) -> bool:
        """Whether only the plan is wanted (--dry_run)."""
        return bool(self.beam.view_as(TestOptions).dry_run)

    @property
    def runner(self) -> str:
        return str(self.beam.view_as(StandardOptions).runner)

    @property
    def has_workers(self) -> bool:
        """Whether other processes do the work."""
        return self.runner != LOCAL_RUNNER or self.beam.view_as(DirectOptions).direct_running_mode != "in_memory"


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a job."""

    run: Run
    seconds: float
    timings: dict[str, float]
    """stage -> wall time in this process; {} if the work was done elsewhere"""
    report: str = ""
    """uri of the report; "" if there is none"""
    has_ended: bool = True
    """False if the job continues without this process"""
    warnings: tuple[str, ...] = ()
    """what was warned of, each once"""


def run_job(job: Job, around: Around = lambda release: contextlib.nullcontext()) -> Result:
    """Runs a job to its end.

    Raises:
      OutputInUseError: another command holds the output, or has taken it over.
      InputError: the input is not what was listed, or nothing can be made of it.
    """
    began = job.began
    request, source = job.request, job.source
    graph = new_graph(job.beam)
    with holding(request.output, around, request.take_over) as lock:
        run = open_or_create(request.output, source.identity, request.overwrite, lock.token)
        if source.sentences:
            source.sentences.store(run.storage, lock.renew)
        for note in run.notes:
            say(note)
        for warning in [*run.warnings, *source.warnings(run)]:
            warn(warning)
        context = source.context(run, lock.token, request.beam)
        trained = _build(graph, job, context, run)
        finished_run = Run(request.output, run)
        if not runners.run(graph, lock):
            return Result(finished_run, time.monotonic() - began, {}, has_ended=False, warnings=tuple(take_warnings()))
        if change := change_since(source.files):
            warn(change)
        if job.has_workers:
            for warning in failures.warnings(lock.storage, lock.token):
                keep(warning)
        seconds, timings = time.monotonic() - began, progress.timeline(began)
        page, warnings = "", take_warnings()
        if job.trains:
            if timings:
                add_timings(context.commits(CHECKPOINTS), timings)
            add_warnings(context.commits(CHECKPOINTS), warnings)
            progress.close_all()
            page = _report(finished_run, trained, lock) if request.report else ""
        progress.close_all()
        lock.renew()  # a command that has lost the lock has no result to report
        return Result(finished_run, seconds, timings, page, warnings=(*warnings, *take_warnings()))


def _build(graph: beam.Pipeline, job: Job, context: JobContext, run: RunDirectory) -> set[int]:
    """Adds the stages to the graph; returns the steps of the checkpoints that exist already."""
    if not job.trains:
        corpus_side(graph, job.source.files, context, trains=False)
        return set()
    build(graph, job.source.files, context, _provenance(run, job.source.items))
    known = checkpoints(run.records, run.keys[CHECKPOINTS])
    trained = {ref.step for ref in known}
    if known and known[-1].step == known[-1].steps:
        say(f"{run.storage.root} had ended before, at {known[-1].place}: only damage is mended")
    if not trained:
        run.storage.delete(REPORT)  # it describes a model that is being replaced
    return trained


@contextlib.contextmanager
def holding(output: str, around: Around, take_over: bool = False) -> Iterator[Lock]:
    """The lock of an output: kept alive while open, and released however the run ends.

    What others have left half written is removed before and after.
    """
    lock = Lock(open_storage(output), take_over=take_over)
    with around(lock.release), lock, lock.kept_alive():
        lock.storage.sweep(OUR_FOLDERS, lock.writer)
        failures.remove_all(lock.storage)
        try:
            yield lock
        except Exception as error:
            _raise_if_lost(lock, error)
            raise
        finally:
            with contextlib.suppress(PipelineError):  # it may be the storage that has failed
                failures.remove(lock.storage, lock.token)
        lock.storage.sweep(OUR_FOLDERS, lock.writer if lock.is_handed_over else "")


def _raise_if_lost(lock: Lock, error: Exception) -> None:
    """Raises OutputInUseError if the lock is lost: the other error is a consequence of that."""
    with contextlib.suppress(ArtifactError, InputError):  # of the storage, which may be what has failed
        try:
            lock.renew()
        except OutputInUseError as lost:
            raise lost from error


def _report(run: Run, trained: Collection[int], lock: Lock) -> str:
    """Writes the report and returns its uri. If that fails, it prints a note and returns "", since the model is stored.

    A report on a model that had been `trained` already (to this step) stays: it may hold evaluations.
    """
    memory.give_back()
    try:
        ref, storage = run.checkpoint(), run.directory.storage
        if ref.step not in trained or storage.info(REPORT) is None:
            page = report([(run, ref)])
            lock.renew()
            result_file("--output", storage.uri(REPORT), streams=False).put(page)
        return storage.uri(REPORT)
    except OutputInUseError:
        raise
    except Exception as error:
        warn(f"the report is left out ({error}): beam2vec report --run={run.uri}")
        return ""


def _provenance(run: RunDirectory, items: str) -> dict[str, Any]:
    """How the model was made, for the metadata of checkpoints."""
    identity = run.identity
    return {
        "format_version": identity["format_version"],
        "model": identity["options"]["model"],
        "tokenizer": identity["tokenizer"],
        "items": items,
        "versions": identity["versions"],
        "inputs": len(identity["inputs"]),
        "input_bytes": sum(file["size"] for file in identity["inputs"]),
    }
