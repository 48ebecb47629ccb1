"""Lists of batch shards: packed, and passed on by reference."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle

import pytest

from pipeline.batches.sampling import Sampling
from pipeline.batches.shard_lists import LIST_SHARDS, STAGE, ShardList, list_of, pack, shard_list, sliced_lists, unpack
from pipeline.batches.shards import BatchShard
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Records
from tests.helpers.keys import KEY


def commits_at(root: str) -> Commits:
    return Commits(Records(open_storage(root)), STAGE, KEY)


def shards(count: int, stored: int = 0) -> list[BatchShard]:
    sampling, unigram = Sampling(5, 5, "exclude_target", 1), Artifact("unigram/unigram.parquet", "0" * 64, 9, "/other")
    made = []
    for index in range(count):
        digests = [hashlib.sha256(f"{index} {n}".encode()).hexdigest() for n in range(stored + 1)]
        tokens, *rows = (Artifact(f"{n}/{index}", digest, index + n) for n, digest in enumerate(digests))
        made.append(BatchShard(index, 1000 * index, 1000, sampling, tokens, unigram, tuple(rows)))
    return made


@pytest.mark.parametrize("stored", [0, 2])
def test_packed_shards_are_the_same_shards(stored):
    wanted = shards(50, stored)
    assert list(unpack(pack(wanted))) == wanted
    assert max(map(hash, unpack(pack(wanted)))) == max(map(hash, wanted))  # arrays in place of numbers have none
    with pytest.raises(ValueError, match="2 runs"):
        pack([wanted[0], dataclasses.replace(wanted[1], sampling=Sampling(5, 5, "any", 1))])


def test_a_list_is_in_the_order_of_the_corpus_whatever_comes_first():
    commits, wanted = commits_at("memory://scale-order"), shards(50)
    for number in (0, 1):  # travels as it is, is stored
        assert list(shard_list(commits, number, wanted[::-1]).open(commits.records)) == wanted


def test_what_comes_to_the_trainer_grows_by_a_reference_for_thousands_of_shards():
    commits, many = commits_at("memory://scale-lists"), shards(3 * LIST_SHARDS)
    by_list: dict[int, list[BatchShard]] = {}
    for shard in reversed(many):
        by_list.setdefault(list_of(shard), []).append(shard)
    lists = [shard_list(commits, number, some) for number, some in by_list.items()]
    sizes = sorted(len(pickle.dumps(one)) for one in lists)
    assert sizes[:2] < [500, 500]
    assert sizes[2] < LIST_SHARDS * 100
    assert (
        sorted((shard for one in lists for shard in one.open(commits.records)), key=lambda shard: shard.index) == many
    )
    assert [record.name for record in commits.all()] == ["list-000000001", "list-000000002"]


def test_what_comes_to_replicas_are_references_or_their_own_shards():
    commits, many, length = commits_at("memory://scale-slices"), shards(180), 60
    size = 10_500  # half a shard is in two slices

    def slices_of(first: BatchShard, last: BatchShard) -> range:
        return range(first.first_position // size, -(-last.end // size))

    lists: dict[int, list[ShardList]] = {}
    for number in (2, 0, 1):
        some = reversed(many[number * length : (number + 1) * length])
        for index, one in sliced_lists(commits, number, some, slices_of):
            lists.setdefault(index, []).append(one)
    for index, some in lists.items():
        wanted = [shard for shard in many if index in slices_of(shard, shard)]
        opened = {shard.index: shard for one in some for shard in one.open(commits.records)}
        assert [opened[shard.index] for shard in wanted] == wanted
        if index < 5:
            assert len(opened) == len(wanted)
    assert set(lists) == set(slices_of(many[0], many[-1]))
    assert all(one.packed == b"" for index in range(6, len(lists)) for one in lists[index])
    assert [record.name for record in commits.all()] == ["list-000000001", "list-000000002"]


def test_a_small_corpus_stores_no_list():
    commits = commits_at("memory://scale-one-list")
    assert list(shard_list(commits, 0, shards(7)).open(commits.records)) == shards(7)
    assert commits.records.storage.list() == []
