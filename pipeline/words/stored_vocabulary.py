"""Stores the vocabulary, from the counts of all units; checks the number of bad lines against its limit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.corpus.dead_letters import FOLDER as DEAD_LETTERS
from pipeline.corpus.dead_letters import NOT_UTF8
from pipeline.corpus.files import InputFile
from pipeline.corpus.readers.open_reader import reader_of
from pipeline.corpus.readers.reader import Reader, first_sentences
from pipeline.corpus.readers.values import INTEGERS
from pipeline.corpus.unpacking import unpacked_name
from pipeline.corpus.work_units import WorkUnit
from pipeline.errors import ArtifactError, InputError
from pipeline.option_values import bad_line_limit
from pipeline.options import Options
from pipeline.runtime.messages import say, warn
from pipeline.runtime.shown_text import quoted
from pipeline.storage.commits import Commits, Made
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.words.counts import STAGE as COUNTS
from pipeline.words.merging import (
    BucketCounts,
    OpenedCounts,
    UnitSummary,
    check_complete,
    forget_buckets,
    prune,
    summary,
)
from pipeline.words.totals import STAGE as TOTALS
from pipeline.words.totals import Totals, TotalsNumbers
from pipeline.words.vocabulary import (
    STAGE,
    Vocabulary,
    VocabularyNumbers,
    VocabularyRef,
    build_vocabulary,
    count_at,
    nothing_left,
)
from pipeline.words.word_list import WordListRef, listed_vocabulary


@dataclasses.dataclass(frozen=True)
class Chain:
    """What a run takes from its parent, and keeps for those that go on from it.

    Attributes:
      commits: of the stage "totals".
      files: gives the table of the files that the chain has taken, with those of this run; see `pipeline.runs.taken`.
      parent_totals, parent_words: give the parent's totals and vocabulary; None without --update.
    """

    commits: Commits
    files: Callable[[], pa.Table]
    parent_totals: Callable[[], pa.Table] | None = None
    parent_words: Callable[[], pa.Array] | None = None


def stored_vocabulary(
    commits: Commits,
    counts: Commits,
    chain: Chain,
    buckets: Iterable[BucketCounts],
    summaries: Sequence[UnitSummary],
    options: Options,
    reader: Reader,
    listed: WordListRef | None = None,
    first_files: Sequence[InputFile] = (),
) -> VocabularyRef:
    """The vocabulary of an earlier attempt, else a new one from the buckets. The totals are stored before it.

    Args:
      commits: of this stage; `counts`: of the count.
      summaries: of all units.
      listed: the words of --vocabulary.
      first_files: read only for the message that no word is left.

    Raises:
      ArtifactError: the runner has lost some of the counts.
      InputError: no word is left.
    """

    def make() -> Made:
        vocabulary = build().vocabulary
        units = sum(unit.units for unit in summaries)
        numbers = VocabularyNumbers(len(vocabulary), vocabulary.tokens, units, text_words)
        return [commits.put("vocabulary.parquet", vocabulary.to_parquet())], numbers

    @functools.cache
    def build() -> _Words:
        held = list(buckets)
        check_complete(summaries, held)
        return _Words.of(OpenedCounts(commits.records, held), options, reader, listed, first_files, chain)

    text_words = sum(unit.tokens for unit in summaries)
    stored_totals(chain, lambda: build().kept(options.totals), text_words)
    ref = VocabularyRef.of(commits.once(STAGE, make))
    forget_buckets(counts)
    if listed is not None:
        tell_absent(ref.open(commits.records))
    return ref


def stored_totals(chain: Chain, make: Callable[[], tuple[pa.Table, int]], text_words: int) -> None:
    """Stores the totals and the list of files, unless an earlier attempt has.

    Args:
      make: gives the table of totals, and how many words were cut.
      text_words: occurrences of all words in the text of the run.
    """

    def made() -> Made:
        table, cut = make()
        artifacts = [
            chain.commits.put("totals.parquet", to_parquet(table)),
            chain.commits.put("files.parquet", to_parquet(chain.files())),
        ]
        return artifacts, TotalsNumbers(len(table), text_words, cut)

    numbers = chain.commits.once(TOTALS, made).read(TotalsNumbers)
    if numbers.cut:
        say(f"the counts of {numbers.cut:,} rare words are not kept for --update (--totals)")


@dataclasses.dataclass(frozen=True)
class _Words:
    """The vocabulary, and the totals of all words."""

    vocabulary: Vocabulary
    totals: Totals
    words: int
    """different words in all text"""

    @classmethod
    def of(
        cls,
        tables: Collection[pa.Table],
        options: Options,
        reader: Reader,
        listed: WordListRef | None,
        first_files: Sequence[InputFile],
        chain: Chain,
    ) -> _Words:
        sentences = first_sentences(first_files, reader, 1)
        first = sentences[0] if sentences else []
        before, integers, words = None, reader.items == INTEGERS, summary(tables)[0]
        if chain.parent_totals and chain.parent_words:
            if not words:
                raise InputError(nothing_left([], options.min_count, first))
            totals = Totals.of(tables, chain.parent_totals(), options.count_decay)
            words, tables, before = len(totals.words), [totals.as_counts()], chain.parent_words()
        else:
            least = min(options.min_count, max(1, count_at(tables, options.totals)))
            totals = Totals.of(prune(table, least) for table in tables)
        if listed is not None:
            vocabulary = listed_vocabulary(tables, listed.load(), integers)
        else:
            table = build_vocabulary(tables, options.min_count, options.max_vocabulary, first, before)
            vocabulary = Vocabulary.from_table(table, integers)
        if before is not None:
            vocabulary = dataclasses.replace(vocabulary, new_occurrences=totals.counts_of(vocabulary.words))
        return cls(vocabulary, totals, words)

    def kept(self, most: int) -> tuple[pa.Table, int]:
        """(the table of totals with at most so many words, how many words are cut)."""
        table = self.totals.kept(most, self.vocabulary.words)
        return table, self.words - len(table)


def tell_absent(vocabulary: Vocabulary) -> None:
    """Tells the user how many words of --vocabulary do not occur, if there are such: in every command of the run."""
    absent = np.flatnonzero(vocabulary.occurrences == 0)
    if len(absent):
        first = ", ".join(quoted(vocabulary.words[int(row)].as_py()) for row in absent[:3])
        warn(
            f"{len(absent):,} of the {len(vocabulary):,} words of --vocabulary do not occur in the corpus ({first}"
            f"{', …' if len(absent) > 3 else ''}): they keep their places, are never drawn as negatives, and are no"
            " neighbours of others"
        )


def check_bad_lines(
    commits: Mapping[str, Commits], summaries: Sequence[UnitSummary], left_out: Sequence[UnitSummary], options: Options
) -> None:
    """Reports bad lines to the user; InputError if there are more than --max_bad_lines.

    Args:
      commits: of the stages "counts" and "text".
      summaries: of all units; `left_out`: of the files that were unpacked.
    """
    everything = [*left_out, *summaries]
    bad = sum(unit.bad_lines for unit in everything)
    if not bad:
        return
    lines = sum(unit.lines for unit in everything)
    first, advice = _first_bad_line(commits, summaries, left_out, options)
    letters = commits[COUNTS].records.storage.uri(DEAD_LETTERS)
    if bad > bad_line_limit(options.max_bad_lines, lines):
        raise InputError(
            f"{bad:,} of {lines:,} lines cannot be read, more than --max_bad_lines={options.max_bad_lines}{first}: see"
            f" {letters} for where and why{advice}, or allow more"
        )
    warn(f"{bad:,} of {lines:,} lines cannot be read and are left out{first}: see {letters}")


def _first_bad_line(
    commits: Mapping[str, Commits], summaries: Sequence[UnitSummary], left_out: Sequence[UnitSummary], options: Options
) -> tuple[str, str]:
    """(reason and place of the first bad line, advice): of a unit, else of an unpacked file; ("", "") if unknown."""
    units = [(COUNTS, WorkUnit(unit.index, ()).name) for unit in _with_bad_lines(summaries)]
    stage, name = (units + [("text", unpacked_name(unit.index)) for unit in _with_bad_lines(left_out)])[0]
    record = commits[stage].find(name)
    if record is None or not record.artifacts[-1].path.startswith(f"{DEAD_LETTERS}/"):
        return "", ""
    try:
        row = from_parquet(commits[stage].records.read(record.artifacts[-1])).slice(0, 1).to_pylist()[0]
    except ArtifactError:
        return "", ""
    unit = reader_of(options.input_format).offset_unit
    place = f" (the first: {row['reason']}, {row['uri'].rpartition('/')[2]} {unit} {row['offset']:,})"
    return place, "; name the encoding, e.g. --encoding=cp1252" if row["reason"] == NOT_UTF8 else ""


def _with_bad_lines(summaries: Sequence[UnitSummary]) -> list[UnitSummary]:
    return sorted((unit for unit in summaries if unit.bad_lines), key=lambda unit: unit.index)
