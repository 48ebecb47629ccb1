"""Evaluation, against gensim on the same vectors and against plain definitions."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from pipeline.analysis import evaluation
from pipeline.analysis.evaluation import evaluate_analogies, evaluate_pairs, read_analogies, read_pairs, spearman
from pipeline.errors import InputError


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def model(rng):
    """Words with variants of case, most frequent first, and vectors with common directions."""
    words = [f"w{i}" for i in range(180)]
    words[50], words[170], words[171] = "W3", "W7", "w7é"
    vectors = rng.normal(size=(180, 12)) + 2 * rng.normal(size=(6, 12))[np.arange(180) % 6]
    vectors[50] = 1.01 * vectors[3] + 0.01  # a variant that would be the answer where its word is asked about
    return words, (3 * vectors).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "file.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def keyed_vectors(words, vectors):
    models = pytest.importorskip("gensim.models")
    keyed = models.KeyedVectors(vectors.shape[1])
    keyed.add_vectors(words, vectors)
    return keyed


@pytest.fixture
def pairs_file(rng, write):
    ids = rng.integers(0, 200, size=(400, 2))  # those from 180 on are in no vocabulary
    ids = ids[ids[:, 0] != ids[:, 1]]  # of equal words the cosine is 1 here, and 1 or nearly so in gensim
    lines = [f"{'Wwww'[a % 4]}{a}\tw{b}\t{rng.integers(0, 20) / 2}" for a, b in ids]
    return write("\n".join(["# judged by nobody", "word 1\tword 2\tmean", *lines]))


@pytest.fixture
def analogies_file(rng, write):
    lines = []
    for section in range(3):
        lines.append(f": section {section}")
        lines += [" ".join(f"w{i}" for i in rng.integers(0, 185, size=4)) for _ in range(150)]
        lines += [f"w{a} w{a + 6} w{b} w{b + 6}" for a, b in rng.integers(0, 170, size=(200, 2))]
        lines.append("only three words")
    return write("\n".join([*lines, ": nobody knows", "x1 x2 x3 x4"]))


@pytest.mark.parametrize("ignore_case", [True, False])
@pytest.mark.parametrize("most_frequent", [300_000, 120])
def test_pairs_score_as_in_gensim(model, pairs_file, most_frequent, ignore_case):
    words, vectors = model
    pearson, rank, unknown = keyed_vectors(words, vectors).evaluate_word_pairs(
        pairs_file, restrict_vocab=most_frequent, case_insensitive=ignore_case
    )
    judged = read_pairs(pairs_file)
    found = evaluate_pairs(words, vectors, judged, most_frequent, ignore_case)
    assert judged.invalid == 1
    assert found.spearman == pytest.approx(rank[0], abs=1e-6)
    assert found.pearson == pytest.approx(pearson[0], abs=1e-6)
    assert 100 * found.unknown / (found.pairs + found.unknown) == pytest.approx(unknown)


@pytest.mark.parametrize("ignore_case", [True, False])
@pytest.mark.parametrize("most_frequent", [300_000, 120])
def test_analogies_score_as_in_gensim(model, analogies_file, most_frequent, ignore_case):
    words, vectors = model
    score, sections = keyed_vectors(words, vectors).evaluate_word_analogies(
        analogies_file, restrict_vocab=most_frequent, case_insensitive=ignore_case
    )
    found = evaluate_analogies(words, vectors, read_analogies(analogies_file), most_frequent, ignore_case)
    assert 0.01 < score < 0.99
    assert found.total.accuracy == pytest.approx(score, abs=1e-6)
    assert [(s.name, s.correct, s.questions) for s in found.sections] == [
        (s["section"], len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections[:-1]
    ]
    assert found.sections[-1].unknown == 1
    assert found.sections[-1].accuracy == 0


def test_a_variant_of_a_word_of_the_question_is_no_answer(write):
    words = ["a", "b", "c", "d", "B"]
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0.1], [0, 0.8, 0.6], [0, 1, 0]], np.float32)
    analogies = read_analogies(write(": s\na B c d"))
    assert evaluate_analogies(words, vectors, analogies).total.correct == 1
    analogies = read_analogies(write(": s\na b c d"))
    assert evaluate_analogies(words, vectors, analogies, ignore_case=False).total.correct == 0


@pytest.mark.parametrize(("vector_block", "question_block"), [(1, 1000), (7, 64), (1000, 3)])
def test_blocks_do_not_change_the_answers(model, analogies_file, vector_block, question_block, monkeypatch):
    words, vectors = model
    analogies = read_analogies(analogies_file)
    wanted = evaluate_analogies(words, vectors, analogies)
    monkeypatch.setattr(evaluation, "VECTOR_BLOCK", vector_block)
    monkeypatch.setattr(evaluation, "QUESTION_BLOCK", question_block)
    monkeypatch.setattr(evaluation, "_WORD_BLOCK", vector_block)
    told = []
    found = evaluate_analogies(pa.array(words), vectors, analogies, report=lambda *at: told.append(at))
    assert found == wanted
    assert told[-1] == (180, 180)


def test_memory_is_that_of_some_blocks(rng, write):
    vectors = rng.random((100_000, 64), np.float32)
    words = pa.array([f"w{i}" for i in range(100_000)])
    questions = "\n".join(" ".join(f"w{i}" for i in row) for row in rng.integers(0, 100_000, size=(3000, 4)))
    analogies = read_analogies(write(questions))
    tracemalloc.start()
    evaluate_analogies(words, vectors, analogies)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


def test_ranks_of_equal_values_are_shared():
    assert evaluation.average_ranks(np.array([3.0, 1, 3, 2, 3])).tolist() == [4, 1, 4, 2, 4]
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 200, 3000])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([4.0, 3, 3, 1])) == pytest.approx(-1)
    assert math.isnan(spearman(np.array([1.0, 2]), np.array([5.0, 5])))


@pytest.mark.parametrize(
    "text",
    [
        "love\tsex\t6.77\nnew york\tcity\t3\n",
        "Word 1,Word 2,Human (mean)\r\nlove,sex,6.77\r\nnew york,city,3\r\n",
        b"\xef\xbb\xbflove\tsex\t6.77\r\n\r\n# told\r\nnew york\tcity\t3.0",
        "word1\tword2\tPOS\tscore\tsd\nlove\tsex\tN\t6.77\t1\nnew york\tcity\tN\t3\t2",
    ],
)
def test_pairs_are_read_from_files_as_they_come(write, text):
    judged = read_pairs(write(text))
    assert judged.pairs == [("love", "sex"), ("new york", "city")]
    assert judged.similarity.tolist() == [6.77, 3]


def test_pairs_may_be_separated_by_blanks(write):
    judged = read_pairs(write("sun sunlight 50.0\ncat\n  stairs   railing  41\n"))
    assert judged.pairs == [("sun", "sunlight"), ("stairs", "railing")]
    assert judged.invalid == 1


def test_analogies_need_no_section(write):
    analogies = read_analogies(write(b"\xef\xbb\xbfa b c d\n: next one\ne f g h\r\n"))
    assert analogies.sections == [("", [("a", "b", "c", "d")]), ("next one", [("e", "f", "g", "h")])]


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "cat\ndog\n", "cat\tdog\n", "cat,dog,nan"])
def test_a_file_without_pairs_is_named(write, text):
    uri = write(text)
    with pytest.raises(InputError, match="holds no word pairs") as error:
        read_pairs(uri)
    assert uri in str(error.value)


def test_a_file_without_analogies_is_named_with_its_first_line(write):
    with pytest.raises(InputError, match=r"holds no analogies.* the first line is 'love\\tsex"):
        read_analogies(write("love\tsex\t6.77"))


def test_other_than_utf8_is_refused(write):
    with pytest.raises(InputError, match="not UTF-8 text at byte 1"):
        read_pairs(write("lé\tsex\t6.77".encode("latin-1")))


def test_files_without_a_known_word_are_refused(model, write):
    words, vectors = model
    with pytest.raises(InputError, match="none of its 1 pairs has all words among the 180 most frequent"):
        evaluate_pairs(words, vectors, read_pairs(write("w1 nobody 3")))
    with pytest.raises(InputError, match="none of its 1 questions"):
        evaluate_analogies(words, vectors, read_analogies(write("w1 w2 w3 nobody")))
