"""Write a report about a run: one HTML file that opens anywhere, without a network.

beam2vec report --run=runs/first
beam2vec report --run=runs/first --against=runs/second --to=compared.html
"""

from __future__ import annotations

from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import argparse
import sys
from collections.abc import Sequence

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.reading_options import add_judged, listed_files, reading_parser, shown_progress, whole
from pipeline.analysis.evaluation import MOST_FREQUENT
from pipeline.analysis.export_files import Files, one_file
from pipeline.analysis.judgements import Analogies, WordPairs, lines_left_out, read_analogies, read_pairs
from pipeline.analysis.report.page import report
from pipeline.analysis.scores import Judged
from pipeline.errors import InputError
from pipeline.runs.leftovers import REPORT as PATH
from pipeline.runs.result_files import result_file
from pipeline.runs.run import Run
from pipeline.runtime import progress
from pipeline.storage.open_storage import open_storage


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(list(arguments))
    files = one_file("--to", options.to) if options.to is not None else None
    judged = Judged(
        [read_pairs(uri, options.pairs_columns) for uri in listed_files(options.pairs)],
        [read_analogies(uri) for uri in listed_files(options.analogies)],
        options.most_frequent,
        not options.match_case,
        options.analogy,
    )
    first = Run.open(options.run)
    runs = [(first, first.checkpoint(options.step))]
    if options.against:
        second = Run.open(options.against, "--against_step")
        runs.append((second, second.checkpoint(options.against_step)))
    elif options.against_step is not None:
        raise InputError("--against_step needs --against, the second run that it is a checkpoint of")
    # Named as --to, which is the way out where the run's folder takes no report.
    files = files or Files([result_file("--to", open_storage(first.uri).uri(PATH), streams=False)])
    page = report(runs, judged, lambda name: shown_progress(name, "checkpoints" if "checkpoints" in name else "words"))
    progress.close_all()
    files.pack(page)
    messages = sys.stderr if files.is_stdout else sys.stdout
    place = files.files[0].place
    lines = [place] if place else []
    lines += [f"{run.uri}: {ref.place}" for run, ref in runs]
    entries: list[WordPairs | Analogies] = [*judged.pairs, *judged.analogies]
    for entry in entries:
        if told := lines_left_out(entry.invalid, entry.first_invalid):
            lines.append(f"{entry.uri}: {told}")
    shown_runs = [{"run": run.uri, "step": ref.step, "steps": ref.steps, "digest": ref.digest} for run, ref in runs]
    events.tell("result", {"written": place or None, "runs": shown_runs}, lines, messages)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser, group = reading_parser("beam2vec report", __doc__ or "")
    group.add_argument(
        "--against", metavar="DIR", help="a second run to compare with (or the same run at another step)"
    )
    group.add_argument(
        "--against_step", type=whole(0), metavar="N", help="checkpoint of the second run (default: its newest)"
    )
    add_judged(parser.add_argument_group("evaluation (as in beam2vec evaluate)"), MOST_FREQUENT)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--to",
        metavar="FILE",
        help=f"file, pipe or device to write to, or - for standard output (default: {PATH} in the run's folder)",
    )
    return parser


if __name__ == "__main__":
    run_process("beam2vec report", main)
