"""Phrases: the formula by hand, plain Python and gensim as oracles, and the whole job on any layout."""

from __future__ import annotations

import collections
import pathlib
import random

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam2vec import Run
from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.readers.reader import Reader
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import ArtifactError, InputError
from pipeline.options import Options
from pipeline.runs.directory import open_run
from pipeline.runs.stage_keys import stage_keys
from pipeline.runs.verify import verify_run
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import groups_to_parquet, read_group
from pipeline.storage.records import Records
from pipeline.words import phrases as phrases_module
from pipeline.words.counts import count_unit
from pipeline.words.merging import merge_counts, prune
from pipeline.words.phrase_joining import Joiner, joining
from pipeline.words.phrases import (
    PairCounts,
    Scoring,
    bucket_phrases,
    count_pairs,
    frequent_words,
    pairs_to_parquet,
    phrases_table,
)
from tests.helpers.commands import TINY, digest_of, preprocess, run, train
from tests.helpers.crashing import Moment, kill, run_until

Sentences = list[list[str]]
RECORDS = Records(open_storage("memory://phrases"))
ON = ("--phrases=2", "--phrase_threshold=6", "--phrase_discount=3")
"""Finds phrases of two and of three words in `write_phrases`."""


def plain_phrases(sentences: Sentences, discount: int, threshold: float) -> dict[tuple[str, str], float]:
    """Pair -> score of each phrase, as the paper and word2phrase.c have it."""
    words = collections.Counter(word for sentence in sentences for word in sentence)
    pairs = collections.Counter(pair for sentence in sentences for pair in zip(sentence, sentence[1:]))
    tokens = sum(words.values())
    scores = {(a, b): (n - discount) / words[a] / words[b] * tokens for (a, b), n in pairs.items()}
    return {pair: score for pair, score in scores.items() if score > threshold}


def plain_join(sentences: Sentences, phrases: dict[tuple[str, str], float]) -> Sentences:
    joined: Sentences = []
    for sentence in sentences:
        joined.append([])
        before = None
        for word in sentence:
            if (before, word) in phrases:
                joined[-1][-1] += "_" + word
                before = None
            else:
                joined[-1].append(word)
                before = word
    return joined


def text_of(sentences: Sentences) -> bytes:
    return "".join(" ".join(sentence) + "\n" for sentence in sentences).encode()


def one_pass(data: bytes, joiners: list[Joiner], discount: int, threshold: float, block_bytes: int) -> pa.Table:
    """The phrases of a pass as the job finds them, unit by unit and bucket by bucket."""
    RECORDS.storage.put("text", data)
    units = plan_work_units([(RECORDS.storage.uri("text"), len(data))], block_bytes)
    reader = joining(whitespace(), joiners)
    counted = [count_unit(unit, reader) for unit in units]
    words = frequent_words([prune(merge_counts(unit.table for unit in counted), discount + 1)])
    scoring = Scoring(sum(unit.tokens for unit in counted), discount, threshold)
    stored = []
    for unit, one in zip(units, counted):
        pairs = count_pairs(unit, reader, words, scoring, one.fingerprint)
        path = f"pairs/{unit.name}"
        stored.append(RECORDS.write_artifact(path, pairs_to_parquet(*pairs, scoring.buckets)))
    found = [bucket_phrases(RECORDS, stored, bucket, words, scoring) for bucket in range(scoring.buckets)]
    return phrases_table(found, words, scoring)


def test_a_bucket_is_found_behind_one_without_pairs():
    tables = {number: pa.table({"pair": [number]}) for number in (0, 2, 5)}
    RECORDS.storage.put("groups", groups_to_parquet(tables.items(), tables[0].schema, {}))
    found = [read_group(RECORDS.storage, "groups", number) for number in range(6)]
    assert found == [tables.get(number) for number in range(6)]


def whitespace() -> Reader:
    return TextReader(open_tokenizer("whitespace"), 1 << 20)


