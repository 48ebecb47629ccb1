"""Transforms for pipelines of anybody's: the job's numbers on the same text, on two runners."""

from __future__ import annotations

import dataclasses
import random
import re
import subprocess
import sys

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

import transforms
from beam2vec import Run
from jobs.graph import new_graph, pipeline_options
from pipeline.batches.rows import schema
from pipeline.errors import InputError, find
from pipeline.options import Options
from pipeline.words.distribution import WordDistribution
from tests.helpers import programs
from tests.helpers.commands import ROOT, TINY, train, write_corpus
from transforms import CountWords, GenerateBatches, UnigramDistribution

PAGE = ROOT / "docs" / "transforms.md"
PRISM = programs.found("prism")
ON_PRISM = pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism")
RUNNERS = {"fn_api": (), "prism": ("--runner=PrismRunner", f"--prism_location={PRISM}")}
EACH_RUNNER = pytest.mark.parametrize("runner", ["fn_api", pytest.param("prism", marks=ON_PRISM)])
OPTIONS = ("--subsample=0.01", "--negative_policy=distinct", "--window=4", "--negatives=3", "--max_sentence=1000")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A run, and the lines of its text."""
    folder = tmp_path_factory.mktemp("job")
    text = write_corpus(folder / "corpus.txt", lines=120, words=90)
    with open(text, "a", encoding="utf-8") as file:
        file.write("\n" + " ".join(["long", "line"] * 700) + "\nnever\u3000twice\n")
    outcome = train(f"--input={text}", f"--output={folder / 'run'}", *TINY, *OPTIONS, "--no_report")
    assert outcome.status == 0, outcome.stderr
    return Run(folder / "run"), text.read_text("utf-8").split("\n")


def results(elements, apply, *options: str) -> list:
    """What a pipeline makes of elements, in any order, after it has been between workers."""
    KEPT.clear()
    with new_graph(pipeline_options(["--direct_num_workers=1", *options], 1)) as pipeline:
        made = pipeline | beam.Create(elements) | "Apply" >> beam.ParDo(lambda one: [one])
        _ = apply(made) | beam.Reshuffle() | beam.Map(_keep)
    return list(KEPT)


KEPT: list = []
"""The workers of both runners are in this process."""


def _keep(element) -> None:
    KEPT.append(element)


def frequent(counts: beam.PCollection) -> beam.PCollection:
    return counts | "Frequent" >> beam.Filter(lambda counted: counted[1] >= 2)


def unigram_of(sentences: beam.PCollection) -> beam.PCollection:
    return frequent(sentences | CountWords()) | UnigramDistribution(subsample=0.01)


@EACH_RUNNER
def test_counts_and_distribution_are_those_of_the_job(job, runner):
    run, lines = job
    words = [line.split() for line in lines[:60]] + lines[60:]  # lists and strings
    counts = results(words, lambda sentences: frequent(sentences | CountWords()), *RUNNERS[runner])
    vocabulary = run.vocabulary()
    assert sorted(counts) == sorted(zip(vocabulary["word"].to_pylist(), vocabulary["count"].to_pylist()))
    (made,) = results(words, unigram_of, *RUNNERS[runner])
    assert made.words.to_pylist() == run.words()
    assert made.counts.tolist() == vocabulary["count"].to_pylist()
    assert made.unigram.to_table().equals(run.unigram().to_table())


def test_a_bundle_with_many_words_is_sent_on_in_pieces(job, monkeypatch):
    _, lines = job
    whole = results(lines, lambda sentences: sentences | CountWords())
    monkeypatch.setattr("transforms.any_pipeline.BUNDLE_WORDS", 20)
    assert sorted(results(lines, lambda sentences: sentences | CountWords())) == sorted(whole)


@EACH_RUNNER
@pytest.mark.parametrize("epoch", [0, 1])
def test_rows_with_positions_are_those_of_the_job(job, runner, epoch):
    run, lines = job
    rules = {"window": 4, "negatives": 3, "seed": 7, "negative_policy": "distinct", "epoch": epoch}

    def rows(elements):
        unigram = unigram_of(elements | beam.Map(lambda placed: placed[1]))
        return elements | GenerateBatches(unigram, positions=True, **rules)

    batches = results(random.Random(epoch).sample(placed(run, lines), len(lines)), rows, *RUNNERS[runner])
    assert all(batch.schema == schema(3) for batch in batches)
    wanted = pa.Table.from_batches(run.batches(epoch)).to_pylist()
    found = pa.Table.from_batches(batches).sort_by("position").to_pylist()
    assert len(wanted) > 1000
    assert found == wanted


def placed(run: Run, lines: list[str]) -> list[tuple[int, str]]:
    """(position, line): how many tokens of the vocabulary are before."""
    known, elements, position = set(run.words()), [], 0
    for line in lines:
        elements.append((position, line))
        position += sum(word in known for word in line.split())
    return elements


def test_without_positions_rows_depend_on_the_sentence_alone(job):
    _, lines = job

    def rows(sentences):
        return sentences | GenerateBatches(unigram_of(sentences), seed=7)

    def of(lines):
        return sorted((row["position"], repr(row)) for batch in results(lines, rows) for row in batch.to_pylist())

    first = of(lines)
    assert of(random.Random(1).sample(lines, len(lines))) == first
    positions = [position for position, _ in first]
    assert len(set(positions)) > 0.9 * len(positions) > 900
    assert max(positions) < 2**48
    assert max(positions) > 2**46, "all bits of the hash are used"


def test_windows_of_time_have_a_distribution_each():
    def of_a_window(sentences):
        stamped = sentences | beam.Map(lambda sentence: beam.window.TimestampedValue(sentence, 60 * len(sentence)))
        return stamped | beam.WindowInto(beam.window.FixedWindows(60)) | CountWords() | UnigramDistribution() | out

    out = beam.Map(lambda made: made.words.to_pylist()) | beam.WindowInto(beam.window.GlobalWindows())
    assert sorted(results(["a a", "b"], of_a_window)) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("elements", "apply", "message"),
    [
        ([7], lambda x: x | CountWords(), "CountWords: '7' is no sentence: give a list of words, or a string"),
        ([["a", 7]], lambda x: x | CountWords(), "is no sentence"),
        ([("a", 0)], lambda x: x | UnigramDistribution(), "'a' has the count 0: give a whole number from 1"),
        ([("", 3), ("a", 2)], lambda x: x | UnigramDistribution(), "a word is empty, and no sentence has such"),
        ([], lambda x: x | UnigramDistribution(), "there is no word: give .word, count., as CountWords does"),
        ([(-1, "a b")], lambda x: rows_at(x), "the position -1 is not a whole number"),
        (["a b"], lambda x: rows_at(x), "'a b' is not .position, sentence., as positions=True asks"),
        ([(None, "a b")], lambda x: rows_at(x), "is not .position, sentence."),
        ([(2**47, "a b")], lambda x: rows_at(x), "the position 140737488355328 is not"),
        ([(0, "a a")], lambda x: rows_at(x, negatives=9, negative_policy="distinct"), "at least 10 words, .* 2"),
    ],
)
def test_what_cannot_be_is_one_line(elements, apply, message):
    with pytest.raises(Exception, match=message) as raised:
        results(elements, apply)
    assert isinstance(find(raised.value), InputError)


def test_without_a_distribution_there_are_no_rows():
    with pytest.raises(InputError, match="unigram is of type NoneType: give the collection of UnigramDistribution"):
        results(["a b"], lambda sentences: sentences | GenerateBatches(None))

    def with_an_empty_one(sentences):
        nothing = sentences | beam.FlatMap(lambda sentence: ()).with_output_types(WordDistribution)
        return sentences | GenerateBatches(nothing)

    with pytest.raises(Exception, match="unigram is empty, here or in this window") as raised:
        results(["a b"], with_an_empty_one)
    assert isinstance(find(raised.value), InputError)


def rows_at(elements, **rules):
    unigram = elements.pipeline | "Counts" >> beam.Create([("a", 3), ("b", 2)]) | UnigramDistribution()
    return elements | GenerateBatches(unigram, positions=True, **rules)


@pytest.mark.parametrize("wrong", [{"window": -1}, {"negatives": 0}, {"seed": -1}, {"epoch": -1}, {"epoch": 1.5}])
def test_attributes_out_of_range_are_told_before_anything_runs(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        GenerateBatches(None, **wrong)
    with pytest.raises(InputError, match="power"):
        UnigramDistribution(power=99)


def test_messages_name_attributes_as_a_program_writes_them():
    """In a process that has imported nothing else of ours: beam2vec would have done it."""
    program = (
        "from pipeline.errors import InputError; from transforms import GenerateBatches as made\n"
        "print(made(None, window='all').rules.sampling.window)\n"
        "try: made(None, window=0)\n"
        "except InputError as error: print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ended.stdout.splitlines()[0] == "0"
    assert ended.stdout.splitlines()[1].startswith("window=0: allowed is a whole number (or all)")


def test_counts_beyond_63_bits_are_refused():
    """Two of 2^62 for one word made it vanish."""
    with pytest.raises(InputError, match="add up to 9,223,372,036,854,775,808"):
        WordDistribution.of([("a", 2**62), ("a", 2**62)])


@pytest.mark.parametrize(
    ("counted", "message"),
    [
        ((None, 2), "^UnigramDistribution: 'None' is no word"),
        ((b"a", 2), "is no word"),
        (("\ud800", 2), "is no word: give text that UTF-8 can hold"),
        (("a", 2.5), "'a' has the count 2.5: give a whole number from 1"),
        (("a", True), "'a' has the count True"),
        ("ab", "^UnigramDistribution: 'ab' is not .word, count., as CountWords gives"),
        (("a", 1, 2), "is not .word, count."),
        (None, "is not .word, count."),
    ],
)
def test_what_is_no_counted_word_is_one_line(counted, message):
    """None was taken for an empty word, and "ab" for a word with the count b."""
    with pytest.raises(InputError, match=message):
        WordDistribution.of([("a", 3), counted])


def test_distributions_of_other_words_have_other_digests():
    """A worker keeps the tables of the last digest. Words with NUL could have that of other words."""
    assert WordDistribution.of([("a\0b", 2), ("c", 2)]).digest != WordDistribution.of([("a", 2), ("b\0c", 2)]).digest


def test_numbers_may_be_text_as_in_yaml():
    assert UnigramDistribution(power="0.5", subsample="1e-3") == UnigramDistribution(power=0.5, subsample=1e-3)


def test_counts_of_one_word_are_added_up_and_distributions_are_told_apart():
    made = WordDistribution.of([("b", 2), ("a", 1), ("a", 2)])
    assert (made.words.to_pylist(), made.counts.tolist()) == (["a", "b"], [3, 2])
    assert made.digest != WordDistribution.of([("b", 2), ("c", 3)]).digest
    assert made.digest != WordDistribution.of([("b", 2), ("a", 3)], power=1.0).digest
    np.testing.assert_allclose(made.unigram.probability, np.array([3, 2]) ** 0.75 / (3**0.75 + 2**0.75))


def test_the_program_of_the_page_runs():
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    KEPT.clear()
    exec(program + "    _ = batches | beam.Map(keep)\n", {"keep": _keep})
    assert sum(batch.num_rows for batch in KEPT) > 10
    assert all(batch.schema == schema(5) for batch in KEPT)


def test_defaults_are_those_of_the_command():
    for transform in (UnigramDistribution, GenerateBatches):
        shared = {field.name: field.default for field in dataclasses.fields(transform)}.keys() & vars(Options())
        assert len(shared) >= 2
        assert all(getattr(transform, name) == getattr(Options, name) for name in shared)


def test_the_names_are_those_of_the_package():
    assert all(getattr(transforms, name).__name__ == name for name in transforms.__all__)
    with pytest.raises(AttributeError, match="CountWord"):
        transforms.CountWord  # noqa: B018
