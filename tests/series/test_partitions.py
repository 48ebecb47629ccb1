"""Partitions: what is in a folder, and how it differs from what the log says."""

from __future__ import annotations

import os
import random

import pytest

from pipeline.errors import ArtifactError, InputError
from pipeline.series.entries import Decided, Policy
from pipeline.series.partitions import (
    FLAT,
    Arrived,
    File,
    Fingerprint,
    Listing,
    Places,
    Stated,
    altered,
    files_of,
    order_of,
    poll,
    read_manifest,
    settled,
    stated,
    write_manifest,
)
from pipeline.series.state import State
from pipeline.storage.open_storage import open_storage
from tests.series.logs import Series, decided


def places(root, by="dt=*", **policy) -> Places:
    return Places(Policy(root=str(root), by=by, **policy))


def write(root, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("a rose is a rose\n")


def taken(root, storage, series: Series) -> None:
    """All that is due is promoted, with manifests."""
    from pipeline.series.decisions import decide

    while decision := decide(poll(places(root), series.state, storage), series.state):
        manifest, digest = write_manifest(storage, decision.name, decision.files)
        entry = decided(decision)
        series.add(
            Decided(
                **{name: getattr(entry, name) for name in entry.__struct_fields__}
                | {"manifest": manifest, "manifest_digest": digest}
            )
        )
        series.promote()


def found(root, series: Series, **policy) -> Listing:
    return poll(places(root, **policy), series.state, open_storage(str(root / "series")))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "texts").mkdir()
    return tmp_path / "texts"


def names(arrived: Arrived) -> list[str]:
    return [file.path for file in arrived.files]


def test_a_partition_is_closed_by_its_marker(root):
    write(root, "dt=1/a.txt", "dt=1/b/c.txt", "dt=1/_SUCCESS", "dt=2/a.txt", "other/a.txt", "top.txt")
    listing = found(root, Series())
    assert {name: (arrived.closed, names(arrived)) for name, arrived in listing.arrived.items()} == {
        "1": (True, ["dt=1/a.txt", "dt=1/b/c.txt"]),
        "2": (False, ["dt=2/a.txt"]),
    }


def test_hidden_files_other_names_and_forgotten_ones_are_no_text(root):
    write(root, "dt=1/a.txt", "dt=1/.b.txt", "dt=1/_c.txt", "dt=1/_d/e.txt", "dt=1/f.csv", "dt=1/g.txt", "dt=1/END")
    listing = found(root, Series(), pattern="*.txt", forget=("*/g.txt",), done="END")
    assert names(listing.arrived["1"]) == ["dt=1/a.txt"]
    assert listing.arrived["1"].closed


def test_names_of_several_folders(root):
    write(root, "year=2026/month=11/a", "year=2026/month=11/_SUCCESS", "year=2026/other/a")
    assert list(found(root, Series(), by="year=*/month=*").arrived) == ["2026-11"]


@pytest.mark.parametrize("by", ["dt", "**", "dt=*-*", "dt=*/x"])
def test_by_needs_one_star_in_each_part(root, by):
    with pytest.raises(InputError, match=r"write one \* in each part"):
        places(root, by)


def test_a_name_like_that_of_a_late_partition_is_refused(root):
    write(root, "dt=1+1/a")
    with pytest.raises(InputError, match="ends like a late one"):
        found(root, Series())


def test_what_was_taken_is_not_looked_at_again(root, monkeypatch):
    write(root, "dt=1/a", "dt=1/_SUCCESS", "dt=2/a", "dt=2/_SUCCESS")
    series, storage = Series(), open_storage(str(root / "series"))
    taken(root, storage, series)
    monkeypatch.setattr("pipeline.series.partitions.read_manifest", None)  # it is not needed
    assert found(root, series) == Listing({}, 2, 2)


def test_late_changed_and_vanished_files_are_told_apart(root):
    write(root, "dt=1/a", "dt=1/b", "dt=1/c", "dt=1/_SUCCESS")
    series = Series()
    taken(root, open_storage(str(root / "series")), series)
    write(root, "dt=1/late")
    (root / "dt=1/a").write_text("other words\n")
    os.remove(root / "dt=1/b")
    assert found(root, series) == Listing({"1": found(root, series).arrived["1"]}, 1, 3)
    arrived = found(root, series).arrived["1"]
    assert (names(arrived), arrived.changed, arrived.gone) == (["dt=1/late"], 1, 1)


