"""Check every record and digest of a run.

    beam2vec verify --run=runs/first [--input]

Prints what differs, how far the run is, then `digest: <hex>` of the last checkpoint. The status is 0
where nothing differs and the run has ended or is at work, else 1. --input reads the input files again
and compares them with what was counted. Of a run with --corpus, what it takes from that run is
checked too.
"""

from __future__ import annotations

from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import sys
from collections.abc import Sequence

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.reading_options import add_corpus, plain_parser
from pipeline.runs.directory import open_run
from pipeline.runs.verify import verify_run
from pipeline.runtime.shown_text import counted, shown_line


def main(arguments: Sequence[str]) -> int:
    parser = plain_parser("beam2vec verify", __doc__ or "")
    parser.add_argument("--run", required=True, metavar="DIR", help="the output of beam2vec train or preprocess")
    add_corpus(parser)
    parser.add_argument("--input", action="store_true", help="read the input files again too")
    options = parser.parse_args(list(arguments))
    run = open_run(options.run)
    report = verify_run(run.storage, inputs=options.input)
    for problem in map(shown_line, report.problems):
        events.tell("problem", {"message": problem}, [problem], sys.stderr)
    inputs = f" and {counted(len(run.identity['inputs']), 'input file')}" if options.input else ""
    lines = [f"{counted(report.checked, 'artefact')}{inputs} checked, {len(report.problems):,} differ"]
    lines.append(f"{report.state}: {report.place}")
    if report.digest:
        lines.append(f"digest: {report.digest}")
    elif run.has_model:
        lines.append("no digest: the run has no whole checkpoint")
    result = {"run": options.run, "is_sound": report.is_sound, "checked": report.checked, "state": report.state}
    result |= {"problems": len(report.problems), "place": report.place, "digest": report.digest or None}
    events.tell("result", result, lines)
    return 0 if report.is_sound else 1


if __name__ == "__main__":
    run_process("beam2vec verify", main)