def joined_by_job(data: bytes, joiners: list[Joiner]) -> Sentences:
    RECORDS.storage.put("text", data)
    (unit,) = plan_work_units([(RECORDS.storage.uri("text"), len(data))], 1 << 20)
    portions = (portion for part in unit.ranges for portion in joining(whitespace(), joiners).read(part, DeadLetters()))
    return [sentence for portion in portions for spans in portion.spans for sentence in spans.sentences()]


words = st.sampled_from(["a", "b", "c", "d", "über", "a_b", "한국", "w" * 9, "x" * 17])
corpora = st.lists(st.lists(words, min_size=1, max_size=12), min_size=1, max_size=25)


@given(corpora, st.integers(0, 3), st.sampled_from([0, 0.5, 1, 2.5]), st.integers(1, 300), st.integers(1, 3), st.data())
@settings(deadline=None, max_examples=50)
def test_phrases_are_those_of_plain_python_whatever_the_cuts(sentences, discount, threshold, block_bytes, passes, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phrases_module, "_BUCKET_TOKENS", data.draw(st.sampled_from([20, 100, 1000])))
        patch.setattr(phrases_module, "_PENDING", data.draw(st.sampled_from([1, 10, 1000])))
        text, joiners, expected = text_of(sentences), [], sentences
        for _ in range(passes):
            wanted = plain_phrases(expected, discount, threshold)
            table = one_pass(text, joiners, discount, threshold, block_bytes)
            rows = table.to_pylist()
            assert {(row["first"], row["second"]): row["score"] for row in rows} == wanted
            keys = [(-row["score"], row["first"].encode(), row["second"].encode()) for row in rows]
            assert keys == sorted(keys)
            joiners.append(Joiner(table))
            expected = plain_join(expected, wanted)
            assert joined_by_job(text, joiners) == expected


def test_a_pair_that_only_reaches_the_threshold_is_no_phrase():
    """8 tokens; a and b: twice each, once together. The score is 2; by the words' counts it could have been 4."""
    for threshold, expected in ((1.9, True), (2.0, False)):
        rows = one_pass(b"a b\na\nb\nw x y z\n", [], 0, threshold, 1000).to_pylist()
        assert (("a", "b") in {(row["first"], row["second"]) for row in rows}) == expected


def test_the_score_is_that_of_the_paper():
    """30 tokens; new york: 8 times, new 9, york 8; the threshold is passed, not reached."""
    text = b"new york\n" * 8 + b"new it is\n" + b"it is it is it is\n" + b"york_\n" * 5
    score = (8 - 5) / (9 * 8) * 30
    assert one_pass(text, [], 5, 1.2, 1000).to_pylist() == [
        {"first": "new", "second": "york", "count": 8, "first_count": 9, "second_count": 8, "score": score}
    ]
    assert one_pass(text, [], 5, score, 1000).num_rows == 0
    assert one_pass(text, [], 8, 0, 1000).num_rows == 0


def test_joining_is_greedy_and_stays_in_the_sentence():
    table = pa.table({"first": ["a", "b", "c"], "second": ["b", "c", "c"]})
    joined = joined_by_job(b"a b c a b  c\nb\nc c c c c\n x  a\tb\nlast b", [Joiner(table)])
    assert joined == [["a_b", "c", "a_b", "c"], ["b"], ["c_c", "c_c", "c"], ["x", "a_b"], ["last", "b"]]


def write_phrases(path: pathlib.Path, lines: int = 500) -> Sentences:
    """Text with phrases of two and three words planted in it; integers alone decide it."""
    draw = random.Random(5)
    planted = [text.split() for text in ("new york times", "new york", "san francisco", "vier größer als", "of the")]
    others = [f"w{i}" for i in range(80)] + ["of", "the", "the", "als"] * 8
    sentences = []
    for _ in range(lines):
        sentence: list[str] = []
        for _ in range(draw.randrange(1, 9)):
            sentence += planted[draw.randrange(5)] if draw.randrange(4) == 0 else [others[draw.randrange(len(others))]]
        sentences.append(sentence)
    path.write_bytes(text_of(sentences))
    return sentences


