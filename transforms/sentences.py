"""Sentences from any source of Beam -> a closed partition, which a series takes."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam import PCollection
from apache_beam.pvalue import AsIter
from apache_beam.transforms.window import GlobalWindows

from pipeline.corpus.sentence_files import MOST_SHARDS, Keyed, Part, keyed, shard_of, write_marker, write_part
from pipeline.errors import InputError
from pipeline.storage.open_storage import open_storage


@dataclasses.dataclass
class WriteSentences(beam.PTransform):
    """Strings, or lists of words -> files of a partition in `output`, and its marker last of all.

    The files are the same bytes whatever the runner, the order of elements, and what was tried again. For bounded
    collections. Each of the `shards` is sorted in the memory of one worker: take so many that one fits.

    Attributes:
      output: the folder of the partition, such as texts/dt=2026-11-29.
      shards: how many files.
      words: whether the elements are lists of words.
      key: element -> a unique key, as text; of elements with equal keys one is kept. None: all are kept.
    """

    output: str
    shards: int = 16
    words: bool = False
    key: Callable[[Any], str] | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if not 1 <= self.shards <= MOST_SHARDS:
            raise InputError(f"WriteSentences: shards={self.shards}: allowed are 1 to {MOST_SHARDS:,}")

    def expand(self, sentences: PCollection[Any]) -> PCollection[None]:
        if not sentences.is_bounded or not isinstance(sentences.windowing.windowfn, GlobalWindows):
            raise InputError(
                "WriteSentences takes a bounded collection in the global window: write each window by itself"
            )
        shards = self.shards
        keyed_sentences = sentences | "Key" >> beam.ParDo(KeySentence(shards, self.words, self.key))
        numbers = sentences.pipeline | "Shards" >> beam.Create(range(shards))
        empty = numbers | "Empty" >> beam.Map(lambda number: (number, None)).with_output_types(tuple[int, Any])
        shard = (keyed_sentences, empty) | beam.Flatten() | "GatherShard" >> beam.GroupByKey()
        parts = shard | "WritePart" >> beam.ParDo(WritePart(self.output, shards, self.words, self.key is not None))
        once = sentences.pipeline | "Once" >> beam.Create([None])
        return once | "WriteMarker" >> beam.ParDo(WriteMarker(self.output), AsIter(parts))


class KeySentence(beam.DoFn):
    """sentence -> (number of its file, the sentence with what it is sorted by)"""

    def __init__(self, shards: int, words: bool, key: Callable[[Any], str] | None):
        self.shards, self.words, self.key = shards, words, key

    def process(self, sentence: Any) -> Iterator[tuple[int, Any]]:
        ready = keyed(sentence, self.key(sentence) if self.key else None, self.words)
        yield shard_of(ready, self.shards), tuple(ready)


class WritePart(beam.DoFn):
    """(number, its sentences) -> the file that was written"""

    def __init__(self, output: str, shards: int, words: bool, unique: bool):
        self.output, self.shards, self.words, self.unique = output, shards, words, unique

    def process(self, element: tuple[int, Iterable[Any]]) -> Iterator[tuple[int, int, int]]:
        number, sentences = element
        own = (Keyed(*one) for one in sentences if one is not None)
        part = write_part(open_storage(self.output), number, self.shards, own, self.words, self.unique)
        yield part.number, part.bytes, part.rows


class WriteMarker(beam.DoFn):
    """Writes the marker, when all files are there."""

    def __init__(self, output: str):
        self.output = output

    def process(self, once: None, parts: Iterable[tuple[int, int, int]]) -> Iterator[None]:
        write_marker(open_storage(self.output), (Part(*part) for part in parts))
        yield None
