"""`beam2vec.train(sentences=...)`: what users of gensim type."""

from __future__ import annotations

import itertools
import pathlib
import random
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beam2vec
from pipeline.corpus import given_sentences
from pipeline.corpus.given_sentences import spooled
from tests.helpers.commands import run

OPTIONS = {"dims": 8, "batch_size": 32, "epochs": 2, "min_count": 1}
DRAW = random.Random(0)
WORDS = [*(f"w{number}" for number in range(30)), "New York"]
LISTS = [DRAW.choices(WORDS, range(31, 0, -1), k=1 + DRAW.randrange(9)) for _ in range(300)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> beam2vec.Run:
    return beam2vec.train(sentences=LISTS, output=tmp_path_factory.mktemp("lists") / "run", **OPTIONS)


def files(folder) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in pathlib.Path(folder, "sentences").iterdir()}


def test_the_model_is_that_of_the_same_words_in_files(trained, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join("\t".join(words) + "\n" for words in LISTS))
    of_files = beam2vec.train(text, tmp_path / "run", split="\t", **OPTIONS)
    assert of_files.checkpoint().digest == trained.checkpoint().digest
    assert "New York" in trained


def test_the_same_sentences_again_are_a_finished_run_whatever_holds_them(trained, caplog):
    before, digest = files(trained.uri), trained.checkpoint().digest
    kinds = (
        LISTS,
        (tuple(words) for words in LISTS),
        pa.chunked_array([LISTS[:5], LISTS[5:]]),
        map(iter, [[], *LISTS, ["", ""]]),
        [["", *words] for words in LISTS],
    )
    for sentences in kinds:
        caplog.clear()
        with caplog.at_level("INFO", "pipeline"):
            again = beam2vec.train(sentences=sentences, output=trained.uri, **OPTIONS)
        assert "had ended before" in caplog.text
        assert again.checkpoint().digest == digest
    assert files(trained.uri) == before


@pytest.mark.parametrize("others", [LISTS[:-1], LISTS[::-1], [[*LISTS[0], *LISTS[1]], *LISTS[2:]]])
def test_other_sentences_are_refused_and_leave_no_trace(trained, others):
    before = files(trained.uri)
    with pytest.raises(beam2vec.InputError, match=r"differs: the sentences are not those that it was made from\."):
        beam2vec.train(sentences=others, output=trained.uri, **OPTIONS)
    assert files(trained.uri) == before


def test_overwriting_replaces_them(tmp_path):
    for sentences in (LISTS[:100], LISTS):
        made = beam2vec.train(sentences=sentences, output=tmp_path, overwrite=True, **OPTIONS)
    (path,) = (tmp_path / "sentences").iterdir()
    assert pq.read_table(path)["words"].to_pylist() == LISTS
    assert made.vocabulary_tokens() == sum(map(len, LISTS))


def test_commands_that_read_the_input_again_find_it(trained):
    outcome = run("jobs.verify", f"--run={trained.uri}", "--input")
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    outcome = run("jobs.reproduce", f"--run={trained.uri}")
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    assert "not as it was" not in outcome.stdout
    (path,) = pathlib.Path(trained.uri, "sentences").iterdir()
    kept = path.read_bytes()
    try:
        with spooled(LISTS[::-1]) as other:
            path.write_bytes(pathlib.Path(other.spooled.uri).read_bytes())
        assert run("jobs.verify", f"--run={trained.uri}", "--input").status == 1
    finally:
        path.write_bytes(kept)


def test_a_preprocessed_corpus_takes_them_too(trained, tmp_path):
    corpus = beam2vec.preprocess(sentences=iter(LISTS), output=tmp_path / "corpus", min_count=1)
    made = beam2vec.train(corpus=corpus, output=tmp_path / "run", **OPTIONS)
    assert made.checkpoint().digest == trained.checkpoint().digest


def test_new_sentences_update_a_model_as_new_files_do(trained, tmp_path):
    new = [["new", *words] for words in LISTS[:40]]
    updated = beam2vec.update(trained, sentences=iter(new), output=tmp_path / "updated")
    for name, lists in (("old", LISTS), ("new", new)):
        (tmp_path / name).write_text("".join("\t".join(words) + "\n" for words in lists))
    old = beam2vec.train(tmp_path / "old", tmp_path / "run", split="\t", **OPTIONS)
    of_files = beam2vec.update(old, tmp_path / "new", tmp_path / "of_files")
    assert updated.vocabulary().equals(of_files.vocabulary())
    assert updated.checkpoint().digest == of_files.checkpoint().digest
    assert beam2vec.update(trained, sentences=new, output=tmp_path / "updated").checkpoint().digest == (
        updated.checkpoint().digest
    )
    with pytest.raises(beam2vec.InputError, match="have taken these sentences already"):
        beam2vec.update(trained, sentences=LISTS, output=tmp_path / "again")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sentences": ["a rose is"]}, r"^sentences\[0\] is the string 'a rose is', not a list of words: split it"),
        ({"sentences": [["a"], b"a rose"]}, r"^sentences\[1\] is the string .* split it, by .split\(\) say"),
        ({"sentences": "texts.txt"}, "^sentences='texts.txt' is one text: give lists of words, or a file as input"),
        ({"sentences": pathlib.Path("texts.txt")}, "is one text"),
        ({"sentences": [["a"], [1]]}, r"^sentences\[1\] is '\[1\]': give a list of strings .* write numbers as text"),
        ({"sentences": [["a", None]]}, "give a list of strings"),
        ({"sentences": [["\udcff"]]}, "that UTF-8 can hold"),
        ({"sentences": [7]}, r"sentences\[0\] is '7'"),
        ({"sentences": []}, "^sentences hold no word: .* an iterator can be read only once"),
        ({"sentences": [[], [""]]}, "^sentences hold no word"),
        ({"sentences": LISTS, "input": "a.txt"}, "give either input .*, sentences .* or corpus"),
        ({"sentences": LISTS, "corpus": "a"}, "give either"),
        ({"input": [["a", "rose"]]}, "give lists of words as sentences"),
        ({"sentences": LISTS, "field": "x"}, "^field goes with input, not with sentences"),
        ({"sentences": LISTS, "lowercase": True}, "leave lowercase out"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(tmp_path, given, message):
    with pytest.raises(beam2vec.InputError, match=message):
        beam2vec.train(**{"output": tmp_path / "run", **OPTIONS, **given})
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_users_generator_is_theirs(tmp_path):
    def failing():
        yield ["a"]
        raise RuntimeError("no more rows")

    with pytest.raises(RuntimeError, match="no more rows"):
        beam2vec.train(sentences=failing(), output=tmp_path / "run")


def test_memory_does_not_grow_with_the_sentences(monkeypatch):
    monkeypatch.setattr(given_sentences, "_GROUP_BYTES", 1 << 14)

    def peak(count: int) -> int:
        tracemalloc.start()
        with spooled(itertools.repeat(["rose"] * 10, count)):
            return tracemalloc.get_traced_memory()[1]

    peak(1000)
    assert peak(20_000) < 2 * peak(2_000)
    tracemalloc.stop()


def test_temporary_files_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with spooled(LISTS):
        assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(beam2vec.InputError), spooled([["a"], "b"]):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [42, {("a", "b")}, [{"a", "b"}], [{"a": 1}]])
def test_what_has_no_order_is_refused(tmp_path, wrong):
    """The words of a set came in another order in each process, so no two models were the same."""
    with pytest.raises(beam2vec.InputError, match=r"^sentences.*a (set|dict).* no order"):
        beam2vec.train(sentences=wrong, output=tmp_path / "run", **OPTIONS)
