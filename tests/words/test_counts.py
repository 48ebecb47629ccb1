"""Counting, merging and encoding against collections.Counter and plain lists."""

from __future__ import annotations

import collections
import itertools
import pickle
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batches.tokens import encode_unit, encoded_unit, read_tokens, tokens_to_parquet
from pipeline.corpus.dead_letters import read_dead_letters
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.word_table import WordTable, string_array, string_buffers, word_hashes
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import ArtifactError, InputError
from pipeline.runs.input_check import changed_inputs
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from pipeline.words import merging
from pipeline.words.counts import count_unit, counted_unit
from pipeline.words.merging import merge_counts, prune, split_by_bucket, table_from_bytes
from pipeline.words.vocabulary import Vocabulary, build_vocabulary

STORAGE = open_storage("memory://counts")
URI = STORAGE.uri("text")
LINE = 1 << 20

words = st.one_of(
    st.sampled_from(["a", "b", "ab", "the", "a" * 8, "a" * 9, "a" * 16, "a" * 17, "b" * 40, "aaaaaaaabaaaaaaaa"]),
    st.text("xyzß한", min_size=1, max_size=20),
)
corpora = st.lists(st.lists(words, max_size=12), max_size=12)


def units_of(data: bytes, block_bytes: int):
    STORAGE.put("text", data)
    return plan_work_units([(URI, len(data))], block_bytes)


def as_dict(table: pa.Table) -> dict[str, int]:
    return dict(zip(table["word"].to_pylist(), table["count"].to_pylist()))


def counter(sentences: list[list[str]]) -> collections.Counter:
    return collections.Counter(word for sentence in sentences for word in sentence)


def text_of(sentences: list[list[str]]) -> bytes:
    return "".join(" ".join(sentence) + "\n" for sentence in sentences).encode()


@given(corpora, st.integers(1, 200), st.sampled_from([1, 3, 16]))
@settings(deadline=None)
def test_counts_and_sentences_whatever_the_blocks(sentences, block_bytes, buckets):
    reader = TextReader(open_tokenizer("whitespace"), LINE)
    units = units_of(text_of(sentences), block_bytes)
    counted = [count_unit(unit, reader) for unit in units]
    assert sum(unit.lines for unit in counted) == len(sentences)
    assert sum(unit.tokens for unit in counted) == sum(map(len, sentences))

    parts = collections.defaultdict(list)
    for unit in counted:
        for bucket, data in split_by_bucket(unit.table, buckets):
            parts[bucket].append(data)
    merged = [merge_counts(tables) for tables in parts.values()]
    expected = counter(sentences)
    assert sum(table.num_rows for table in merged) == len(expected)
    assert {word: n for table in merged for word, n in as_dict(table).items()} == expected
    if not expected:
        return

    vocabulary = (
        Vocabulary.from_table(build_vocabulary([prune(table, 2) for table in merged], 1, 7))
        if max(expected.values()) > 1
        else Vocabulary.from_table(build_vocabulary(merged, 1))
    )
    order = sorted(expected, key=lambda word: (-expected[word], word.encode()))
    if max(expected.values()) > 1:
        order = [word for word in order if expected[word] > 1][:7]
    assert vocabulary.words.to_pylist() == order
    assert vocabulary.counts.tolist() == [expected[word] for word in order]

    ids = {word: i for i, word in enumerate(order)}
    wanted = [kept for s in sentences if (kept := [ids[word] for word in s if word in ids])]
    found = []
    for unit, count in zip(units, counted):
        encoded = encode_unit(unit, vocabulary, reader, count.fingerprint)
        tokens, offset = read_tokens(tokens_to_parquet(encoded.table))
        assert (len(tokens), len(offset) - 1) == (encoded.tokens, encoded.sentences)
        found += [tokens[i:j].tolist() for i, j in itertools.pairwise(offset)]
    assert found == wanted


