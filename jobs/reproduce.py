"""Run a finished run again from its inputs, and compare what comes out, stage by stage.

    beam2vec reproduce --run=runs/first
    beam2vec reproduce --run=runs/friday --chain
    beam2vec reproduce --run=s3://bucket/runs/first --scratch=/data/again --threads=16

It says what that needs, works in a folder of its own, and leaves the run as it is. A run with --corpus is made from
its text too. Contents are compared, not files: fingerprints of the text, totals, vocabulary, unigram distribution,
tokens, reservoir, what is replayed, stored batches, and the digest of the model. With --chain, the runs that it goes on
from (--update, --start_from) are made again too: the first one first, each from the one before, as far back as there
are runs and inputs. What the first of them goes on from is taken as it is. The status is 0 if all of them agree, else
1; the first stage that differs is named, with what may have caused it.
"""

from __future__ import annotations

from jobs.runners import job_environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import argparse
import contextlib
import dataclasses
import json
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
from pipeline.errors import InputError
from pipeline.options import DEVICES, Options
from pipeline.runs.chain import chain_of, check_ended, lacking, started_from
from pipeline.runs.contents import Content, contents, epochs_with_batches
from pipeline.runs.differences import differences
from pipeline.runs.directory import split_step
from pipeline.runs.run import Run
from pipeline.runs.timings import read_timings
from pipeline.runtime.messages import take_warnings
from pipeline.runtime.progress import scaled
from pipeline.runtime.shown_text import counted, shown, shown_line
from pipeline.storage.open_storage import is_within, open_storage
from pipeline.storage.records import canonical_json


def main(arguments: Sequence[str]) -> int:
    options, beam = _parser().parse_known_args(list(arguments))
    if unknown := parse_beam_options(beam)[1]:
        raise InputError(f"{shown(unknown[0])} is no option, here or in Beam: see --help")
    json_file = one_file("--json", options.json) if options.json is not None else None
    messages = sys.stderr if json_file and json_file.is_stdout else sys.stdout
    original = Run.open(options.run)
    check_ended(original)
    runs, why = chain_of(original) if options.chain else ([original], "")
    if lacks := lacking(runs[0]):
        raise InputError(f"{runs[0].uri} cannot be made again: {lacks}")
    if why:
        events.note(f"begins with {runs[0].uri}: {why}", messages)
    results: list[dict[str, Any]] = []
    with _scratch(options.scratch, original) as folder:
        before = ""
        for number, run in enumerate(runs):
            place = f"{folder}/generation-{number:05d}" if options.chain else folder
            if options.chain:
                events.note(f"--- {run.uri}", messages)
            named = split_step(started_from(runs[number + 1]))[1] if number + 1 < len(runs) else None
            again = _Again(run, place, before, _checkpoints(run, named))
            results.append(_reproduce(again, options, beam, messages))
            before = place if named is None else f"{place}@{named}"
    is_same = all(result["reproduced"] for result in results)
    told = {"run": options.run, "reproduced": is_same, "begins_with": runs[0].uri, "because": why or None}
    told = {**told, "generations": results} if options.chain else results[0]
    if json_file:
        json_file.pack_json(told)
    if options.chain or events.is_json():
        line = f"{'reproduced' if is_same else 'NOT reproduced'}: a chain of {counted(len(runs), 'run')}"
        events.tell("result", told, [line], messages)
    return 0 if is_same else 1


@dataclasses.dataclass(frozen=True)
class _Again:
    """A run that is made again.

    Attributes:
      folder: in which.
      parent: what was made again in place of the run that it goes on from, as --start_from names it; "" for none.
      checkpoints: options with which it has the checkpoint that the next run starts from.
    """

    run: Run
    folder: str
    parent: str
    checkpoints: dict[str, int]


def _checkpoints(run: Run, step: int | None) -> dict[str, int]:
    """Options with which the run, made again, has a checkpoint of this step when it has ended, as well as the last."""
    if step is None or step == (last := run.checkpoint().step):
        return {}
    if run.options.replicas > 1:  # they have one after each round
        return {"keep_checkpoints": run.options.epochs * run.options.rounds}
    return {"checkpoint_every": step, "keep_checkpoints": -(-last // step)}


def _reproduce(again: _Again, options: argparse.Namespace, beam: Sequence[str], messages: TextIO) -> dict[str, Any]:
    """Makes a run again in a folder, and compares; what is written as JSON."""
    original = again.run
    events.note(_needs(again), messages)
    job = Job.of(_request(again, options, beam), original.directory.has_model)
    causes = _differences(again, job)
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


def _needs(again: _Again) -> str:
    """What it takes: inputs, room and, if it was recorded, time."""
    run, folder = again.run, again.folder
    inputs, storages = run.identity["inputs"], [run.directory.storage]
    if corpus := run.identity.get("corpus"):
        storages.append(open_storage(corpus))
    room = sum(info.size for storage in storages for info in storage.walk())
    if kept := again.checkpoints.get("keep_checkpoints"):
        room += kept * sum(part.size for part in run.checkpoint().parts)
    seconds = sum(read_timings(run.records, run.key("checkpoints")).values()) if run.directory.has_model else 0
    took = f"; the run took {seconds:,.0f} s" if seconds else ""
    read = f"{counted(len(inputs), 'input file')} of {scaled(sum(file['size'] for file in inputs))}B"
    return f"needs {read}, and room for about {scaled(room)}B in {shown(folder)}{took}"


def _request(again: _Again, options: argparse.Namespace, beam: Sequence[str]) -> Request:
    """The request for the same run from its text, also where it took its corpus side from another run."""
    run, changed = again.run, {"threads": options.threads, "device": options.device, "max_bad_lines": "100%"}
    changed |= again.checkpoints
    if again.parent:
        changed["update" if run.options.update else "start_from"] = again.parent
    checked = Options.checked(dataclasses.asdict(dataclasses.replace(run.options, **changed)))
    inputs = tuple(file["uri"] for file in run.identity["inputs"])
    names = frozenset(field.name for field in dataclasses.fields(Options))
    return Request(inputs, again.folder, False, False, checked, tuple(beam), set_by_user=names)


def _differences(again: _Again, job: Job) -> list[str]:
    """What is not as it was when the run was made, and may cause another result."""
    run, now = again.run, json.loads(canonical_json(job.source.identity))
    versions = run.identity.get("versions", {}), now.get("versions", {})
    lines = [
        f"{name} is {versions[1].get(name) or 'not there'}, it was {before or 'not there'}"
        for name, before in versions[0].items()
        if versions[1].get(name) != before
    ]
    saved = {name: value for name, value in run.identity.items() if name != "corpus"}
    if again.parent:  # the name is another because this command has made the run again elsewhere
        model = {name: now["options"]["model"][name] for name in ("update", "start_from")}
        saved["options"] = {**saved["options"], "model": {**saved["options"]["model"], **model}}
    return [shown_line(line) for line in [*differences(saved, now), *lines]]


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
    elif is_within(folder, original.directory.storage.root):
        raise InputError(f"--scratch={folder} is the run itself, or in it, which stays as it is: choose another")
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
