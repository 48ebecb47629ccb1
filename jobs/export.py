"""Export the vectors of a run for other tools.

beam2vec export --run=runs/first --format=word2vec --to=vectors.txt
beam2vec export --run=runs/first --format=projector --top=10000 --to=projector/
"""

from __future__ import annotations

from jobs.runners import environment  # noqa: F401  before NumPy and Arrow are loaded

# isort: split
import argparse
import sys
from collections.abc import Iterator, Sequence

from jobs.cli import events
from jobs.cli.entry import run_process
from jobs.cli.reading_options import add_vectors, reading_parser, shown_progress, whole
from pipeline.analysis.export import FORMATS, Export, Written, check_effects, export, export_files
from pipeline.analysis.model_card import LICENSE, ModelCard
from pipeline.analysis.precision import PRECISIONS
from pipeline.errors import InputError
from pipeline.model.vectors import SIDES
from pipeline.runs.result_files import STANDARD_OUTPUT
from pipeline.runs.run import Run
from pipeline.runtime import progress


def main(arguments: Sequence[str]) -> int:
    options, beam = _parser().parse_known_args(list(arguments))
    _pass_to_beam(beam)
    to = export_files(options.format, options.to, options.precision)
    messages = sys.stderr if to.is_stdout else sys.stdout
    check_effects(options.format, vars(options))
    card = ModelCard.of(options.license, options.evaluation)
    run = Run.open(options.run)
    ref = run.checkpoint(options.step)
    absent, report = run.absent() if options.leave_out_absent else None, shown_progress("Export", "words")
    chosen = (options.vectors, options.normalize, options.top, absent, options.precision)
    exported = Export(run, ref, *chosen, card, report)
    written = export(exported, options.format, options.to)
    progress.close_all()
    uris = [uri for uri in written.uris if uri != STANDARD_OUTPUT]
    result = {"run": run.uri, "step": ref.step, "steps": ref.steps, "digest": ref.digest, "format": options.format}
    result |= {"written": uris, "words": exported.words, "changed": written.changed}
    if options.format != "tensorboard":
        result["vectors"] = exported.written_side
    events.tell("result", result, _lines(written, exported, options.format), messages)
    return 0


def _lines(written: Written, exported: Export, format: str) -> Iterator[str]:
    """What is told at the end."""
    run = exported.run
    yield from (uri for uri in written.uris if uri != STANDARD_OUTPUT)
    if format == "tensorboard":
        yield f"the loss curve of {exported.ref.place}: tensorboard --logdir=FOLDER shows it"
        return
    vectors = SIDES[exported.written_side]
    yield f"{exported.words:,} words, {exported.ref.dims} dims, {exported.ref.place}, {vectors}"
    yield from _about_absent(exported)
    if written.changed:
        yield f"{written.changed:,} words hold white space or control characters, which are written as _"
    if format == "safetensors" and run.options.tokenizer != "whitespace":
        yield f"tokenizer.json splits at white space alone: text has to go through {run.options.tokenizer} first"
    if format == "safetensors" and run.options.phrases:
        yield "tokenizer.json joins no words: phrases like new_york have to be joined in the text first"
    if format == "projector" and written.compression:
        yield f"TensorBoard reads plain files alone: unpack vectors.tsv and metadata.tsv ({written.compression}) for it"


def _about_absent(exported: Export) -> Iterator[str]:
    """How many of the words have no vector that was trained, where there may be such."""
    run = exported.run
    if not run.options.vocabulary:
        return
    if absent := int(run.absent()[: exported.rows].sum()):
        what = "are left out" if exported.absent is not None else "are among them (--leave_out_absent leaves them out)"
        yield f"{absent:,} words of --vocabulary, which do not occur in the corpus, {what}"


def _pass_to_beam(arguments: Sequence[str]) -> None:
    """Passes options of Beam's file systems, such as --hdfs_host, to Beam; InputError if it does not know them."""
    if arguments:
        from apache_beam.options.pipeline_options import PipelineOptions  # Beam takes a second to import

        from jobs.cli.parser import parse_beam_options
        from transforms.beam_storage import set_beam_options

        _, unknown = parse_beam_options(arguments)
        if unknown:
            raise InputError(f"unrecognized arguments: {' '.join(unknown)}: see --help")
        set_beam_options(PipelineOptions(list(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser, group = reading_parser("beam2vec export", __doc__ or "")
    add_vectors(group)
    group.add_argument("--top", type=whole(1), metavar="N", help="only the N most frequent words (default: all)")
    group.add_argument(
        "--leave_out_absent",
        action="store_true",
        help="without the words of --vocabulary that do not occur in the corpus, which have no trained vector",
    )
    output = parser.add_argument_group("what is written")
    output.add_argument("--format", required=True, choices=FORMATS, metavar="FORMAT", help="one of those below")
    output.add_argument(
        "--to",
        required=True,
        metavar="PATH",
        help="file, or folder for formats of several files; replaced if it exists. A pipe or a device is written to,"
        " and - is standard output, by formats of one file. .gz, .bz2, .zst or .xz at its end compresses",
    )
    output.add_argument("--normalize", action="store_true", help="scale every vector to length 1")
    output.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        metavar="|".join(PRECISIONS),
        help="of the numbers in npy, parquet and safetensors; int8 has a scale for each vector beside it, and is not"
        " for safetensors (default: float32)",
    )
    card = parser.add_argument_group("the model card of safetensors, README.md")
    card.add_argument("--license", metavar="NAME", help=f"its name on the Hugging Face Hub (default: {LICENSE})")
    card.add_argument("--evaluation", metavar="FILE", help="what beam2vec evaluate --json wrote, to be shown in it")
    width = max(map(len, FORMATS))
    parser.epilog = "Beam's options are passed on to its file systems: --to=hdfs://... wants --hdfs_host and so on.\n\n"
    parser.epilog += "formats:\n" + "\n".join(
        f"  {name:{width}}  {export_format.help}" for name, export_format in FORMATS.items()
    )
    return parser


if __name__ == "__main__":
    run_process("beam2vec export", main)