def test_a_large_text_is_counted_and_encoded():
    draw = random.Random(5)
    known = [f"word{i}" * draw.randint(1, 4) for i in range(60_000)]
    sentences = [draw.choices(known, k=draw.randint(0, 2500)) for _ in range(150)]
    reader = TextReader(open_tokenizer("whitespace", max_sentence=700), LINE)
    (unit,) = units_of(text_of(sentences), 1 << 30)
    counted = count_unit(unit, reader)
    assert as_dict(counted.table) == counter(sentences)
    vocabulary = Vocabulary.from_table(build_vocabulary([counted.table], 3))
    tokens, offset = read_tokens(encode_unit_bytes(unit, vocabulary, reader))
    ids = {word: i for i, word in enumerate(vocabulary.words.to_pylist())}
    pieces = [s[i : i + 700] for s in sentences for i in range(0, len(s), 700)]
    wanted = [kept for s in pieces if (kept := [ids[word] for word in s if word in ids])]
    assert np.diff(offset).tolist() == list(map(len, wanted))
    assert tokens.tolist() == [token for sentence in wanted for token in sentence]


def encode_unit_bytes(unit, vocabulary, reader):
    return tokens_to_parquet(encode_unit(unit, vocabulary, reader).table)


def test_a_crowded_table_finds_every_word():
    table = WordTable()
    names = [f"{i:05d}" for i in range(3000)] + ["x" * 30 + f"{i:05d}" + "y" * 30 for i in range(3000)]
    table.add(pa.array(names), np.arange(6000))
    table.add(pa.array(names[::-1]), np.arange(6000)[::-1])
    assert table.words().to_pylist() == names
    assert table.values().tolist() == (2 * np.arange(6000)).tolist()


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("abc", "abd"),
        ("abc", "abc\0"),
        ("a" * 9, "a" * 12),
        ("12345678x", "12345678y"),
        ("a" * 8 + "b" + "a" * 8, "a" * 17),
        ("a" * 30 + "b" + "a" * 9, "a" * 40),
    ],
)
def test_words_with_one_hash_are_told_apart(word, other):
    table = WordTable()
    table.add(pa.array([word]), np.array([1]))
    # Plant the word where the other one's hash leads, as if the hashes were equal.
    h = int(word_hashes(pa.array([other]))[0])
    table._slots[:] = 0
    table._slots[h & (len(table._slots) - 1)] = h >> 32 << 32 | 1
    table.add(pa.array([other]), np.array([5]))
    assert table.words().to_pylist() == [word, other]
    assert table.values().tolist() == [1, 5]


def test_strings_of_more_than_one_chunk(monkeypatch):
    monkeypatch.setattr("pipeline.corpus.word_table._LARGEST_ARRAY", 10)
    array = string_array(np.frombuffer(b"aabbccddeeffgg", np.uint8), np.array([0, 2, 4, 6, 8, 14]))
    assert array.num_chunks > 1
    assert array.to_pylist() == ["aa", "bb", "cc", "dd", "eeffgg"]
    sliced = pa.array(["x", "yy", "zzz", ""])[1:3]
    buffer, offset = string_buffers(sliced)
    assert [bytes(buffer[i:j]) for i, j in itertools.pairwise(offset)] == [b"yy", b"zzz"]


def test_elements_are_small_and_hold_only_their_rows(monkeypatch):
    monkeypatch.setattr(merging, "ELEMENT_BYTES", 1 << 12)
    table = pa.table([pa.array([f"word{i}" for i in range(5000)]), pa.array(range(5000))], schema=merging.SCHEMA)
    parts = list(split_by_bucket(table, 4))
    assert max(len(data) for _, data in parts) < 8 << 10
    assert as_dict(merge_counts(data for _, data in parts)) == as_dict(table)
    assert [bucket for bucket, _ in parts] == sorted(bucket for bucket, _ in parts)
    assert table_from_bytes(parts[0][1]).schema.equals(table.schema)