def word2phrase(worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count):
    """gensim's default scorer, but times the tokens of the corpus, where that takes the length of its table."""
    return (bigram_count - min_count) / worda_count / wordb_count * corpus_word_count


def test_gensim_finds_the_same_phrases_with_the_same_scores(tmp_path):
    models = pytest.importorskip("gensim.models.phrases")
    sentences = write_phrases(tmp_path / "text")

    phrases = models.Phrases(sentences, min_count=3, threshold=4, scoring=word2phrase)
    table = one_pass(text_of(sentences), [], 3, 4, 5000)
    ours = {f"{row['first']}_{row['second']}": row["score"] for row in table.to_pylist()}
    assert len(ours) >= 4
    assert ours == phrases.export_phrases()
    assert joined_by_job(text_of(sentences), [Joiner(table)]) == [list(phrases[sentence]) for sentence in sentences]


def test_pairs_added_up_need_memory_for_different_ones_only():
    total = PairCounts()
    rows = 0
    for _ in range(200):
        total.add(np.arange(100_000, dtype=np.uint64))
        rows = max(rows, sum(map(len, total._pairs)))
    pairs, counts = total.total()
    assert rows <= phrases_module._PENDING + 200_000
    assert pairs.tolist() == list(range(100_000))
    assert set(counts.tolist()) == {200}


def test_another_text_than_was_counted_is_noticed():
    RECORDS.storage.put("text", b"a b\n" * 9)
    (unit,) = plan_work_units([(RECORDS.storage.uri("text"), 36)], 100)
    scoring = Scoring(18, 1, 0.5)
    vocabulary = frequent_words([count_unit(unit, whitespace()).table])
    with pytest.raises(InputError, match="the input changed during the run"):
        count_pairs(unit, whitespace(), vocabulary, scoring, "0" * 16)


# The whole job


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    write_phrases(path)
    return path


@pytest.fixture(scope="module")
def joined(corpus) -> bytes:
    """The corpus as plain Python joins it in two passes."""
    sentences = [line.split(" ") for line in corpus.read_text().splitlines()]
    for _ in range(2):
        sentences = plain_join(sentences, plain_phrases(sentences, 3, 6))
    text = text_of(sentences)
    assert b"new_york_times" in text
    return text


@pytest.fixture(scope="module")
def digest(joined, tmp_path_factory) -> str:
    """Of a model trained on text in which the phrases are joined already."""
    path = tmp_path_factory.mktemp("joined") / "text.txt"
    path.write_bytes(joined)
    return digest_of(path, path.parent / "run")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--block_bytes=1000", "--threads=1"),
        ("--block_bytes=500", "--direct_num_workers=3", "--batches=stored"),
    ],
)
def test_a_model_with_phrases_is_that_of_text_joined_before(corpus, digest, tmp_path, arguments):
    assert digest_of(corpus, tmp_path / "run", *ON, *arguments) == digest
    (stored,) = (tmp_path / "run").glob("phrases/pass=1/*/phrases.parquet")
    scores = pq.read_table(stored)["score"].to_pylist()
    assert scores == sorted(scores, reverse=True)
    assert verify_run(open_storage(str(tmp_path / "run")), True).problems == []


def test_phrases_in_every_format(corpus, digest, tmp_path):
    lines = corpus.read_text().splitlines()
    (tmp_path / "text.jsonl").write_bytes(b"\n".join(orjson.dumps({"x": line}) for line in lines))
    (tmp_path / "list.jsonl").write_bytes(b"\n".join(orjson.dumps({"x": line.split()}) for line in lines))
    pq.write_table(pa.table({"x": [line.split() for line in lines]}), tmp_path / "list.parquet", row_group_size=150)
    for name in ("text.jsonl", "list.jsonl", "list.parquet"):
        arguments = [f"--input_format={name.partition('.')[2]}", "--field=x", *ON]
        assert digest_of(tmp_path / name, tmp_path / f"{name}-run", *arguments) == digest


