"""Run a finished run again from its inputs, and compare what comes out, stage by stage.

    beam2vec reproduce --run=runs/first
    beam2vec reproduce --run=runs/friday --chain
    beam2vec reproduce --run=s3://bucket/runs/first --scratch=/data/again --threads=16

It says what that needs, works in a folder of its own, and leaves the run as it is. A run with --corpus is made from
its text too. Contents are compared, not files: fingerprints of the text, totals, vocabulary, unigram distribution,
tokens, reservoir, what is replayed, stored batches, and the digest of the model. With --chain, the runs that it goes on
from (--update, --start_from) are made again too: the first one first, each from the one before, as far back as there
are runs and inputs. The status is 0 if all of them agree, else 1; the first stage that differs is named, with what may
have caused it.
"""

from __future__ import annotations

from jobs.runners import job_environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import argparse
import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.parser import parse_beam_options
from jobs.cli.reading_options import plain_parser, whole
from jobs.runners.signals import stopping_on_signals
from jobs.sources import Request
from jobs.training_job import Job, run_job
from pipeline.analysis.export_files import one_file
from pipeline.errors import InputError, PipelineError
from pipeline.options import DEVICES, Options
from pipeline.runs.contents import Content, contents, epochs_with_batches
from pipeline.runs.differences import differences
from pipeline.runs.directory import is_run, split_step
from pipeline.runs.run import Run
from pipeline.runs.timings import read_timings
from pipeline.runtime.messages import take_warnings
from pipeline.runtime.progress import scaled
from pipeline.runtime.shown_text import counted, shown, shown_line
from pipeline.storage.open_storage import open_storage, split_uri


def main(arguments: Sequence[str]) -> int:
    options, beam = _parser().parse_known_args(list(arguments))
    if unknown := parse_beam_options(beam)[1]:
        raise InputError(f"{shown(unknown[0])} is no option, here or in Beam: see --help")
    json_file = one_file("--json", options.json) if options.json is not None else None
    messages = sys.stderr if json_file and json_file.is_stdout else sys.stdout
    original = Run.open(options.run)
    runs, why = _chain(original) if options.chain else ([original], "")
    for run in runs:
        _check_ended(run)
    if why:
        events.note(f"begins with {runs[0].uri}: {why}", messages)
    results: list[dict[str, Any]] = []
    with _scratch(options.scratch, original) as folder:
        before = ""
        for number, run in enumerate(runs):
            place = f"{folder}/generation-{number:05d}" if options.chain else folder
            if options.chain:
                events.note(f"--- {run.uri}", messages)
            results.append(_reproduce(run, place, before, options, beam, messages))
            before = place
    is_same = all(result["reproduced"] for result in results)
    told = {"run": options.run, "reproduced": is_same, "begins_with": runs[0].uri, "because": why or None}
    told = {**told, "generations": results} if options.chain else results[0]
    if json_file:
        json_file.pack_json(told)
    if options.chain or events.is_json():
        line = f"{'reproduced' if is_same else 'NOT reproduced'}: a chain of {counted(len(runs), 'run')}"
        events.tell("result", told, [line], messages)
    return 0 if is_same else 1


def _chain(run: Run) -> tuple[list[Run], str]:
    """(the run and those that it goes on from, the first one first; why it does not begin with a cold one, or "")."""
    runs, why = [run], ""
    while given := runs[0].options.update or runs[0].options.start_from:
        uri = split_step(given)[0]
        try:
            if not is_run(uri):
                why = f"it starts from {given}, which is no run"
                break
            parent = Run.open(uri)
            gone = [file["uri"] for file in parent.identity["inputs"] if not _is_there(file["uri"])]
        except PipelineError as error:
            why = f"{given} cannot be read ({error})"
            break
        if gone:
            why = f"{uri} lacks {counted(len(gone), 'input file')}, such as {shown(gone[0])}"
            break
        runs.insert(0, parent)
    return runs, why


def _is_there(uri: str) -> bool:
    root, path = split_uri(uri)
    return open_storage(root).info(path) is not None


def _reproduce(
    original: Run, folder: str, parent: str, options: argparse.Namespace, beam: Sequence[str], messages: TextIO
) -> dict[str, Any]:
    """Makes a run again in a folder, and compares; what is written as JSON.

    Args:
      parent: the run that was made again before, in place of the one that this one goes on from; "" for none.
    """
    events.note(_needs(original, folder), messages)
    job = Job.of(_request(original, folder, parent, options, beam), original.directory.has_model)
    causes = _differences(original, job)
    for cause in causes:
        events.note(f"not as it was: {cause}", messages)
    result = run_job(job, stopping_on_signals)
    runs, epochs = (original, result.run), epochs_with_batches(original)
    before, now = ({content.stage: content for content in contents(run, epochs)} for run in runs)
    compared = list(_compared(before, now))
    first = next((entry["stage"] for entry in compared if not entry["same"]), None)
    for line in [] if events.is_json() else _lines(compared, first, causes):
        print(line, file=messages)
    told = {"run": original.uri, "reproduced": first is None, "first_difference": first, "stages": compared}
    return told | {"not_as_it_was": causes, "warnings": [*result.warnings, *take_warnings()]}


