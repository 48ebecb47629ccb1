"""Follow text that arrives: each closed partition becomes a generation of a series, once.

    beam2vec follow --series=models/topics --once --input_root=texts --by='dt=*' --dims=100
    beam2vec follow --series=models/topics --once

The first call begins the series; what it sets stays, and later calls need not repeat it. Call it again and again, by
cron or a scheduler: it finishes what was begun, makes a generation of each partition that is due, the oldest first,
and ends. Options of training are those of beam2vec train.
"""

from __future__ import annotations

from jobs.runners import job_environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import argparse
import contextlib
import re
import time
from collections.abc import Sequence

from jobs.cli import events
from jobs.cli import parser as training
from jobs.cli.entry import run_process
from jobs.cli.reading_options import listed, listed_files, plain_parser, whole
from jobs.series_job import Call, Followed, follow
from pipeline.analysis.export_files import one_file
from pipeline.errors import InputError, OutputInUseError, PipelineError
from pipeline.model.loss_curve import final_loss
from pipeline.runs.run import Run
from pipeline.runtime.messages import take_warnings, warn
from pipeline.runtime.shown_text import quoted, shown_list
from pipeline.series.entries import MODES
from pipeline.series.gates import GATES, PAIRS
from pipeline.series.log import Log
from pipeline.series.metrics import text_of
from pipeline.series.policies import Settings
from pipeline.series.state import WAITING, State
from pipeline.storage.open_storage import open_storage, split_uri

REFUSED = 4
"""The status where a generation was refused."""
OVERDUE = 5
"""The status where nothing was promoted for longer than --expect_every."""


def main(arguments: Sequence[str]) -> int:
    given, others = _parser().parse_known_args(list(arguments))
    if not given.once:
        raise InputError("give --once: a loop is the business of cron or a scheduler")
    if misplaced := [one for one in others if one.partition("=")[0] in ("--input", "--output", "--corpus", "--config")]:
        raise InputError(f"{misplaced[0]}: a series has --input_root and --series in place of it")
    trainer = training.parser("beam2vec follow", "")
    request = training.read([*others, f"--output={given.series}", f"--input={given.input_root or '.'}"], trainer)
    for name in ("update", "start_from", "overwrite", "skip_taken"):
        if getattr(request, name, False) or getattr(request.options, name, None):
            raise InputError(f"--{name}: a series sets it itself, leave it out")
    json_file = one_file("--json", given.json) if given.json else None
    values = {name: getattr(request.options, name) for name in request.set_by_user}
    settings = Settings(
        given.input_root,
        given.by,
        given.done,
        given.pattern,
        given.mode,
        given.retrain_every,
        _gates(given.gates),
        tuple(listed_files(given.pairs)) if given.pairs else None,
        given.keep_days,
        tuple(given.forget),
        values,
    )
    call = Call(given.series, settings, request, given.partition or "", not given.strict, given.accept_loss)
    began = time.monotonic()
    try:
        followed = follow(call)
    except OutputInUseError:
        if given.strict:
            raise
        warn("another command is at work in the series: nothing is done here")
        followed = Followed(state=Log(given.series).refresh())
    seconds = time.monotonic() - began
    if given.metrics:
        _write_metrics(given.metrics, given.series, followed.state, seconds)
    status = _status(followed, given)
    told = {"series": given.series, "status": status, **followed.described(), "seconds": round(seconds, 3)}
    told["warnings"] = take_warnings()
    if json_file:
        json_file.pack_json(told)
    if not json_file or not json_file.is_stdout:
        events.tell("result", told, _lines(followed, given.partition or ""))
    return status


def _status(followed: Followed, given: argparse.Namespace) -> int:
    held = followed.state.partitions.get(given.partition or "")
    if followed.refused or (held and held.status in WAITING):  # of --partition, also if it was refused before
        return REFUSED
    if given.expect_every and followed.is_overdue(given.expect_every):
        warn("overdue: nothing was promoted within --expect_every")
        return OVERDUE
    return 0 if followed.promoted else given.nothing_new


def _write_metrics(uri: str, series: str, state: State, seconds: float) -> None:
    """Replaces the file for a collector."""
    loss = None
    if state.current:
        with contextlib.suppress(PipelineError):  # a damaged loss curve is no reason to be silent
            loss = final_loss(Run(series).metrics())
    root, name = split_uri(uri)
    open_storage(root).put(name, text_of(series, state, time.time(), seconds, loss).encode())


