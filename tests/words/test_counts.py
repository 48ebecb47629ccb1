"""Counting, merging and encoding against collections.Counter and plain lists."""

from __future__ import annotations

import collections
import itertools
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batches.tokens import encode_unit, read_tokens, stored_tokens, tokens_to_parquet
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.work_units import plan_work_units
from pipeline.runs.input_check import changed_inputs, recorded_files
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import from_parquet
from pipeline.storage.records import Records
from pipeline.words.counts import count_unit, counted_unit
from pipeline.words.merging import merge_counts, prune, split_by_bucket
from pipeline.words.vocabulary import Vocabulary, build_vocabulary
from tests.helpers.counting import LINE, as_dict, units_of
from tests.helpers.keys import KEY, OTHER_KEY

words = st.one_of(
    st.sampled_from(["a", "b", "ab", "the", "a" * 8, "a" * 9, "a" * 16, "a" * 17, "b" * 40, "aaaaaaaabaaaaaaaa"]),
    st.text("xyzß한", min_size=1, max_size=20),
)
corpora = st.lists(st.lists(words, max_size=8), max_size=9)


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


class CountingReader(TextReader):
    """Notes how often it was asked to read."""

    reads = 0

    def portions(self, *arguments):
        type(self).reads += 1
        return super().portions(*arguments)


def test_counted_unit_is_written_once_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(CountingReader, "reads", 0)
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"a b a\nbad \xff line\nc\n")
    records = Records(open_storage(str(tmp_path / "run")))
    (unit,) = plan_work_units([(str(corpus), corpus.stat().st_size)], 1 << 20)
    reader = CountingReader(open_tokenizer("whitespace"), LINE)

    def commits(stage: str = "counts", key: str = KEY) -> Commits:
        """Those of an attempt of its own."""
        return Commits(records, stage, key)

    made = counted_unit(commits(), unit, reader)
    assert (made.lines, made.bad_lines, made.tokens, reader.reads) == (3, 1, 4, 1)
    again = counted_unit(commits(), unit, reader)
    assert reader.reads == 1
    assert again.table.equals(made.table)
    assert (again.lines, again.fingerprint, again.bytes) == (3, made.fingerprint, made.bytes)
    counted_unit(commits(key=OTHER_KEY), unit, reader)
    assert reader.reads == 2

    record = commits(key=OTHER_KEY).load("unit-000000000")
    dead = from_parquet(records.read(record.artifacts[1])).to_pylist()
    assert dead == [{"uri": str(corpus), "offset": 6, "reason": "not UTF-8", "sample": b"bad \xff line\n"}]
    assert list(changed_inputs(TextReader, recorded_files(records, {"counts": OTHER_KEY, "text": OTHER_KEY}), {})) == []

    (tmp_path / "run" / record.artifacts[0].path).write_bytes(b"x" * record.artifacts[0].size)
    assert counted_unit(commits(key=OTHER_KEY), unit, reader).table.equals(made.table)
    assert reader.reads == 3

    vocabulary = Vocabulary.from_table(build_vocabulary([made.table], 1))
    shard, part = stored_tokens(commits("tokens"), commits(), unit, vocabulary, reader)
    assert part is None
    assert (shard.tokens, shard.sentences, reader.reads) == (4, 2, 4)
    assert stored_tokens(commits("tokens"), commits(), unit, vocabulary, reader) == (shard, None)
    assert reader.reads == 4
    tokens, offset = read_tokens(records.read(shard.artifact))
    assert (tokens.tolist(), offset.tolist()) == ([0, 1, 0, 2], [0, 3, 4])
