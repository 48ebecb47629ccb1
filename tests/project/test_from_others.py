"""The pages for those who come from elsewhere: each name of theirs has a line, and what is said of ours holds."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam2vec
from jobs.cli.names_elsewhere import named_elsewhere
from tests.helpers.commands import ROOT, write_corpus

GENSIM, SPARK = ((ROOT / "docs" / f"from-{name}.md").read_text(encoding="utf-8") for name in ("gensim", "spark"))
SPARK_PARAMETERS = (
    *("vectorSize", "minCount", "numPartitions", "stepSize", "maxIter", "seed", "inputCol", "outputCol"),
    *("windowSize", "maxSentenceLength"),
)
"""Of pyspark.ml.feature.Word2Vec, in Spark 4."""


def first_column(page):
    """All names in the first cells of a page's tables."""
    return {name for cell in re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE) for name in re.findall(r"`(.*?)`", cell)}


def snippets(page):
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    text = write_corpus(tmp_path_factory.mktemp("text") / "corpus.txt", words=150)
    lists = [line.split() for line in text.read_text("utf-8").splitlines()]
    return [["coffee", "tea", "cup", *words] if number % 3 else words for number, words in enumerate(lists)]


@pytest.fixture(scope="module")
def run(sentences, tmp_path_factory):
    return beam2vec.train(sentences=sentences, output=tmp_path_factory.mktemp("run") / "run", dims=16, batch_size=256)


def test_each_parameter_of_gensim_has_a_line():
    word2vec = pytest.importorskip("gensim.models").Word2Vec
    parameters = set(inspect.signature(word2vec.__init__).parameters) - {"self"}
    named = first_column(GENSIM)
    assert {name for name in parameters if not any(re.match(rf"{name}\b", other) for other in named)} == set()


def test_each_parameter_of_spark_has_a_line():
    assert set(SPARK_PARAMETERS) <= first_column(SPARK)


def test_each_name_that_is_no_option_here_is_answered():
    """hashfxn, null_word, callbacks, comment and the names of Spark were not."""
    named = first_column(GENSIM.split("## The model")[0]) | set(SPARK_PARAMETERS)
    no_options = {"sentences", "Phrases", "word2phrase", "get_latest_training_loss"}
    ours = {*beam2vec.Options.__dataclass_fields__, *no_options}
    of_theirs = {re.split(r"[=,]", name)[0] for name in named} - ours
    assert len(of_theirs) > 30
    assert [name for name in of_theirs if not named_elsewhere(f"--{name}")] == []


def test_the_first_lines_of_the_page_run(sentences, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (snippet,) = snippets(GENSIM)
    names = {"sentences": sentences}
    exec(compile(snippet, "from-gensim.md", "exec"), names)
    assert len(names["run"].nearest("coffee")) == 10


def test_what_gensim_answers_is_what_a_run_answers(run):
    pytest.importorskip("gensim")
    wv, words = run.keyed_vectors(), ["coffee", "tea", "cup"]
    assert (list(wv.index_to_key), wv.key_to_index["tea"]) == (run.words(), run.index("tea"))
    assert wv.get_vecattr("coffee", "count") == run.vocabulary()["count"][run.index("coffee")].as_py()
    np.testing.assert_array_equal(wv["coffee"], run.vector("coffee"))
    for theirs, ours in [
        (wv.most_similar("coffee", topn=5), run.nearest("coffee", top=5)),
        (
            wv.most_similar(positive=["coffee", "tea"], negative=["cup"], topn=5),
            run.nearest(positive=["coffee", "tea"], negative=["cup"], top=5),
        ),
    ]:
        assert [word for word, _ in theirs] == [word for word, _ in ours]
        np.testing.assert_allclose([cosine for _, cosine in theirs], [cosine for _, cosine in ours], atol=1e-5)
    assert wv.similarity("coffee", "tea") == pytest.approx(run.similarity("coffee", "tea"), abs=1e-6)
    for other in run.words()[:20]:
        assert wv.doesnt_match([*words, other]) == run.odd_one_out([*words, other])


def test_a_column_that_spark_has_written_becomes_vectors_of_documents(sentences, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    documents = [[*words, f"rare{number}"] for number, words in enumerate(sentences)]
    pq.write_table(pa.table({"tokens": documents}), tmp_path / "reviews" / "part-00000.snappy.parquet")
    (tmp_path / "reviews" / "_SUCCESS").write_bytes(b"")
    names: dict = {}
    train, average = snippets(SPARK)
    exec(compile(train, "from-spark.md", "exec"), names)
    exec(compile(average, "from-spark.md", "exec"), names)
    run, features = names["run"], names["features"]
    assert features.shape == (len(documents), 100)
    known = [run.vector(word) for word in documents[0] if word in run]
    np.testing.assert_allclose(features[0], np.sum(known, axis=0) / len(documents[0]), atol=1e-6)
    assert len(known) < len(documents[0])
    read = pq.read_table("runs/reviews/checkpoints", columns=["word", "input"], partitioning=None)
    assert read["word"].to_pylist() == run.words()


def test_defaults_are_as_the_pages_say():
    defaults = beam2vec.Options()
    assert (defaults.window, defaults.min_count, defaults.max_sentence, defaults.epochs) == (5, 5, 1000, 5)
    assert (defaults.learning_rate, defaults.subsample, defaults.model) == (0.05, 0.001, "skipgram")
    gensim = pytest.importorskip("gensim.models").Word2Vec
    theirs = {name: one.default for name, one in inspect.signature(gensim.__init__).parameters.items()}
    assert (theirs["alpha"], theirs["sample"], theirs["sg"], theirs["window"]) == (0.025, 0.001, 0, 5)
