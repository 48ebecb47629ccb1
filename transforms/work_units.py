"""Input files -> units of work."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import TaggedOutput

from pipeline.compressed import unpack
from pipeline.inputs import InputFile
from pipeline.work_units import TextSource, WorkUnit, plan_work_units
from transforms.context import Context, counter
from transforms.refs import UnitSummary

IndexedFile = tuple[int, InputFile]
FileSources = tuple[int, tuple[TextSource, ...]]
"""(index of the file, its plain text)"""
SUMMARIES = "summaries"


@dataclasses.dataclass
class PlanWorkUnits(beam.PTransform):
    """(index, InputFile) -> (WorkUnit; UnitSummary of the lines left out while unpacking).

    Compressed files are unpacked, small files packed together, big ones cut. Only
    references travel; `Reshuffle` spreads the units over the workers.
    """

    context: Context

    def expand(self, files: PCollection[IndexedFile]) -> "tuple[PCollection[WorkUnit], PCollection[UnitSummary]]":
        unpacked = (
            files
            | "SpreadFiles" >> beam.Reshuffle()
            | "UnpackFile" >> beam.ParDo(UnpackFile(self.context)).with_outputs(SUMMARIES, main="sources")
        )
        units = (
            unpacked["sources"]
            | "AllFiles" >> beam.combiners.ToList()
            | "CutAndPack" >> beam.FlatMap(_plan, self.context.options.block_bytes)
            | "SpreadUnits" >> beam.Reshuffle()
        )
        return units, unpacked[SUMMARIES]


class UnpackFile(beam.DoFn):
    """A plain file as it is; a compressed one as the pieces of work text made from it."""

    def __init__(self, context: Context):
        self.context = context
        self.unpacked = counter("unpacked_bytes")

    def process(self, element: IndexedFile) -> Iterator[FileSources | TaggedOutput[Literal["summaries"], UnitSummary]]:
        index, file = element
        context = self.context
        source = context.reader.source(file)
        if source is not None:
            yield index, (source,)
            return
        context.renew_lock()
        text = unpack(
            file, index, context.records, context.keys["text"], context.options.max_line_bytes,
            allow_truncated=context.options.allow_truncated,
        )  # fmt: skip
        self.unpacked.inc(text.bytes)
        if text.bad_lines:
            yield TaggedOutput(SUMMARIES, UnitSummary(index, 0, text.bad_lines, text.bad_lines, 0))
        yield index, text.sources


def _plan(files: Iterable[FileSources], block_bytes: int) -> Iterator[WorkUnit]:
    """Beam promises no order: the files' indexes give it back."""
    yield from plan_work_units((source for _, sources in sorted(files) for source in sources), block_bytes)