def _check_ended(run: Run) -> None:
    """InputError unless the run has ended: else there is nothing whole to compare with."""
    if run.directory.has_model:
        ref = run.checkpoint()
        if ref.step != ref.steps:
            raise InputError(f"{run.uri} has not ended (its newest checkpoint is {ref.place}): run it to its end first")
    run.shards()


def _needs(run: Run, folder: str) -> str:
    """What it takes: inputs, room and, if it was recorded, time."""
    inputs, storages = run.identity["inputs"], [run.directory.storage]
    if corpus := run.identity.get("corpus"):
        storages.append(open_storage(corpus))
    room = sum(info.size for storage in storages for info in storage.walk())
    seconds = sum(read_timings(run.records, run.key("checkpoints")).values()) if run.directory.has_model else 0
    took = f"; the run took {seconds:,.0f} s" if seconds else ""
    read = f"{counted(len(inputs), 'input file')} of {scaled(sum(file['size'] for file in inputs))}B"
    return f"needs {read}, and room for about {scaled(room)}B in {shown(folder)}{took}"


def _request(run: Run, folder: str, parent: str, options: argparse.Namespace, beam: Sequence[str]) -> Request:
    """The request for the same run from its text, also where it took its corpus side from another run."""
    changed = {"threads": options.threads, "device": options.device, "max_bad_lines": "100%"}
    if parent:
        changed["update" if run.options.update else "start_from"] = parent
    checked = Options.checked(dataclasses.asdict(dataclasses.replace(run.options, **changed)))
    inputs = tuple(file["uri"] for file in run.identity["inputs"])
    names = frozenset(field.name for field in dataclasses.fields(Options))
    return Request(inputs, folder, False, False, checked, tuple(beam), set_by_user=names)


def _differences(run: Run, job: Job) -> list[str]:
    """What is not as it was when the run was made, and may cause another result."""
    versions = run.identity.get("versions", {}), job.source.identity.get("versions", {})
    lines = [
        f"{name} is {versions[1].get(name) or 'not there'}, it was {before or 'not there'}"
        for name, before in versions[0].items()
        if versions[1].get(name) != before
    ]
    saved = {name: value for name, value in run.identity.items() if name != "corpus"}
    return [shown_line(line) for line in [*differences(saved, job.source.identity), *lines]]


def _compared(before: dict[str, Content], now: dict[str, Content]) -> Iterator[dict[str, Any]]:
    """The stages of the run. (Counts may have been deleted from a run of --corpus; then the text is not among them.)"""
    for stage, content in before.items():
        digest = now[stage].digest if stage in now else None
        yield {"stage": stage, "same": content.digest == digest, "before": content.digest, "now": digest}


def _lines(compared: Sequence[dict[str, Any]], first: str | None, causes: Sequence[str]) -> Iterator[str]:
    for entry in compared:
        yield f"{entry['stage']:22} {'same' if entry['same'] else 'DIFFERS'}  {(entry['now'] or 'missing')[:16]}"
    if first is None:
        yield "reproduced: all stages agree"
        return
    yield f"NOT reproduced: {first} is the first stage that differs"
    yield "what may have caused it: " + ("; ".join(causes) if causes else "nothing that is recorded has changed")


@contextlib.contextmanager
def _scratch(folder: str | None, original: Run) -> Iterator[str]:
    """The folder to work in: the user's, which stays, or a new one that is removed afterwards."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="beam2vec-reproduce-") as made:
            yield f"{made}/run"
    elif open_storage(folder).root == original.directory.storage.root:
        raise InputError(f"--scratch={folder} is the run itself, which stays as it is: choose another folder")
    else:
        yield folder


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("beam2vec reproduce", __doc__ or "")
    group = parser.add_argument_group("what is done again")
    group.add_argument("--run", required=True, metavar="DIR", help="the output of beam2vec train or preprocess")
    group.add_argument(
        "--chain",
        action="store_true",
        help="with the runs that it goes on from (--update, --start_from), back to the first, each from the one before",
    )
    work = parser.add_argument_group("where and how")
    work.add_argument(
        "--scratch",
        metavar="DIR",
        help="the folder to work in, which stays; a command that was killed goes on in it (default: a temporary one)",
    )
    work.add_argument("--threads", type=whole(1), metavar="N", help="threads that train (default: the CPUs it may use)")
    work.add_argument("--device", choices=DEVICES, default="auto", metavar="|".join(DEVICES), help="where to train")
    work.add_argument("--json", metavar="FILE", help="write the result as JSON too; - prints JSON and nothing else")
    parser.epilog = "Beam's own options are passed on: --runner=... and so on."
    return parser


if __name__ == "__main__":
    run_process("beam2vec reproduce", main)