def test_a_corpus_with_phrases_is_made_by_itself_and_trained_on(corpus, digest, tmp_path):
    made = run("jobs.preprocess", f"--input={corpus}", f"--output={tmp_path / 'corpus'}", "--min_count=2", *ON)
    assert made.status == 0, made.stderr
    arguments = [f"--corpus={tmp_path / 'corpus'}", f"--output={tmp_path / 'run'}", *TINY, "--no_report"]
    assert train(*arguments).digest == digest
    assert "--phrases is 1, the corpus has 2" in train(*arguments, "--phrases=1", "--overwrite").error


def test_stop_words_go_first_and_listed_words_may_be_phrases(tmp_path):
    (tmp_path / "text").write_bytes(b"tower of babel x y\ny tower the babel\n" * 10 + b"x y x\ny x y y\n" * 30)
    (tmp_path / "stop").write_text("of\nthe\n")
    (tmp_path / "list").write_text("y\ntower_babel\nx\n")
    arguments = ["--phrases=1", "--phrase_threshold=4", f"--stopwords={tmp_path / 'stop'}"]
    digest_of(tmp_path / "text", tmp_path / "run", *arguments, f"--vocabulary={tmp_path / 'list'}")
    (stored,) = (tmp_path / "run").glob("vocabulary/*/vocabulary.parquet")
    rows = pq.read_table(stored).to_pylist()
    assert rows == [{"word": "y", "count": 140}, {"word": "tower_babel", "count": 20}, {"word": "x", "count": 100}]


WHY_NONE = {
    "no word occurs more than --phrase_discount=5 times": ("a b c d b e f g a\n", ()),
    "best of them, 'x y', scores 0.5312: lower": ("x y\n" * 7 + "a y x\n", ("--phrase_threshold=.6",)),
    "can score 1 at most, not above --phrase_threshold=100": ("a b\n" * 4, ("--phrase_discount=2",)),
}


@pytest.mark.parametrize("why", WHY_NONE)
def test_a_pass_without_phrases_says_how_near_the_best_pair_came(why, tmp_path):
    text, options = WHY_NONE[why]
    (tmp_path / "text").write_text(text)
    options = (f"--output={tmp_path / 'run'}", "--min_count=1", "--phrases=2", *options)
    for _ in range(2):  # the second command finds all of it done
        outcome = preprocess(f"--input={tmp_path / 'text'}", *options)
        assert all(told in outcome.stderr for told in ("pass 1 of --phrases joins no words: ", why))
    (stored,) = (tmp_path / "run").glob("phrases/pass=2/*/phrases.parquet")
    assert pq.read_table(stored).num_rows == 0


MOMENTS = {
    "counting words": Moment("put", "phrases/pass=2/counts/", 2, "inside"),
    "counting words, before a record": Moment("put", "records/words-1/", 3),
    "ordering words": Moment("put", "phrases/pass=1/KEY/words", when="inside"),
    "ordering words, before the record": Moment("put", "records/phrases-2/KEY/words"),
    "counting pairs": Moment("put", "phrases/pass=1/KEY/pairs/", 2, "inside"),
    "counting pairs, before a record": Moment("put", "records/phrases-2/KEY/unit", 3),
    "first pass done": Moment("put", "records/phrases-1/KEY/phrases", when="after"),
    "last pass, before the record": Moment("put", "records/phrases-2/KEY/phrases"),
    "counting the joined words": Moment("put", "records/counts/", 2, "after"),
}
FEW = ("counting words", "counting pairs, before a record")


