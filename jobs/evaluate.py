"""Evaluate the vectors of a run: word pairs, analogies, nearest words.

    beam2vec evaluate --run=runs/first --pairs=wordsim353.tsv --analogies=questions-words.txt
    beam2vec evaluate --run=runs/first --neighbors=paris,bread --json=result.json

The numbers are those of gensim's evaluate_word_pairs and evaluate_word_analogies.
"""

from __future__ import annotations

from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import argparse
import os
from collections.abc import Sequence
from typing import Any

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.reading_options import (
    add_judged,
    add_vectors,
    listed,
    listed_files,
    reading_parser,
    shown_progress,
    whole,
)
from pipeline.analysis.evaluation import MOST_FREQUENT
from pipeline.analysis.export_files import one_file
from pipeline.analysis.judgements import lines_left_out, read_analogies, read_pairs
from pipeline.analysis.scores import evaluation_of
from pipeline.batches.schedule import step_of
from pipeline.errors import InputError
from pipeline.model.vectors import SIDES
from pipeline.runs.run import Run
from pipeline.runtime import progress
from pipeline.runtime.messages import take_warnings
from pipeline.runtime.shown_text import quoted, shown


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(list(arguments))
    json_file = one_file("--json", options.json) if options.json is not None else None
    pairs = [read_pairs(uri, options.pairs_columns) for uri in listed_files(options.pairs)]
    analogies = [read_analogies(uri) for uri in listed_files(options.analogies)]
    words_to_show = listed(options.neighbors)
    if not (pairs or analogies or words_to_show):
        raise InputError("nothing to evaluate: give --pairs, --analogies or --neighbors")
    run = Run.open(options.run)
    ref = run.checkpoint(options.step)
    top = None if words_to_show else options.most_frequent
    known = run.read_vectors(options.vectors, ref.step, top, shown_progress("Read vectors", "words"))
    rows = known.rows_of(words_to_show, "--neighbors")
    result: dict[str, Any] = {
        "run": options.run,
        "step": ref.step,
        "steps": ref.steps,
        "digest": ref.digest,
        "words": ref.words,
        "dims": ref.dims,
        "vectors": run.side(options.vectors),
        "most_frequent": options.most_frequent,
        "match_case": options.match_case,
    }
    report = shown_progress("Analogies", "words")
    case = not options.match_case
    result |= evaluation_of(known, pairs, analogies, options.most_frequent, case, report, options.analogy)
    near = known.neighbors(rows, options.count)
    result["neighbors"] = {
        word: [list(neighbor) for neighbor in near_words] for word, near_words in zip(words_to_show, near)
    }
    result["warnings"] = take_warnings()
    progress.close_all()
    if json_file:
        json_file.pack_json(result)
    if not (json_file and json_file.is_stdout):
        events.tell("result", result, lines_of(result))
    return 0


_WIDEST = 40
"""Of a column of words; one word of hundreds of letters would move all numbers off the screen."""


def lines_of(result: dict[str, Any]) -> list[str]:
    """The result as lines for people."""
    lines = [f"{result['run']}: {step_of(result['step'], result['steps'])}, {SIDES[result['vectors']]}"]
    for entry in result["pairs"]:
        undefined = "undefined (all scores or all cosines are equal)"
        spearman = undefined if entry["spearman"] is None else f"{entry['spearman']:.4f}"
        usual = entry["columns"] == [1, 2, 3]
        columns = "" if usual else f" (columns {', '.join(map(str, entry['columns']))})"
        counted = f"{entry['pairs']:,} pairs{columns}, {entry['unknown']:,} out of vocabulary{_left_out(entry)}"
        lines.append(f"{_name(entry)}: Spearman {spearman} on {counted}")
    for entry in result["analogies"]:
        total = entry["total"]
        lines.append(
            f"{_name(entry)}: {total['accuracy']:.1%} of {total['questions']:,} analogies right,"
            f" {total['unknown']:,} out of vocabulary{_left_out(entry)}"
        )
        sections = [section | {"name": shown(section["name"])} for section in entry["sections"]]
        width = max(len(section["name"]) for section in sections)
        for section in sections:
            if section["questions"] and section["name"]:  # a file without sections has one without a name
                lines.append(f"  {section['name']:{width}}  {section['accuracy']:6.1%} of {section['questions']:,}")
    for word, near in result["neighbors"].items():
        lines.append(f"near {quoted(word)}:")
        named = [(shown(other), cosine) for other, cosine in near]
        width = min(max((len(other) for other, _ in named), default=0), _WIDEST)
        lines += [f"  {other:{width}}  {cosine:.4f}" for other, cosine in named]
    return lines


def _left_out(entry: dict[str, Any]) -> str:
    told = lines_left_out(entry["invalid_lines"], entry["first_invalid_line"])
    return f", {told}" if told else ""


def _name(result: dict[str, Any]) -> str:
    return shown(os.path.basename(result["file"]))


def _parser() -> argparse.ArgumentParser:
    parser, group = reading_parser("beam2vec evaluate", __doc__ or "")
    add_vectors(group)
    questions = parser.add_argument_group("what is asked")
    add_judged(questions, MOST_FREQUENT)
    questions.add_argument(
        "--neighbors", action="append", default=[], metavar="WORD[,WORD...]", help="words to show the nearest words of"
    )
    questions.add_argument(
        "--count", type=whole(1), default=10, metavar="N", help="how many nearest words (default: 10)"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--json",
        metavar="FILE",
        help="write all results as JSON too, into a file, a pipe or a device; - prints JSON and nothing else",
    )
    return parser


if __name__ == "__main__":
    run_process("beam2vec evaluate", main)
