"""Evaluation, against gensim on the same vectors and against plain definitions."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from pipeline.analysis import evaluation
from pipeline.analysis.evaluation import METHODS, evaluate_analogies, evaluate_pairs, spearman
from pipeline.analysis.judgements import read_analogies, read_pairs
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
    assert judged.invalid == 0
    assert found.spearman == pytest.approx(rank[0], abs=1e-6)
    assert found.pearson == pytest.approx(pearson[0], abs=1e-6)
    assert 100 * found.unknown / (found.pairs + found.unknown) == pytest.approx(unknown)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ignore_case", [True, False])
@pytest.mark.parametrize("most_frequent", [300_000, 120])
def test_analogies_score_as_in_gensim(model, analogies_file, most_frequent, ignore_case, method):
    words, vectors = model
    keyed = keyed_vectors(words, vectors)
    if method == "3cosmul":
        keyed.most_similar = keyed.most_similar_cosmul
    score, sections = keyed.evaluate_word_analogies(
        analogies_file, restrict_vocab=most_frequent, case_insensitive=ignore_case
    )
    analogies = read_analogies(analogies_file)
    found = evaluate_analogies(words, vectors, analogies, most_frequent, ignore_case, method=method)
    assert 0.01 < score < 0.99
    assert found.total.accuracy == pytest.approx(score, abs=1e-6)
    assert [(s.name, s.correct, s.questions) for s in found.sections] == [
        (s["section"], len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections[:-1]
    ]
    assert found.sections[-1].unknown == 1
    assert found.sections[-1].accuracy == 0


def test_the_two_ways_to_answer_differ_where_levy_and_goldberg_say(write):
    """3CosAdd takes what is much like one word alone; 3CosMul what is like both (their section 4)."""
    words = ["b", "c", "other", "a", "one", "both"]
    vectors = np.array([*np.eye(4), [0.95, 0, 0.3122, 0], [0.46, 0.46, 0.7595, 0]], np.float32)
    right = {
        method: [
            evaluate_analogies(words, vectors, read_analogies(write(f"a b c {word}")), method=method).total.correct
            for word in ("one", "both")
        ]
        for method in METHODS
    }
    # 0.95 + 0 - 0 > 0.46 + 0.46 - 0, and 0.975 * 0.5 / 0.5 < 0.73 * 0.73 / 0.5
    assert right == {"3cosadd": [1, 0], "3cosmul": [0, 1]}


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


def test_files_without_a_known_word_are_refused(model, write):
    words, vectors = model
    with pytest.raises(InputError, match="of 1 pair none has all words among the 180 most frequent"):
        evaluate_pairs(words, vectors, read_pairs(write("w1 nobody 3")))
    with pytest.raises(InputError, match="of 1 question none has"):
        evaluate_analogies(words, vectors, read_analogies(write("w1 w2 w3 nobody")))
