"""Word counts -> the vocabulary, and the totals of all words."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsList

from pipeline.corpus.files import InputFile
from pipeline.corpus.unpacking import STAGE as TEXT
from pipeline.runs.directory import open_run
from pipeline.runs.input_check import recorded_files
from pipeline.runs.taken import files_table
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.merging import BucketCounts, UnitSummary, total
from pipeline.words.stored_vocabulary import Chain, check_bad_lines, stored_vocabulary
from pipeline.words.totals import STAGE as TOTALS
from pipeline.words.vocabulary import STAGE, VocabularyRef
from transforms.job_context import JobContext, StageDoFn


@dataclasses.dataclass
class BuildVocabulary(beam.PTransform):
    """BucketCounts -> one VocabularyRef.

    The vocabulary is one Parquet, ordered by (-count, bytes of the word). Before it is
    made, the bad lines in the `summaries` of all units, and those `left_out` while files were
    unpacked, are held against their limit. The two are not flattened into one: where phrases
    are joined, FnApiRunner would wait for ever, for a flattened side input is only whole for it
    when all that read the units have done so, and encoding reads them after this.
    `first_files` are looked into only for the message that no word is left.
    """

    context: JobContext
    summaries: PCollection[UnitSummary]
    left_out: PCollection[UnitSummary] | None = None
    first_files: Sequence[InputFile] = ()

    def expand(self, counts: PCollection[BucketCounts]) -> PCollection[VocabularyRef]:
        # The buckets come as a side input: put together in one element they would be too large for some runners.
        units = (("SumUnits", self.summaries), ("SumLeftOut", self.left_out))
        summaries = [
            AsList(unit_summaries | name >> beam.CombineGlobally(total).without_defaults())
            for name, unit_summaries in units
            if unit_summaries is not None
        ]
        order = beam.ParDo(Order(self.context, self.first_files), AsIter(counts), *summaries)
        return counts.pipeline | "Once" >> beam.Create([0]) | "Order" >> order


class Order(StageDoFn):
    """Checks the bad lines, then orders and cuts the words."""

    def __init__(self, context: JobContext, first_files: Sequence[InputFile]):
        super().__init__(context)
        self.first_files = first_files
        self.commits = {stage: context.commits(stage) for stage in (TEXT, COUNTS, STAGE)}
        self.chain = self._chain()

    def _chain(self) -> Chain:
        parent, commits = self.context.parent, self.context.commits(TOTALS)
        if parent is None:
            return Chain(commits, self._files)
        return Chain(commits, self._files, parent.totals_table, parent.words)

    def _files(self) -> pa.Table:
        context, parent = self.context, self.context.parent
        inputs = open_run(context.records.storage.root).identity["inputs"]
        recorded = recorded_files(context.records, context.keys)
        return files_table(inputs, recorded, parent.taken_files() if parent else None)

    def process(
        self,
        once: int,
        counts: Iterable[BucketCounts],
        summaries: Sequence[UnitSummary],
        left_out: Sequence[UnitSummary] = (),
    ) -> Iterator[VocabularyRef]:
        context, commits = self.context, self.commits
        check_bad_lines(commits, summaries, left_out, context.options)
        yield stored_vocabulary(
            commits[STAGE],
            commits[COUNTS],
            self.chain,
            counts,
            summaries,
            context.options,
            context.reader,
            context.listed,
            self.first_files,
        )
