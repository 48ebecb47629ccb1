"""The reader for stages after --phrases: it joins the phrases that earlier passes have found."""

from apache_beam.utils.shared import Shared

from pipeline.corpus.readers.reader import Reader
from pipeline.storage.parquet import from_parquet
from pipeline.storage.records import Artifact
from pipeline.words.phrase_joining import Joiner, joining
from pipeline.words.phrases import PhrasesRef
from transforms.job_context import JobContext


class OpenPhrases:
    """Phrases by reference -> the context's reader with them joined. Tables are opened once a process."""

    def __init__(self, context: JobContext):
        self.context = context
        self.shared = [Shared() for _ in range(context.options.phrases)]

    def reader(self, phrases: PhrasesRef | None) -> Reader:
        return joining(self.context.reader, self.joiners(phrases))

    def joiners(self, phrases: PhrasesRef | None) -> list[Joiner]:
        """One a pass, in their order."""
        return [self._joiner(*numbered) for numbered in enumerate(phrases.passes if phrases else ())]

    def _joiner(self, number: int, artifact: Artifact) -> Joiner:
        def make() -> Joiner:
            return Joiner(from_parquet(self.context.records.read(artifact)))

        return self.shared[number].acquire(make, tag=artifact.digest)
