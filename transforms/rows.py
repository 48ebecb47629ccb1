"""`CountWords` and `WriteSentences` over rows with a field of sentences, as Beam YAML has them (docs/transforms.md)."""

import dataclasses
from typing import Any

import apache_beam as beam
from apache_beam import PCollection

from pipeline.errors import InputError
from transforms import any_pipeline, sentences


@dataclasses.dataclass
class CountWords(beam.PTransform):
    """Rows -> rows of word and count.

    Attributes:
      field: with the sentence: a string, which is split at white space, or a list of words.
    """

    field: str

    def expand(self, rows: PCollection[Any]) -> PCollection[Any]:
        counted = rows | "Field" >> beam.Map(_field, self.field) | "Count" >> any_pipeline.CountWords()
        return counted | "Row" >> beam.MapTuple(lambda word, count: beam.Row(word=str(word), count=int(count)))


@dataclasses.dataclass
class WriteSentences(beam.PTransform):
    """Rows -> files of a partition in `output`, and its marker last of all, as `transforms.WriteSentences`.

    Attributes:
      field: with the sentence: a string, or with `words` a list of words.
      output, shards, words: those of `transforms.WriteSentences`.
    """

    field: str
    output: str
    shards: int = 16
    words: bool = False

    def expand(self, rows: PCollection[Any]) -> PCollection[None]:
        write = sentences.WriteSentences(self.output, self.shards, self.words)
        return rows | "Field" >> beam.Map(_field, self.field) | "Write" >> write


def _field(row: Any, name: str) -> Any:
    """The field; InputError if the rows have no such field."""
    try:
        return getattr(row, name)
    except AttributeError:
        raise InputError(f"field={name}: the rows have no such field, but {', '.join(row._fields)}") from None
