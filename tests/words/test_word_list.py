"""--vocabulary: words of a file, in its order, with its counts or those of the corpus."""

from __future__ import annotations

import collections

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from pipeline.corpus.readers.values import INTEGERS, TEXT
from pipeline.errors import InputError
from pipeline.model.initial_vectors import initial_vectors
from pipeline.words.word_list import word_list
from tests.helpers.commands import ALONE, TINY, train, write_corpus

BESIDE = [option for option in TINY if not option.startswith(("--min_count", "--window", "--seed"))]
"""Options of a run with --corpus, which has the others of the corpus."""


def loaded(path, data, items=TEXT):
    path.write_bytes(data)
    found = word_list(str(path), items).load()
    return found.words.to_pylist(), None if found.counts is None else found.counts.tolist()


def test_forms_of_a_list(tmp_path):
    file = tmp_path / "words"
    assert loaded(file, "\ufeffb\r\na\n한국".encode()) == (["b", "a", "한국"], None)
    assert loaded(file, b"New York\t7\nb\t1\n") == (["New York", "b"], [7, 1])
    joined = "\ufeffb\t3\n\ufeffa\t2\r\n".encode()  # of two files, each with its mark
    assert loaded(file, joined) == (["b", "a"], [3, 2])
    assert loaded(file, b"b 3\na 1\n") == (["b", "a"], [3, 1])
    assert loaded(file, b"b 3\na\n") == (["b 3", "a"], None)
    assert loaded(file, b"007\n-3\t\n".replace(b"\t", b""), INTEGERS) == (["7", "-3"], None)
    assert loaded(file, b"</s> 0\nthe 5\n") == (["</s>", "the"], [0, 5])  # as word2vec.c writes it
    pq.write_table(pa.table({"word": ["x", "y"], "count": [5, 4], "more": [1, 2]}), file)
    assert loaded(file, file.read_bytes()) == (["x", "y"], [5, 4])
    pq.write_table(pa.table({"word": [5, -6]}), file)
    assert loaded(file, file.read_bytes(), INTEGERS) == (["5", "-6"], None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no word"),
        (b"a\n\nb\n", "line 2 is '', not a word"),
        (b"a\t1\nb\n", "line 2 is 'b', not a word, a tab and its count"),
        (b"a\nb\na\n", "has 'a' 2 times"),
        (b"a\t0\n", "counts 0 for each word"),
        (b"a\n\xff\n", "is not UTF-8 text in line 2"),
        (b"a\t99999999999999999999\n", "beyond 64 bits"),
        (b"PAR1 and no more", "cannot be read"),
    ],
)
def test_what_is_no_list(data, message, tmp_path):
    with pytest.raises(InputError, match=f"--vocabulary=.*words.* {message}"):
        loaded(tmp_path / "words", data)
    with pytest.raises(InputError, match="should hold integers"):
        loaded(tmp_path / "words", b"a\n", INTEGERS)
    with pytest.raises(InputError, match=r"--vocabulary=.*none cannot be read"):
        word_list(str(tmp_path / "none"), TEXT)


def test_only_these_words_in_this_order(tmp_path):
    corpus = write_corpus(tmp_path / "corpus.txt")
    arguments = [f"--input={corpus}", f"--output={tmp_path / 'all'}", *ALONE]
    assert train(*arguments).status == 0
    everything = Run.open(str(tmp_path / "all")).vocabulary()
    words, counts = everything["word"].to_pylist(), dict(zip(*everything.to_pydict().values()))
    chosen = [*reversed(words[:30:3]), "nowhere", words[1]]
    (tmp_path / "list").write_text("".join(f"{word}\n" for word in chosen))
    arguments = [f"--input={corpus}", f"--output={tmp_path / 'run'}", f"--vocabulary={tmp_path / 'list'}", *ALONE]
    outcome = train(*arguments)
    assert outcome.status == 0, outcome.stderr
    run = Run.open(str(tmp_path / "run"))
    assert run.words() == chosen
    assert run.vocabulary()["count"].to_pylist() == [counts.get(word, 0) for word in chosen]
    assert sum(shard.positions for shard in run.shards()) == sum(counts.get(word, 0) for word in chosen)
    assert train(*arguments).digest == outcome.digest
    # With the counts written out, the same model.
    (tmp_path / "list").write_text("".join(f"{word}\t{counts.get(word, 0)}\n" for word in chosen))
    assert "the words of --vocabulary=" in train(*arguments).error
    assert train(*arguments, "--overwrite").digest == outcome.digest
    # A run's own vocabulary changes nothing.
    (stored,) = (tmp_path / "all" / "vocabulary").glob("*/vocabulary.parquet")
    whole = [f"--vocabulary={stored}", *ALONE, "--min_count=1000"]
    first = train(f"--input={corpus}", f"--output={tmp_path / 'all'}", *ALONE).digest
    assert train(f"--input={corpus}", f"--output={tmp_path / 'again'}", *whole).digest == first
    (tmp_path / "list").write_text("nothing\nof\nthis\n")
    assert "none of the 3 words of --vocabulary occurs in --input" in train(*arguments, "--overwrite").error