@pytest.mark.parametrize(
    "moment",
    [pytest.param(one, id=name, marks=() if name in FEW else pytest.mark.slow) for name, one in MOMENTS.items()],
)
def test_killed_in_any_pass_a_run_goes_on_to_the_same_digest(corpus, digest, tmp_path, moment):
    output = tmp_path / "run"
    arguments = [f"--input={corpus}", f"--output={output}", *TINY, *ON, "--block_bytes=3000", "--no_report"]
    assert run_until(moment, kill, arguments, tmp_path / "log") == -9
    report = verify_run(open_storage(str(output)), False)
    assert report.state == "unfinished"
    assert [problem for problem in report.problems if "that no record names" not in problem] == []
    made = {path: path.stat().st_mtime_ns for path in output.rglob("phrases/**/*.parquet")}
    again = train(*arguments)
    assert again.digest == digest, again.stderr
    records = [record for _, record in open_run(str(output)).records.scan()]
    recorded = {artifact.path for record in records for artifact in record.artifacts}
    assert {str(path.relative_to(output)) for path in output.rglob("phrases/**/*.parquet")} <= recorded
    assert sum(path.stat().st_mtime_ns != when for path, when in made.items()) <= 3  # at work when it was killed


def test_passes_are_shared_with_runs_of_fewer_and_without_phrases_nothing_changes(corpus, tmp_path):
    output = tmp_path / "run"
    digest_of(corpus, output, *ON)
    (stored,) = output.glob("phrases/pass=1/*/phrases.parquet")
    first = stored.stat().st_mtime_ns
    arguments = [f"--input={corpus}", f"--output={output}", *TINY]
    assert "--phrases is 1, the run has 2" in train(*arguments, *ON, "--phrases=1").error
    assert train(*arguments, *ON, "--phrases=1", "--overwrite").status == 0
    assert stored.stat().st_mtime_ns == first
    assert not (output / "phrases" / "pass=2").exists()
    assert train(*arguments, "--overwrite").digest == digest_of(corpus, tmp_path / "other")
    assert not (output / "phrases").exists()


def test_keys_without_phrases_are_those_from_before_there_were_any():
    options = Options(phrases=0)
    identity = {"inputs": [], "tokenizer": {"name": "whitespace"}}
    keys = stage_keys(identity, options)
    assert keys["counts"] == "37ed3115ecc3c00c3b6acbc1f475ee6f"
    assert keys["checkpoints"] == "dc574d049ac61a42c0881b8cc74ff34b"
    one, two = (stage_keys(identity, Options(phrases=number)) for number in (1, 2))
    assert one["phrases-1"] == two["phrases-1"]
    other = stage_keys(identity, Options(phrases=2, phrase_threshold=7.0))
    assert [name for name in two if two[name] == other[name]] == ["text", "words-1"]


def test_damaged_pairs_are_noticed_and_made_anew(corpus, digest, tmp_path):
    output = tmp_path / "run"
    arguments = [f"--input={corpus}", f"--output={output}", *TINY, *ON, "--block_bytes=3000", "--no_report"]
    assert run_until(MOMENTS["last pass, before the record"], kill, arguments, tmp_path / "log") == -9
    pairs = next(output.glob("phrases/pass=2/*/pairs/*"))
    data = bytearray(pairs.read_bytes())
    data[len(data) // 4] ^= 1
    pairs.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{pairs.name} is damaged"):
        read_group(open_storage(str(pairs.parent)), pairs.name, 0)
    assert train(*arguments).digest == digest
    assert verify_run(open_storage(str(output)), False).is_sound


def test_words_that_occur_once_more_than_the_discount_may_be_a_phrase(tmp_path):
    (tmp_path / "text").write_text("x y\n" * 4 + "z\n" * 20)
    options = ["--phrases=1", "--phrase_discount=3", "--phrase_threshold=1.7", "--min_count=1"]
    assert preprocess(f"--input={tmp_path / 'text'}", f"--output={tmp_path / 'run'}", *options).status == 0
    assert Run.open(str(tmp_path / "run")).vocabulary()["word"].to_pylist() == ["z", "x_y"]


def test_a_dry_run_names_the_passes(corpus, tmp_path):
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *ON, "--dry_run")
    assert "phrases: 2 passes" in outcome.stdout
    assert not (tmp_path / "run").exists()