def test_counted_unit_is_written_once_and_read_back(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"a b a\nbad \xff line\nc\n")
    records = Records(open_storage(str(tmp_path / "run")))
    (unit,) = plan_work_units([(str(corpus), corpus.stat().st_size)], 1 << 20)
    reader = TextReader(open_tokenizer("whitespace"), LINE)
    made = counted_unit(records, "key", unit, reader)
    assert (made.lines, made.bad_lines, made.tokens, made.reused) == (3, 1, 4, False)
    again = counted_unit(records, "key", unit, reader)
    assert again.reused
    assert again.table.equals(made.table)
    assert (again.lines, again.fingerprint, again.bytes) == (3, made.fingerprint, made.bytes)
    assert not counted_unit(records, "other key", unit, reader).reused

    record = records.load("counts", "unit-00000", "other key")
    dead = read_dead_letters(records.read(record.artifacts[1])).to_pylist()
    assert dead == [{"uri": str(corpus), "offset": 6, "reason": "not UTF-8", "sample": b"bad \xff line\n"}]
    assert list(changed_inputs(records, {})) == []

    (tmp_path / "run" / record.artifacts[0].path).write_bytes(b"x" * record.artifacts[0].size)
    assert not counted_unit(records, "other key", unit, reader).reused

    vocabulary = Vocabulary.from_table(build_vocabulary([made.table], 1))
    shard = encoded_unit(records, "key", unit, vocabulary, reader, made.fingerprint)
    assert (shard.tokens, shard.sentences, shard.reused) == (4, 2, False)
    assert encoded_unit(records, "key", unit, vocabulary, reader, made.fingerprint).reused
    tokens, offset = read_tokens(records.read(shard.artifact))
    assert (tokens.tolist(), offset.tolist()) == ([0, 1, 0, 2], [0, 3, 4])


@pytest.mark.parametrize("changed", [b"a b c\nd\n", b"a b\nc e\n", b"b a\nc d\n", b"a b\nc d e\n"])
def test_changed_text_is_noticed_while_encoding(changed):
    (unit,) = units_of(b"a b\nc d\n", 1 << 20)
    reader = TextReader(open_tokenizer("whitespace"), LINE)
    counted = count_unit(unit, reader)
    vocabulary = Vocabulary.from_table(build_vocabulary([counted.table], 1))
    (unit,) = units_of(changed, 1 << 20)
    with pytest.raises(InputError, match="the input changed during the run: memory://counts/text from byte 0"):
        encode_unit(unit, vocabulary, reader, counted.fingerprint)


def test_vocabulary_bytes_and_lookup():
    vocabulary = Vocabulary(pa.array(["b", "a", "한국"]), np.array([3, 2, 2]))
    vocabulary.lookup_table()
    again = Vocabulary.from_parquet(vocabulary.to_parquet())
    assert again.words.equals(vocabulary.words)
    assert again.counts.tolist() == [3, 2, 2]
    assert again.tokens == 7
    assert pickle.loads(pickle.dumps(again)).words.equals(again.words)
    with pytest.raises(ArtifactError, match="1 words twice"):
        Vocabulary(pa.array(["b", "b"]), np.array([1, 1])).lookup_table()


def test_vocabulary_without_words_says_why():
    table = pa.table([pa.array(["a", "b"]), pa.array([312, 4])], schema=merging.SCHEMA)
    message = "--min_count=500 leaves no word: the most frequent of 4 words occurs 313 times. Lower --min_count"
    other = pa.table([pa.array(["c", "d"]), pa.array([313, 4])], schema=merging.SCHEMA)
    with pytest.raises(InputError, match=message) as error:
        build_vocabulary([prune(table, 500), other], 500, first_sentence=["a", "b"])
    assert '(the first line became ["a", "b"])' in str(error.value)
    with pytest.raises(InputError, match="--input holds no words"):
        build_vocabulary([], 5)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.integers(1, 70))
def test_max_vocabulary_keeps_the_first_of_the_order(counts, most):
    draw = random.Random(len(counts))
    names = draw.sample([f"{a}{b}" for a in "aäz~" for b in range(30)], len(counts))
    table = pa.table([pa.array(names), pa.array(counts)], schema=merging.SCHEMA)
    found = build_vocabulary([table], 1, most)["word"].to_pylist()
    assert found == [name for _, name in sorted(zip(counts, names), key=lambda x: (-x[0], x[1].encode()))][:most]
