"""Three transforms for pipelines of your own, without a run: words are counted, and rows made, as the job does it.

    counts = sentences | CountWords()
    unigram = counts | beam.Filter(lambda counted: counted[1] >= 5) | UnigramDistribution()
    batches = sentences | GenerateBatches(unigram, window=5, negatives=5, seed=1)

docs/transforms.md has the whole of it. A sentence is a list of words, or a string that is split at white space.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam import PCollection
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.batches.sampling import Sampling
from pipeline.batches.sentence_rows import RowRules
from pipeline.corpus.plain_sentences import spans_of_sentence
from pipeline.corpus.word_table import WordTable
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.runtime import wording
from pipeline.runtime.shown_text import quoted
from pipeline.words.distribution import WordDistribution

wording.use_arguments({name: name for name in Options.__dataclass_fields__})  # on workers, too
BUNDLE_WORDS = 500_000
"""Most different words that a worker adds up before it sends them on."""


@dataclasses.dataclass
class CountWords(beam.PTransform):
    """Sentences -> (word, count), an element for each different word.

    Raises:
      InputError: an element is no sentence.

    Examples:
      >>> with beam.Pipeline("FnApiRunner") as pipeline:
      ...     counts = pipeline | beam.Create(["a rose is", ["a", "rose"]]) | CountWords()
      ...     _ = counts | beam.combiners.ToList() | beam.Map(lambda counted: print(sorted(counted)))
      [('a', 2), ('is', 1), ('rose', 2)]
    """

    def expand(self, sentences: PCollection[Any]) -> PCollection[tuple[str, int]]:
        return sentences | "CountBundle" >> beam.ParDo(CountBundle()) | "AddUp" >> beam.CombinePerKey(sum)


class CountBundle(beam.DoFn):
    """Sentences -> (word, count) of a bundle: with an element for each token it takes twice the time."""

    def start_bundle(self) -> None:
        self.counts: dict[Any, WordTable] = {}

    def process(self, sentence: Any, window: Any = beam.DoFn.WindowParam) -> Iterator[tuple[str, int]]:
        counts = self.counts.setdefault(window, WordTable())
        for spans in spans_of_sentence(sentence, "CountWords"):
            counts.count(spans)
        if len(counts) > BUNDLE_WORDS:
            yield from _counted(self.counts.pop(window))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for window, counts in self.counts.items():
            for counted in _counted(counts):
                yield WindowedValue(counted, window.max_timestamp(), [window])


def _counted(counts: WordTable) -> Iterator[tuple[str, int]]:
    return zip(counts.words().to_pylist(), counts.values().tolist())


@dataclasses.dataclass
class UnigramDistribution(beam.PTransform):
    """(word, count) -> one `WordDistribution`: the words by frequency, and what negatives are drawn from.

    It is made by one worker, which holds all words: some 800 bytes for each. As an element it has about 45 bytes a
    word. Leave out rare words before.

    Attributes:
      power: exponent of the counts (Mikolov et al. 2013, section 2.2).
      subsample: frequency above which words are thinned out; 0 keeps all tokens.

    Raises:
      InputError: there is no word, or an empty one; a count is below 1.

    Examples:
      >>> with beam.Pipeline("FnApiRunner") as pipeline:
      ...     counts = pipeline | beam.Create([("is", 2), ("a", 3), ("rose", 3)])
      ...     unigram = counts | UnigramDistribution(power=0.75, subsample=0)
      ...     _ = unigram | beam.Map(lambda made: print(made.words.to_pylist(), made.unigram.probability.round(2)))
      ['a', 'rose', 'is'] [0.37 0.37 0.27]
    """

    power: float = 0.75
    subsample: float = 1e-3

    def __post_init__(self) -> None:
        checked = Options.checked({"power": self.power, "subsample": self.subsample})
        self.power, self.subsample = checked.power, checked.subsample

    def expand(self, counts: PCollection[tuple[str, int]]) -> PCollection[WordDistribution]:
        combine = beam.CombineGlobally(Gather(self.power, self.subsample))
        if not isinstance(counts.windowing.windowfn, GlobalWindows):
            combine = combine.without_defaults()
        return counts | "Gather" >> combine


class Gather(beam.CombineFn):
    """(word, count) -> the distribution of all"""

    def __init__(self, power: float, subsample: float):
        self.power, self.subsample = power, subsample

    def create_accumulator(self) -> list[tuple[str, int]]:
        return []

    def add_input(self, gathered: list[tuple[str, int]], counted: tuple[str, int]) -> list[tuple[str, int]]:
        gathered.append(counted)
        return gathered

    def merge_accumulators(self, several: Iterable[list[tuple[str, int]]]) -> list[tuple[str, int]]:
        return [counted for gathered in several for counted in gathered]

    def extract_output(self, gathered: list[tuple[str, int]]) -> WordDistribution:
        return WordDistribution.of(gathered, self.power, self.subsample)


@dataclasses.dataclass
class GenerateBatches(beam.PTransform):
    """Sentences -> Arrow record batches of training rows, one a sentence that has rows.

    Columns: `position int64`, `context list<int32>`, `target int32`, `negatives fixed_size_list<int32>[K]`; words are
    numbered as in `WordDistribution.words`. A row depends on its sentence, the position and the attributes alone: not
    on bundles, retries, the order of elements or the runner. Without `positions`, the position of a sentence is a hash
    of its words. Then equal sentences have equal rows.

    Attributes:
      unigram: what `UnigramDistribution` gives.
      window: largest distance of a context from its target, which is drawn for each target; "all": all other words.
      negatives: how many words are drawn for each target.
      seed: decides every random draw.
      negative_policy: "any", "exclude_target" or "distinct".
      epoch: from 0; each has draws of its own.
      positions: whether the elements are (position, sentence). The position is that of the sentence's first token among
        all tokens of the corpus whose words are in `unigram`, from 0. With it rows are those of `beam2vec train`.

    Raises:
      InputError: an attribute is out of range; `unigram` has too few words for the policy; an element is no sentence.

    Examples:
      >>> with beam.Pipeline("FnApiRunner") as pipeline:
      ...     counts = pipeline | "Counts" >> beam.Create([("is", 2), ("a", 3), ("rose", 3)])
      ...     unigram = counts | UnigramDistribution(subsample=0)
      ...     sentences = pipeline | beam.Create(["a rose is"])
      ...     batches = sentences | GenerateBatches(unigram, window=1, negatives=2, seed=1)
      ...     _ = batches | beam.Map(lambda batch: print(batch["target"].to_pylist(), batch["context"].to_pylist()))
      [0, 1, 2] [[1], [0, 2], [1]]
    """

    unigram: PCollection[WordDistribution]
    window: int | str = 5
    negatives: int = 5
    seed: int = 1
    negative_policy: str = "exclude_target"
    epoch: int = 0
    positions: bool = False

    def __post_init__(self) -> None:
        names = ("window", "negatives", "seed", "negative_policy")
        options = Options.checked({name: getattr(self, name) for name in names})
        self.rules = RowRules(Sampling.of(options), self.epoch)
        self.rules.check()

    def expand(self, sentences: PCollection[Any]) -> PCollection[pa.RecordBatch]:
        if not isinstance(self.unigram, PCollection):
            kind = type(self.unigram).__name__
            raise InputError(f"GenerateBatches: unigram is of type {kind}: give the collection of UnigramDistribution")
        rows = beam.ParDo(GenerateRows(self.rules, self.positions), AsSingleton(self.unigram))
        return sentences | "GenerateRows" >> rows


class RecordBatchCoder(beam.coders.Coder):
    """Record batches as Arrow's IPC stream. Pickled, they would lose names and nullability of lists of fixed size."""

    def encode(self, batch: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        return pa.ipc.open_stream(encoded).read_next_batch()

    def is_deterministic(self) -> bool:
        return True


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


class GenerateRows(beam.DoFn):
    """sentence, or (position, sentence) -> its rows"""

    def __init__(self, rules: RowRules, positions: bool):
        self.rules, self.positions = rules, positions

    def process(self, element: Any, unigram: WordDistribution) -> Iterator[pa.RecordBatch]:
        if not isinstance(unigram, WordDistribution):  # Beam's stand-in for nothing
            raise InputError(
                "GenerateBatches: unigram is empty, here or in this window: UnigramDistribution makes nothing of a"
                " window without words"
            )
        position, sentence = _placed(element) if self.positions else (None, element)
        batch = self.rules.rows(sentence, unigram, position)
        if batch is not None:
            yield batch


def _placed(element: Any) -> tuple[int, Any]:
    """(position, sentence); InputError if it is something else, as None would be taken for a position not given."""
    is_pair = isinstance(element, (tuple, list)) and len(element) == 2
    if not is_pair or element[0] is None or isinstance(element[0], bool):
        given = quoted(str(element), 40)
        raise InputError(f"GenerateBatches: {given} is not (position, sentence), as positions=True asks")
    return element[0], element[1]
