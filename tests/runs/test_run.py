"""A run read as a library: everything it gives is what the trainer used."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from beam2vec import Run
from beam2vec import train as train_run
from pipeline.batches.rows import to_numpy
from pipeline.batches.schedule import Schedule
from pipeline.errors import InputError
from pipeline.model.checkpoints import read_checkpoint
from tests.helpers.commands import ALONE, TINY, train, write_corpus

JSON = ("--input_format=jsonl", "--field=x")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    corpus = write_corpus(folder / "corpus.txt")
    outcome = train(f"--input={corpus}", f"--output={folder / 'run'}", *ALONE, "--checkpoint_every=20")
    assert outcome.status == 0, outcome.stderr
    return Run.open(str(folder / "run"))


def test_vectors_and_words_are_those_of_the_checkpoint(run):
    model = read_checkpoint(run.records, run.checkpoint())
    np.testing.assert_array_equal(run.vectors(), model.input)
    np.testing.assert_array_equal(run.vectors("output"), model.output)
    np.testing.assert_array_equal(run.vectors("mean"), (model.input + model.output) / 2)
    np.testing.assert_array_equal(run.vectors(top=7), model.input[:7])
    assert run.words() == model.words.to_pylist() == run.vocabulary()["word"].to_pylist()
    assert run.words(top=3) == run.words()[:3]
    with pytest.raises(InputError, match="--vectors=both: allowed are input, output, mean"):
        run.vectors("both")


def test_nearest_words_by_name(run):
    words, vectors = run.words(), run.vectors().astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors[5]
    cosine[5] = -1
    found = run.nearest(words[5], top=3)
    assert [word for word, _ in found] == [words[i] for i in np.argsort(-cosine)[:3]]
    assert found[0][1] == pytest.approx(cosine.max(), abs=1e-6)
    with pytest.raises(InputError, match=f"is not in the vocabulary.*did you mean.*{words[5]}"):
        run.nearest(words[5] + "x")


def test_a_run_shows_the_step_of_its_newest_checkpoint(run, tmp_path):
    last = run.checkpoint().step
    assert last == Schedule.of(run.options, run.vocabulary_tokens()).steps
    assert repr(run) == f"<Run {run.uri}: step {last} of {last}>"
    (tmp_path / "run.json").write_bytes(run.directory.storage.read("run.json"))
    assert "has no checkpoint yet" in repr(Run.open(str(tmp_path)))


def test_step_selects_a_checkpoint_and_a_wrong_one_lists_those_there(run):
    last = run.checkpoint()
    assert not np.array_equal(run.vectors(step=20), run.vectors())
    with pytest.raises(InputError, match=rf"--step=21: .* there are: 20, .*{last.step}"):
        run.vectors(step=21)


def test_batches_of_a_stream_are_those_of_a_stored_run(run, tmp_path):
    source = run.identity["inputs"][0]["uri"]
    other = train(f"--input={source}", f"--output={tmp_path}", *TINY, "--batches=stored", "--block_bytes=5000")
    assert other.status == 0, other.stderr
    stored = Run.open(str(tmp_path))
    assert len(stored.shards()) > 1
    assert all(shard.stored for shard in stored.shards())
    for epoch in range(2):
        ours, theirs = ([to_numpy(batch) for batch in one.batches(epoch)] for one in (run, stored))
        for part in ("target", "context", "negatives"):
            joined = [np.concatenate([getattr(rows, part) for _, rows in batches]) for batches in (ours, theirs)]
            np.testing.assert_array_equal(*joined)
    with pytest.raises(InputError, match="epochs 0 to 1"):
        run.batches(2)


def test_metrics_and_unigram_go_with_the_run(run):
    metrics = run.metrics()
    assert metrics["step"][-1].as_py() == run.checkpoint().step
    assert len(run.unigram().probability) == run.vocabulary().num_rows


def test_keyed_vectors_are_gensims(run):
    pytest.importorskip("gensim")
    keyed = run.keyed_vectors()
    words = run.words()
    np.testing.assert_array_equal(keyed[words[5]], run.vectors()[5])
    assert keyed.get_vecattr(words[5], "count") == run.vocabulary()["count"][5].as_py()


def test_no_run_and_no_checkpoint_are_told(tmp_path, run):
    with pytest.raises(InputError, match="is not the output of a run"):
        Run.open(str(tmp_path))
    (tmp_path / "run.json").write_bytes(run.directory.storage.read("run.json"))
    begun = Run.open(str(tmp_path))
    for ask in (begun.vectors, begun.vocabulary, begun.batches):
        with pytest.raises(InputError, match=r"yet: run beam2vec train"):
            ask()


def test_half_encoded_corpus_gives_no_batches(run, tmp_path):
    for info in run.directory.storage.list():
        if not info.path.startswith(("records/tokens", "tokens")):
            (tmp_path / info.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / info.path).write_bytes(run.directory.storage.read(info.path))
    with pytest.raises(InputError, match="has 0 of"):
        Run.open(str(tmp_path)).batches(0)


def test_importing_the_package_imports_nothing_heavy():
    check = "import sys, pipeline; assert not {'numpy', 'numba', 'pyarrow', 'apache_beam'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
    check = "from beam2vec import Run; import sys; assert not {'apache_beam', 'gensim'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_checkpoint_read_by_parquet_alone_agrees(run):
    part = run.directory.storage.root + "/" + run.checkpoint().parts[0].path
    assert pq.read_table(part, partitioning=None)["word"].to_pylist() == run.words()


def test_integers_stay_integers(tmp_path):
    """`nearest(42)` raised, and `words()` gave texts."""
    rows = [{"x": row} for row in np.random.default_rng(0).integers(40, 49, (200, 5)).tolist()]
    (tmp_path / "rows").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    output = str(tmp_path / "run")
    assert train(
        f"--input={tmp_path / 'rows'}", f"--output={output}", "--input_format=jsonl", "--field=x", *TINY
    ).digest
    run = Run(output)
    assert sorted(run.words()) == list(range(40, 49))
    assert run.words(top=2) == run.words()[:2]
    near = run.nearest(42, 100)
    assert sorted(word for word, _ in near) == [40, 41, *range(43, 49)]
    assert run.nearest("42", 100) == near
    with pytest.raises(InputError, match="nearest: '7' is not in the vocabulary of 9 words"):
        run.nearest(7)


def test_one_word_and_words_together_are_as_in_gensim(run):
    keyed = run.keyed_vectors()
    words = run.words()
    a, b, c = words[3], words[40], words[-1]
    assert (run.vector(a) == keyed[a]).all()
    assert (run.vector(c, "output") == run.vectors("output")[-1]).all()
    assert a in run
    assert "nowhere" not in run
    assert "\udcff" not in run
    assert run.similarity(a, b) == pytest.approx(float(keyed.similarity(a, b)), abs=1e-6)
    assert run.similarity(a, a) == pytest.approx(1)
    for positive, negative in (([a, b], [c]), ([a], []), ([], [b]), ([a, a], [b])):
        near = run.nearest(positive=positive, negative=negative, top=5)
        wanted = keyed.most_similar(positive=positive, negative=negative, topn=5)
        assert [word for word, _ in near] == [word for word, _ in wanted]
        np.testing.assert_allclose([cosine for _, cosine in near], [cosine for _, cosine in wanted], atol=1e-6)
    assert run.nearest(a, 7) == run.nearest(positive=[a], top=7)
    assert len(run.nearest(a, 10**6)) == len(words) - 1
    for chosen in (words[:5], [a, b, c], [a, a, b], [a]):
        assert run.odd_one_out(chosen) == keyed.doesnt_match(chosen)
    assert (
        [run.index(word) for word in (a, b, c)]
        == [keyed.key_to_index[word] for word in (a, b, c)]
        == [3, 40, len(words) - 1]
    )
    with pytest.raises(InputError, match="vector: 'nowhere' is not in the vocabulary"):
        run.vector("nowhere")
    with pytest.raises(InputError, match="index: 'nowhere' is not in the vocabulary"):
        run.index("nowhere")
    with pytest.raises(InputError, match="odd_one_out: give a list of words"):
        run.odd_one_out([])
    with pytest.raises(InputError, match="odd_one_out: give a list of words"):
        run.odd_one_out(a)
    with pytest.raises(InputError, match="give a word, or words as positive and negative"):
        run.nearest()


def test_a_string_is_one_word_and_not_its_letters(run):
    """`positive="king"` asked for k, i, n and g."""
    a, b = run.words(top=2)
    assert run.nearest(positive=a, negative=b, top=3) == run.nearest(positive=[a], negative=[b], top=3)
    assert run.nearest(positive=[a], negative=None, top=3) == run.nearest(positive=a, top=3)  # as in gensim
    assert run.nearest([a, b], 3) == run.nearest(positive=[a, b], top=3)  # the same
    with pytest.raises(InputError, match="nearest: give a word"):
        run.nearest([])


@pytest.mark.parametrize("top", [-1, 2.5, "3", True])
def test_how_many_is_a_whole_number(run, top):
    """-1 gave all but the last word, and others a traceback of NumPy's."""
    word = run.words(top=1)[0]
    for ask in (run.words, run.vectors, run.read_vectors, lambda top: run.nearest(word, top)):
        with pytest.raises(InputError, match=r"^top='.*': give a whole number of at least 0$"):
            ask(top=top)
    assert len(run.vectors(top=np.int64(2))) == 2
    assert run.nearest(word, 0) == run.words(top=0) == []


