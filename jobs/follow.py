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
from collections.abc import Sequence

from jobs.cli import parser as training
from jobs.cli.entry import run_process
from jobs.cli.reading_options import listed, listed_files, plain_parser, whole
from jobs.series_job import Call, Followed, follow
from pipeline.analysis.export_files import one_file
from pipeline.errors import InputError
from pipeline.runtime.messages import take_warnings
from pipeline.series.entries import MODES
from pipeline.series.gates import GATES, PAIRS
from pipeline.series.policies import Settings

REFUSED = 4
"""The status where a generation was refused."""


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
    followed = follow(call)
    if json_file:
        json_file.pack_json({"series": given.series, **followed.described(), "warnings": take_warnings()})
    if not json_file or not json_file.is_stdout:
        print("\n".join(_lines(followed)))
    return REFUSED if followed.refused else 0


def _gates(values: list[str] | None) -> tuple[str, ...] | None:
    if not values:
        return None
    names = tuple(listed(values))
    if names == ("all",):
        return (*GATES, PAIRS)
    return () if names == ("none",) else names


def _lines(followed: Followed) -> list[str]:
    """What was done, for people."""
    lines = [f"promoted  {one.name}  {one.decided.mode}  {one.model}" for one in followed.promoted]
    lines += [f"refused   {one.name}  {one.why}" for one in followed.refused]
    state = followed.state
    current = state.generations[state.current].name if state.current else "nothing yet"
    return [*(lines or ["nothing new"]), f"current   {current}"]


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("beam2vec follow", __doc__ or "")
    parser.usage = "beam2vec follow --series=DIR --once [--input_root=DIR --by=PATTERN] [options]"
    series = parser.add_argument_group("the series")
    series.add_argument("--series", required=True, metavar="DIR", help="a folder or a prefix in a bucket")
    series.add_argument("--once", action="store_true", help="make what is due, then end")
    series.add_argument("--partition", metavar="NAME", help="this partition alone")
    series.add_argument("--strict", action="store_true", help="do not wait for another command at work in the series")
    series.add_argument("--accept_loss", action="store_true", help="go on although most of the known files are gone")
    series.add_argument("--json", metavar="FILE", help="write the result as JSON too; - prints JSON and nothing else")
    policy = parser.add_argument_group("the policy, which stays until it is set anew")
    policy.add_argument("--input_root", metavar="DIR", help="folder or prefix of the text; it may move")
    policy.add_argument("--by", metavar="PATTERN", help="folders of partitions, with a * for the name: dt=*")
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
