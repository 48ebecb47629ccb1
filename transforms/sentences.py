"""Sentences from any source of Beam -> closed partitions, which a series takes."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam import PCollection
from apache_beam.coders.coders import IntervalWindowCoder
from apache_beam.pvalue import AsIter
from apache_beam.transforms.window import GlobalWindows, IntervalWindow, NonMergingWindowFn, WindowFn
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from pipeline.corpus.sentence_files import (
    MOST_SHARDS,
    Keyed,
    Part,
    keyed,
    partition_name,
    shard_of,
    write_marker,
    write_part,
)
from pipeline.errors import InputError
from pipeline.storage.open_storage import open_storage


@dataclasses.dataclass
class WriteSentences(beam.PTransform):
    """Strings, or lists of words -> files of a partition in `output`, and its marker last of all.

    The files are the same bytes whatever the runner, the order of elements, and what was tried again. Each of the
    `shards` is sorted in the memory of one worker: take so many that one fits.

    A stream is cut into windows by the elements' timestamps, with `every`. Each window that has an element becomes a
    partition of its own, output/window=START, and is written once, when the runner's watermark says that it is over.

    Attributes:
      output: the folder of the partition, such as texts/dt=2026-11-29; with `every`, the folder of all partitions.
      shards: how many files.
      words: whether the elements are lists of words.
      key: element -> a unique key, as text; of elements with equal keys one is kept. None: all are kept.
      every: seconds that a window is long, counted from 1970 in UTC; None: all elements are one partition.
      lateness: with `every`, seconds for which a window stays open after its end. What comes later still is dropped;
        runners count it.
    """

    output: str
    shards: int = 16
    words: bool = False
    key: Callable[[Any], str] | None = None
    every: int | None = None
    lateness: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        if not isinstance(self.output, (str, os.PathLike)) or not os.fspath(self.output):
            raise InputError(f"WriteSentences: output={self.output!r}: give a folder or a uri")
        self.output = os.fspath(self.output)
        if self.key is not None and not callable(self.key):
            raise InputError(f"WriteSentences: key={self.key!r}: give a function from an element to a text, or None")
        self._check("shards", 1, MOST_SHARDS)
        if self.every is not None:
            self._check("every", 1, None)
        self._check("lateness", 0, None)
        if self.lateness and self.every is None:
            raise InputError(f"WriteSentences: lateness={self.lateness} needs every=SECONDS")

    def _check(self, name: str, least: int, most: int | None) -> None:
        """InputError unless the attribute is a whole number within these bounds."""
        value = getattr(self, name)
        is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not is_whole or value < least or (most is not None and value > most):
            allowed = f"from {least}" + (f" to {most:,}" if most is not None else "")
            raise InputError(f"WriteSentences: {name}={value!r}: give a whole number {allowed}")

    def expand(self, sentences: PCollection[Any]) -> PCollection[None]:
        is_whole = sentences.is_bounded and isinstance(sentences.windowing.windowfn, GlobalWindows)
        if self.every is None and not is_whole:
            raise InputError(
                "WriteSentences takes a bounded collection in the global window; for a stream, give every=SECONDS: each"
                " window becomes a partition"
            )
        if self.every is not None:
            sentences |= "Window" >> beam.WindowInto(PartitionWindows(self.every, self.lateness))
        shard = sentences | "Key" >> beam.ParDo(KeySentence(self.shards, self.words, self.key))
        parts = shard | "GatherShard" >> beam.GroupByKey() | "WritePart" >> beam.ParDo(WritePart(self))
        if self.every is None:  # a partition without sentences is closed too
            once = sentences.pipeline | "Once" >> beam.Create([None])
            return once | "WriteMarker" >> beam.ParDo(WriteMarker(self), AsIter(parts))
        whole = parts | "GatherParts" >> beam.GroupBy(lambda part: None)
        return whole | "CloseWindow" >> beam.ParDo(CloseWindow(self))


class PartitionWindows(NonMergingWindowFn):
    """Fixed windows that stay open a while longer; who comes in time is in the window of its timestamp.

    So a window has one pane, and late elements are in their partition, not in one beside it.
    """

    def __init__(self, seconds: int, lateness: int):
        self.seconds, self.lateness = seconds, lateness

    def assign(self, context: WindowFn.AssignContext) -> list[IntervalWindow]:
        if context.timestamp <= MIN_TIMESTAMP:
            raise InputError(
                "WriteSentences: an element has no timestamp, so it is in no window: beam.Map(lambda element:"
                " TimestampedValue(element, its seconds since 1970)) gives it one"
            )
        start = context.timestamp - context.timestamp % self.seconds
        return [IntervalWindow(start, start + self.seconds + self.lateness)]

    def get_window_coder(self) -> IntervalWindowCoder:
        return IntervalWindowCoder()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.seconds, self.lateness))


class KeySentence(beam.DoFn):
    """sentence -> (number of its file, the sentence with what it is sorted by)"""

    def __init__(self, shards: int, words: bool, key: Callable[[Any], str] | None):
        self.shards, self.words, self.key = shards, words, key

    def process(self, sentence: Any) -> Iterator[tuple[int, Any]]:
        ready = keyed(sentence, self.key(sentence) if self.key else None, self.words)
        yield shard_of(ready, self.shards), tuple(ready)


class PartitionDoFn(beam.DoFn):
    """Writes into the folder of a partition."""

    def __init__(self, wanted: WriteSentences):
        self.output, self.every = wanted.output, wanted.every
        self.shards, self.words, self.unique = wanted.shards, wanted.words, wanted.key is not None

    def folder(self, window: Any) -> str:
        if self.every is None:
            return self.output
        return f"{self.output.rstrip('/')}/{partition_name(float(window.start), self.every)}"

    def close(self, folder: str, parts: Iterable[tuple[int, int, int]]) -> None:
        write_marker(open_storage(folder), (Part(*part) for part in parts), self.shards, self.words)


class WritePart(PartitionDoFn):
    """(number, its sentences) -> the file that was written"""

    def process(
        self, element: tuple[int, Iterable[Any]], window: Any = beam.DoFn.WindowParam
    ) -> Iterator[tuple[int, int, int]]:
        number, sentences = element
        own = (Keyed(*one) for one in sentences)
        part = write_part(open_storage(self.folder(window)), number, self.shards, own, self.words, self.unique)
        yield part.number, part.bytes, part.rows


class WriteMarker(PartitionDoFn):
    """Writes the marker, when all files are there."""

    def process(self, once: None, parts: Iterable[tuple[int, int, int]]) -> Iterator[None]:
        self.close(self.output, parts)
        yield None


class CloseWindow(PartitionDoFn):
    """(nothing, the files of a window) -> its marker"""

    def process(
        self, gathered: tuple[None, Iterable[tuple[int, int, int]]], window: Any = beam.DoFn.WindowParam
    ) -> Iterator[None]:
        self.close(self.folder(window), gathered[1])
        yield None