def test_a_row_or_what_is_no_text_is_never_taken_for_a_word(tmp_path):
    """`vector(5)` gave that of the word "5", where gensim's gives row 5; `None in run` was that of the word "None"."""
    sentences = [["5", "None", "0.5", "True", "word"]] * 40
    run = train_run(sentences=sentences, output=tmp_path / "run", dims=4, batch_size=32)
    for wrong in (5, np.int64(5), None, 0.5, True, ("5",), ["word"], b"word"):
        assert wrong not in run
        for ask in (
            run.vector,
            run.index,
            lambda word: run.similarity("word", word),
            lambda word: run.odd_one_out([word]),
        ):
            with pytest.raises(InputError, match=rf"is no word but of type {type(wrong).__name__}: give text"):
                ask(wrong)
        with pytest.raises(InputError, match=r"nearest: .* is no word but of type"):
            run.nearest(["word", wrong])
    for wrong in (5, 0.5, run.vector("word"), [("word", 1.0)]):
        with pytest.raises(InputError, match=r"nearest: .* is no word but of type"):
            run.nearest(wrong)
    for scalar in (run.vocabulary()["word"][0], np.str_("word")):
        assert scalar in run
        assert len(run.nearest(scalar)) == len(run.nearest([scalar])) == 4


def test_a_mistyped_word_is_told_the_near_ones_by_whatever_was_asked(run):
    word = max(run.words(), key=len)
    for name, ask in {
        "vector": run.vector,
        "index": run.index,
        "similarity": lambda wrong: run.similarity(word, wrong),
        "odd_one_out": lambda wrong: run.odd_one_out([word, wrong]),
        "nearest": run.nearest,
    }.items():
        with pytest.raises(InputError, match=rf"^{name}: '{word}x' is not in the vocabulary of .* '{word}'"):
            ask(word + "x")
