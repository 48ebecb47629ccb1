"""Compare two models word by word: how far words have moved, which neighbours they kept, what came and went.

    beam2vec compare runs/monday runs/tuesday
    beam2vec compare runs/first@200 runs/second --align --to=moved.parquet --json=moved.json

RUN@STEP takes a checkpoint other than the newest. Vectors of runs that did not go on from each other lie in spaces of
their own: --align turns the second one onto the first. Neighbours need no alignment.
"""

from __future__ import annotations

from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.reading_options import add_judged, add_vectors, listed_files, plain_parser, shown_progress
from pipeline.analysis.evaluation import MOST_FREQUENT
from pipeline.analysis.export_files import one_file
from pipeline.analysis.judgements import read_analogies, read_pairs
from pipeline.analysis.movement import APART, described, movement, table
from pipeline.analysis.scores import evaluation_of
from pipeline.model.checkpoints import CheckpointRef
from pipeline.model.vectors import SIDES
from pipeline.runs.run import Run, run_at
from pipeline.runtime import progress
from pipeline.runtime.messages import take_warnings
from pipeline.runtime.shown_text import shown, shown_list
from pipeline.storage.parquet import to_parquet


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(list(arguments))
    json_file = one_file("--json", options.json) if options.json is not None else None
    to = one_file("--to", options.to) if options.to is not None else None
    pairs = [read_pairs(uri, options.pairs_columns) for uri in listed_files(options.pairs)]
    analogies = [read_analogies(uri) for uri in listed_files(options.analogies)]
    models = [run_at(given) for given in (options.before, options.after)]
    before, after = known = [
        run.read_vectors(options.vectors, ref.step, report=shown_progress(f"Read vectors of {name}", "words"))
        for (run, ref), name in zip(models, ("the first", "the second"))
    ]
    moved = movement(before, after, options.align)
    result: dict[str, Any] = {
        "before": _named(*models[0], options.vectors),
        "after": _named(*models[1], options.vectors),
        **described(moved),
    }
    case = not options.match_case
    result["evaluation"] = [
        evaluation_of(vectors, pairs, analogies, options.most_frequent, case, method=options.analogy)
        for vectors in known
        if pairs or analogies
    ]
    result["warnings"] = take_warnings()
    progress.close_all()
    if to:
        to.pack(to_parquet(table(moved)))
    if json_file:
        json_file.pack_json(result)
    if not any(file and file.is_stdout for file in (json_file, to)):
        events.tell("result", result, _lines(result))
    return 0


def _named(run: Run, ref: CheckpointRef, side: str | None) -> dict[str, Any]:
    model = {"run": run.uri, "step": ref.step, "steps": ref.steps, "place": ref.place, "digest": ref.digest}
    return model | {"vectors": run.side(side)}


def _lines(result: dict[str, Any]) -> Iterator[str]:
    """The result as lines for people."""
    for name in ("before", "after"):
        model = result[name]
        yield f"{name}: {model['run']}, {model['place']}, {SIDES[model['vectors']]}"
    if result["before"]["digest"] == result["after"]["digest"]:
        yield "the models are the same, to the bit"
    kept = f"{result['neighbors_kept']:.0%} of the ten nearest words are the same"
    yield f"{result['shared']:,} shared words: mean cosine {result['cosine']:.3f}; {kept}"
    yield "  by frequency          cosine   (10%, half, 90%)       neighbours kept"
    for band in result["bands"]:
        low, middle, high = band["quantiles"]
        place = f"{band['first']:,} to {band['last']:,}"
        spread = f"({low:.3f}, {middle:.3f}, {high:.3f})"
        yield f"  {place:20}  {band['cosine']:6.3f}   {spread}   {band['neighbors_kept']:6.0%}"
    if result["cosine"] < APART and not result["aligned"]:
        yield "  cosines this low are of two spaces: --align turns one onto the other"
    yield "moved most:"
    for entry in result["moved_most"]:
        yield (
            f"  {shown(entry['word'])} ({entry['cosine']:.2f}): {shown_list(entry['before'])} -> "
            f"{shown_list(entry['after'])}"
        )
    for name in ("new", "gone"):
        words = [word for word, _ in result[name]["most_frequent"]]
        yield f"{name}: {result[name]['words']:,} words" + (f", {shown_list(words)}" if words else "")
    yield from _evaluations(result["evaluation"])


def _evaluations(evaluations: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each file: both scores."""
    if not evaluations:
        return
    before, after = evaluations
    for one, other in zip(before["pairs"], after["pairs"]):
        yield f"{shown(one['file'])}: Spearman {_score(one['spearman'])} -> {_score(other['spearman'])}"
    for one, other in zip(before["analogies"], after["analogies"]):
        yield f"{shown(one['file'])}: analogies {one['total']['accuracy']:.1%} -> {other['total']['accuracy']:.1%}"


def _score(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("beam2vec compare", __doc__ or "")
    group = parser.add_argument_group("what is read")
    group.add_argument("before", metavar="BEFORE", help="the first run, or RUN@STEP")
    group.add_argument("after", metavar="AFTER", help="the second run, or RUN@STEP")
    add_vectors(group)
    group.add_argument("--align", action="store_true", help="turn the second model onto the first, then compare")
    add_judged(parser.add_argument_group("evaluation of both (as in beam2vec evaluate)"), MOST_FREQUENT)
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write the result as JSON too; - prints JSON and nothing else")
    output.add_argument("--to", metavar="FILE", help="write a Parquet table with a row for each shared word")
    return parser


if __name__ == "__main__":
    run_process("beam2vec compare", main)