def test_a_partition_that_is_gone_counts_as_lost(root):
    write(root, "dt=1/a", "dt=1/_SUCCESS", "dt=2/a", "dt=2/b", "dt=2/_SUCCESS")
    series = Series()
    taken(root, open_storage(str(root / "series")), series)
    for name in ("a", "b", "_SUCCESS"):
        os.remove(root / "dt=2" / name)
    assert found(root, series) == Listing({}, 1, 3)


def test_a_fingerprint_depends_on_files_and_not_on_their_order():
    files = [(f"dt=1/{i}", i, str(i)) for i in range(50)]
    shuffled = random.Random(1).sample(files, len(files))
    assert Fingerprint.of(files) == Fingerprint.of(shuffled)
    assert Fingerprint.of(files[:20]) + Fingerprint.of(files[20:]) == Fingerprint.of(files)
    for i in range(3):
        other = list(files)
        other[7] = (*other[7][:i], "x" if i != 1 else 8, *other[7][i + 1 :])
        assert Fingerprint.of(other) != Fingerprint.of(files)


def test_a_manifest_is_read_as_it_was_written_or_not_at_all(tmp_path):
    storage = open_storage(str(tmp_path))
    files = [File("1", "dt=1/b", 2, "v"), File("1", "dt=1/a", 1, "v"), File("0", "dt=0/a", 1, "v")]
    path, digest = write_manifest(storage, "1", files)
    entry = Decided(
        name="1",
        partition="1",
        folder="generations/1",
        mode="cold",
        manifest=path,
        manifest_digest=digest,
        files=2,
        bytes=3,
        fingerprint="0",
    )
    assert files_of(read_manifest(storage, entry)) == sorted(files)
    storage.put(path, storage.read(path)[:-1] + b"x")
    with pytest.raises(ArtifactError, match="is damaged"):
        read_manifest(storage, entry)
    storage.delete(path)
    with pytest.raises(ArtifactError, match="is missing"):
        read_manifest(storage, entry)
    empty = write_manifest(storage, "2", [])
    assert empty[0].startswith("manifests/2-")


def test_altered_names_a_file_that_is_not_as_it_was(root):
    write(root, "dt=1/a", "dt=1/b")
    series = Series()
    files = [file for arrived in found(root, series).arrived.values() for file in arrived.files]
    assert altered(places(root), files) == ""
    (root / "dt=1/b").write_text("else")
    assert altered(places(root), files).startswith("dt=1/b changed")
    os.remove(root / "dt=1/a")
    assert "and 1 more" in altered(places(root), files)


def test_without_folders_a_file_is_taken_when_two_polls_have_seen_it(root):
    write(root, "a.txt", "b/c.txt", ".d.txt", "_SUCCESS")
    first, seen = settled(found(root, Series(), by=""), {})
    assert first.arrived[FLAT] == Arrived(False)
    (root / "a.txt").write_text("still growing\n")
    write(root, "new.txt")
    second, seen = settled(found(root, Series(), by=""), seen)
    assert (second.arrived[FLAT].closed, names(second.arrived[FLAT])) == (True, ["b/c.txt"])
    third, _ = settled(found(root, Series(), by=""), seen)
    assert names(third.arrived[FLAT]) == ["a.txt", "b/c.txt", "new.txt"]


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", Stated()),
        ('{"files": 3, "rows": 5, "committer": "x"}', Stated(3, None, 5)),
        ("[1]", Stated()),
        ('{"files": "many"}', Stated()),
    ],
)
def test_a_marker_may_say_how_much_there_is(root, marker, expected):
    write(root, "dt=1/a")
    (root / "dt=1/_SUCCESS").write_text(marker)
    assert stated(places(root), [File("1", "dt=1/a", 1, "1")]) == expected
    assert stated(places(root), [File("1+1", "dt=1/a", 1, "1")]) == Stated()
    assert stated(places(root), []) == Stated()


def test_a_marker_that_is_cut_off_is_refused(root):
    write(root, "dt=1/a")
    (root / "dt=1/_SUCCESS").write_text('{"files": 3, "ro')
    with pytest.raises(InputError, match="_SUCCESS is not whole JSON"):
        stated(places(root), [File("1", "dt=1/a", 1, "1")])


def test_late_partitions_come_behind_their_own():
    assert sorted(["2", "1+10", "1+2", "1", "1a"], key=order_of) == ["1", "1+2", "1+10", "1a", "2"]


def test_an_empty_root_is_no_partition(root):
    assert poll(places(root), State(), open_storage(str(root))) == Listing({})
