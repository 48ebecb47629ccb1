"""Input files -> units of work."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import TaggedOutput

from pipeline.corpus.files import IndexedFiles, InputFile
from pipeline.corpus.record_cuts import with_cuts
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.corpus.unpacking import UnpackedText, unpack
from pipeline.corpus.work_units import TextSource, WorkUnit, plan_work_units
from pipeline.errors import ArtifactError
from pipeline.runtime.process import each
from pipeline.storage.open_storage import is_remote
from pipeline.words.merging import UnitSummary
from transforms.job_context import JobContext, StageDoFn, counter

FileSources = tuple[int, int, tuple[TextSource, ...]]
"""(index of the first file, how many files, their plain text)"""
SUMMARIES = "summaries"


@dataclasses.dataclass
class PlanWorkUnits(beam.PTransform):
    """IndexedFiles -> (WorkUnit; UnitSummary of the lines left out while unpacking).

    Compressed files are unpacked, small files packed together, big ones cut. Only
    references travel; `Reshuffle` spreads the units over the workers.
    """

    context: JobContext
    files: int
    """How many there are: a runner that loses some is found out."""

    def expand(self, files: PCollection[IndexedFiles]) -> "tuple[PCollection[WorkUnit], PCollection[UnitSummary]]":
        unpacked = (
            files
            | "SpreadFiles" >> beam.Reshuffle()
            | "UnpackFile" >> beam.ParDo(UnpackFile(self.context)).with_outputs(SUMMARIES, main="sources")
        )
        units = (
            unpacked["sources"]
            | "ToOne" >> beam.Map(_to_one)  # no list of all files as one element: it would grow with the corpus
            | "GatherFiles" >> beam.GroupByKey()
            | "CutAndPack" >> beam.FlatMap(_plan, self.context.options.block_bytes, self.files)
            | "SpreadUnits" >> beam.Reshuffle()
        )
        return units, unpacked[SUMMARIES]


class UnpackFile(StageDoFn):
    """Passes plain files on, with the places where they may be cut if that is not everywhere.

    A compressed file is replaced by the pieces of work text that it is unpacked into.
    """

    def __init__(self, context: JobContext):
        super().__init__(context)
        self.commits = context.commits(TEXT)
        self.unpacked = counter("unpacked_bytes")

    def process(self, element: IndexedFiles) -> Iterator[FileSources | TaggedOutput[Literal["summaries"], UnitSummary]]:
        first, files = element
        sources: list[TextSource] = []
        looked = each(self._source_or_text, [*enumerate(files, first)], any(is_remote(file.uri) for file in files), 16)
        for index, source in enumerate(looked, first):
            if isinstance(source, TextSource):
                sources.append(source)
            else:
                if source.bad_lines:
                    yield TaggedOutput(SUMMARIES, UnitSummary(index, 0, source.bad_lines, source.bad_lines, 0))
                self.unpacked.inc(source.bytes)
                sources += source.sources
        yield first, len(files), tuple(sources)

    def _source_or_text(self, file: tuple[int, InputFile]) -> TextSource | UnpackedText:
        source = self.context.reader.source(file[1])
        if source is None:
            return self._unpacked(*file)
        return with_cuts(self.commits, *file, source, self.context.options.block_bytes, self.context.reader)

    def _unpacked(self, index: int, file: InputFile) -> UnpackedText:
        options = self.context.options
        return unpack(
            self.commits,
            file,
            index,
            options.max_line_bytes,
            allow_truncated=options.allow_truncated,
            ends=self.context.reader.ends(),
            encoding=self.context.reader.encoding,
        )


def _to_one(sources: FileSources) -> tuple[int, FileSources]:
    return 0, sources


def _plan(gathered: tuple[int, Iterable[FileSources]], block_bytes: int, files: int) -> Iterator[WorkUnit]:
    """Plans units of work. Beam delivers files in any order, so they are sorted by their indexes.

    Raises:
      ArtifactError: the runner has lost files, or delivered some twice.
    """
    sources: list[TextSource] = []
    expected = 0
    for first, count, some in sorted(gathered[1], key=lambda group: group[:2]):
        if first != expected:
            break
        expected += count
        sources += some
    if expected != files:
        raise ArtifactError(
            f"the runner delivered the input files up to number {expected:,} of {files:,}, and then others: nothing"
            " was stored, start the run again"
        )
    yield from plan_work_units(sources, block_bytes)