class _duration:  # noqa: N801 - reads as a type in add_argument
    """A type for options: 90s, 30m, 36h or 1d, as seconds."""

    def __call__(self, text: str) -> float:
        match = re.fullmatch(r"([0-9]+)([smhd])", text)
        if not match:
            raise argparse.ArgumentTypeError(f"{quoted(text)} is no time: write 90s, 30m, 36h or 1d")
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def _gates(values: list[str] | None) -> tuple[str, ...] | None:
    if not values:
        return None
    names = tuple(listed(values))
    if names == ("all",):
        return (*GATES, PAIRS)
    return () if names == ("none",) else names


def _lines(followed: Followed, partition: str) -> list[str]:
    """What was done, for people; of --partition, also that it is held back since an earlier call."""
    lines = [f"promoted  {one.name}  {one.decided.mode}  {one.model}" for one in followed.promoted]
    lines += [f"refused   {one.name}  {one.why}" for one in followed.refused]
    state = followed.state
    held = state.partitions.get(partition)
    if held and held.status in WAITING and not followed.refused:
        lines.append(f"held back {partition}  {state.generations[held.folder].why or held.status}")
    if not lines:
        waiting = [name for name, one in state.partitions.items() if one.status in WAITING]
        lines = [f"nothing new{f'; held back since an earlier call: {shown_list(waiting)}' if waiting else ''}"]
    current = state.generations[state.current].name if state.current else "nothing yet"
    return [*lines, f"current   {current}"]


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("beam2vec follow", __doc__ or "")
    parser.usage = "beam2vec follow --series=DIR --once [--input_root=DIR --by=PATTERN] [options]"
    series = parser.add_argument_group("the series")
    series.add_argument("--series", required=True, metavar="DIR", help="a folder or a prefix in a bucket")
    series.add_argument("--once", action="store_true", help="make what is due, then end")
    series.add_argument("--partition", metavar="NAME", help="this partition alone")
    series.add_argument("--strict", action="store_true", help="do not wait for another command at work in the series")
    series.add_argument("--accept_loss", action="store_true", help="go on although most of the known files are gone")
    watch = parser.add_argument_group("for those who watch (docs/scheduling.md)")
    watch.add_argument(
        "--nothing_new", type=whole(0), default=0, metavar="N", help="status where nothing was due (default: 0)"
    )
    watch.add_argument(
        "--expect_every", type=_duration(), metavar="TIME", help="status 5 if nothing was promoted for so long: 36h, 2d"
    )
    watch.add_argument("--metrics", metavar="FILE", help="numbers for a collector of text files, such as x.prom")
    watch.add_argument("--json", metavar="FILE", help="write the result as JSON too; - prints JSON and nothing else")
    policy = parser.add_argument_group("the policy, which stays until it is set anew")
    policy.add_argument("--input_root", metavar="DIR", help="folder or prefix of the text; it may move")
    policy.add_argument(
        "--by", metavar="PATTERN", help="folders of partitions, with a * for the name: dt=*; --by= for none"
    )
    policy.add_argument("--done", metavar="NAME", help="the file that closes a partition (default: _SUCCESS)")
    policy.add_argument("--pattern", metavar="PATTERN", help="names of files that are read (default: *)")
    policy.add_argument(
        "--mode", metavar="|".join(MODES), help="how a generation is made from the one before (default: update)"
    )
    policy.add_argument(
        "--retrain_every", type=whole(0), metavar="N", help="with update: each N-th is a retrain (default: 7; 0: none)"
    )
    policy.add_argument(
        "--gates",
        action="append",
        metavar="NAME[,NAME...]",
        help=f"those that refuse; the others warn (default: all; none; or of {', '.join((*GATES, PAIRS))})",
    )
    policy.add_argument(
        "--pairs", nargs="+", action="extend", metavar="FILE", help="word pairs, whose score may not fall"
    )
    policy.add_argument(
        "--keep_days",
        type=whole(0),
        metavar="N",
        help="days that old generations are kept (default: 7; three at least)",
    )
    policy.add_argument(
        "--forget",
        action="append",
        default=[],
        metavar="PATTERN",
        help="files that are not read any more: makes a cold generation without them, and removes all before",
    )
    parser.epilog = "All options of beam2vec train that are not of files are taken too."
    return parser


if __name__ == "__main__":
    run_process("beam2vec follow", main)
