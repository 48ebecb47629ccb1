"""Word counts -> the vocabulary."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
from apache_beam import PCollection
from apache_beam.pvalue import AsIter, AsList

from pipeline.corpus.dead_letters import NOT_UTF8, read_dead_letters
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.reader import first_sentences
from pipeline.corpus.readers.values import INTEGERS
from pipeline.corpus.unpacking import unpacked_name
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import ArtifactError, InputError
from pipeline.options import bad_line_limit
from pipeline.runtime import progress
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.merging import BucketCounts, OpenedCounts, UnitSummary, check_complete, total
from pipeline.words.vocabulary import Vocabulary, VocabularyRef, build_vocabulary
from pipeline.words.word_list import listed_vocabulary
from transforms.counts import forget_buckets
from transforms.job_context import JobContext

STAGE = "vocabulary"


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
            AsList(one | name >> beam.CombineGlobally(total).without_defaults())
            for name, one in units
            if one is not None
        ]
        order = beam.ParDo(Order(self.context, self.first_files), AsIter(counts), *summaries)
        return counts.pipeline | "Once" >> beam.Create([0]) | "Order" >> order


class Order(beam.DoFn):
    """Checks the bad lines, then orders and cuts the words."""

    def __init__(self, context: JobContext, first_files: Sequence[InputFile]):
        self.context = context
        self.first_files = first_files

    def process(
        self,
        once: int,
        counts: Iterable[BucketCounts],
        summaries: Sequence[UnitSummary],
        left_out: Sequence[UnitSummary] = (),
    ) -> Iterator[VocabularyRef]:
        context = self.context
        self._check_bad_lines(left_out, summaries)
        record = context.made(STAGE, STAGE)
        if record is None:
            buckets = list(counts)
            check_complete(summaries, buckets)
            vocabulary, in_vocabulary = self._build(OpenedCounts(context.records, buckets))
            numbers = {"words": len(vocabulary), "tokens": in_vocabulary}
            record = context.make(STAGE, STAGE, "vocabulary/vocabulary.parquet", vocabulary.to_parquet(), numbers)
            forget_buckets(context, COUNTS, buckets)
        yield VocabularyRef(record.artifacts[0], record.numbers["words"], record.numbers["tokens"])

    def _build(self, tables: Collection[pa.Table]) -> tuple[Vocabulary, int]:
        """(the vocabulary, tokens of the corpus that are in it)."""
        options, integers = self.context.options, self.context.reader.items == INTEGERS
        if self.context.listed is not None:
            return listed_vocabulary(tables, self.context.listed.load(), integers)
        table = build_vocabulary(tables, options.min_count, options.max_vocabulary, self._first_tokens())
        vocabulary = Vocabulary.from_table(table, integers)
        return vocabulary, vocabulary.tokens

    def _first_tokens(self) -> list[str]:
        sentences = first_sentences(self.first_files, self.context.reader, 1)
        return sentences[0] if sentences else []

    def _check_bad_lines(self, left_out: Sequence[UnitSummary], summaries: Sequence[UnitSummary]) -> None:
        bad = sum(unit.bad_lines for unit in [*left_out, *summaries])
        if not bad:
            return
        lines = sum(unit.lines for unit in [*left_out, *summaries])
        allowed = self.context.options.max_bad_lines
        first, advice = self._first_bad_line(left_out, summaries)
        letters = self.context.records.storage.uri("dead_letters")
        if bad > bad_line_limit(allowed, lines):
            raise InputError(
                f"{bad:,} of {lines:,} lines cannot be read, more than --max_bad_lines={allowed}{first}: see"
                f" {letters} for where and why{advice}, or allow more"
            )
        progress.say(f"{bad:,} of {lines:,} lines cannot be read and are left out{first}: see {letters}")

    def _first_bad_line(self, left_out: Sequence[UnitSummary], summaries: Sequence[UnitSummary]) -> tuple[str, str]:
        """(reason and place of the first bad line of a unit, else of an unpacked file; what helps), or nothing."""
        units = [(COUNTS, WorkUnit(unit.index, ()).name) for unit in _bad(summaries)]
        names = units + [("text", unpacked_name(unit.index)) for unit in _bad(left_out)]
        record = self.context.made(*names[0])
        if record is None or not record.artifacts[-1].path.startswith("dead_letters/"):
            return "", ""
        try:
            row = read_dead_letters(self.context.records.read(record.artifacts[-1])).slice(0, 1).to_pylist()[0]
        except ArtifactError:
            return "", ""
        unit = "row" if self.context.options.input_format == "parquet" else "byte"
        what = f" (the first: {row['reason']}, {row['uri'].rpartition('/')[2]} {unit} {row['offset']:,})"
        if row["reason"] != NOT_UTF8:
            return what, ""
        return what, "; convert it first, e.g. iconv -f latin1 -t utf8"


def _bad(summaries: Sequence[UnitSummary]) -> list[UnitSummary]:
    return sorted((unit for unit in summaries if unit.bad_lines), key=lambda unit: unit.index)