def test_a_list_of_integers(tmp_path):
    rows = [{"x": row} for row in np.random.default_rng(0).integers(0, 9, (200, 5)).tolist()]
    (tmp_path / "rows").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    (tmp_path / "list").write_text("8\n3\n100\n5\n")
    arguments = [f"--input={tmp_path / 'rows'}", "--input_format=jsonl", "--field=x", *ALONE]
    assert train(*arguments, f"--vocabulary={tmp_path / 'list'}", f"--output={tmp_path / 'run'}").status == 0
    table = Run.open(str(tmp_path / "run")).vocabulary()
    assert table["word"].to_pylist() == [8, 3, 100, 5]
    assert table["count"].to_pylist()[2] == 0


@pytest.mark.parametrize("form", ["words", "words and counts"])
def test_words_that_do_not_occur_are_never_drawn_nor_shown(tmp_path, form):
    """Without counts they counted as 1, were drawn as negatives, and stood among the neighbours."""
    corpus = write_corpus(tmp_path / "corpus.txt")
    known = [word for word, _ in collections.Counter(corpus.read_text().split()).most_common(20)]
    chosen = ["nowhere", *known, "at", "all"]
    counted = "" if form == "words" else "\t7"
    (tmp_path / "list").write_text("".join(f"{word}{counted}\n" for word in chosen))
    arguments = [f"--input={corpus}", f"--output={tmp_path / 'run'}", f"--vocabulary={tmp_path / 'list'}", *ALONE]
    outcome = train(*arguments, "--power=0")
    assert outcome.status == 0, outcome.stderr
    told = "3 of the 23 words of --vocabulary do not occur in the corpus ('nowhere', 'at', 'all')"
    assert told in outcome.stderr
    assert told in train(*arguments, "--power=0").stderr
    taken = train(f"--corpus={tmp_path / 'run'}", f"--output={tmp_path / 'taken'}", "--no_report", *BESIDE)
    assert taken.stderr.count(told) == 1
    assert taken.digest == outcome.digest
    run = Run.open(str(tmp_path / "run"))
    assert run.words() == chosen
    assert np.flatnonzero(run.absent()).tolist() == [0, 21, 22]
    assert run.vocabulary()["count"].to_pylist()[0] == (0 if form == "words" else 7)
    drawn = {word for batch in run.batches() for row in batch["negatives"].to_pylist() for word in row}
    assert drawn == set(range(1, 21))
    first = initial_vectors(chosen, run.options.dims, run.options.seed)
    assert (run.vectors()[[0, 21, 22]] == first[[0, 21, 22]]).all()
    assert not run.vectors("output")[[0, 21, 22]].any()
    near = dict(run.nearest(known[3], 100))
    assert sorted(near) == sorted(set(known) - {known[3]})
    assert run.read_vectors(top=2).words.to_pylist() == known[:2]
    with pytest.raises(InputError, match="'at' stands in --vocabulary and does not occur in the corpus"):
        run.nearest("at")
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("nowhere") == page.count(told) == 1  # in the warning alone
    policy = ("--negative_policy=distinct", "--negatives=20", "--overwrite")
    assert (
        "needs a vocabulary of at least 21 words, those of --vocabulary that occur, and have no count of 0, are 20:"
        " list more words, lower --negatives" in train(*arguments, *policy).error
    )


def test_a_list_with_one_word_of_each_sentence_is_refused_with_its_own_remedy(tmp_path):
    (tmp_path / "text").write_text("a rose is red\nthe sky was blue\n" * 50)
    (tmp_path / "list").write_text("rose\nsky\n")
    arguments = [f"--input={tmp_path / 'text'}", f"--output={tmp_path / 'run'}", *TINY]
    error = train(*arguments, f"--vocabulary={tmp_path / 'list'}").error
    assert "has two words of the vocabulary" in error
    assert error.endswith("list more words in --vocabulary")
