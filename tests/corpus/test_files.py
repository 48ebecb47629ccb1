"""Which files a pattern names, and compressed ones unpacked into the same lines."""

from __future__ import annotations

import gzip
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.corpus import files as inputs
from pipeline.corpus.files import InputFile, match_inputs
from pipeline.corpus.readers.text import TextReader
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.unpacking import unpack
from pipeline.corpus.work_units import plan_work_units
from pipeline.errors import InputError
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.words.counts import count_unit
from tests.helpers.unpacking import text_commits


@pytest.fixture
def corpus(tmp_path):
    for name in (
        "b.txt",
        "a.txt",
        "sub/c.txt",
        "sub/deep/d.txt",
        ".hidden",
        "_SUCCESS",
        ".git/e.txt",
        "a[1].txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(files, folder):
    return [os.path.relpath(file.uri, folder) for file in files]


def test_patterns(corpus, monkeypatch):
    def matched(*patterns):
        return names(match_inputs([str(corpus / pattern) for pattern in patterns]), corpus)

    assert matched("a.txt") == ["a.txt"]
    assert matched("a[1].txt") == ["a[1].txt"]
    assert matched("[ab].txt") == ["a.txt", "b.txt"]
    assert matched("*.txt", "b.txt", "a.txt") == ["a.txt", "a[1].txt", "b.txt"]
    assert matched("**/*.txt") == ["a.txt", "a[1].txt", "b.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert matched("") == ["a.txt", "a[1].txt", "b.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert matched("sub/*") == ["sub/c.txt"]
    monkeypatch.chdir(corpus)
    (file,) = match_inputs(["./sub/../a.txt"])
    assert file == InputFile(str(corpus / "a.txt"), 5, str(os.stat("a.txt").st_mtime_ns))
    assert match_inputs([(corpus / "a.txt").as_uri()]) == [file]


def test_the_working_directory_is_no_part_of_a_pattern(corpus, monkeypatch):
    for place in ("[2024] te*ts?", "[a", "plain"):
        (corpus / "sub").rename(corpus / place)
        monkeypatch.chdir(corpus / place)
        assert names(match_inputs(["*.txt"]), corpus) == [f"{place}/c.txt"]
        assert names(match_inputs(["deep/[d]*"]), corpus) == [f"{place}/deep/d.txt"]
        assert names(match_inputs(["../[b]*"]), corpus) == ["b.txt"]
        (corpus / place).rename(corpus / "sub")


def test_list_files(corpus):
    listed = corpus / "sub" / "paths"
    listed.write_text(f"\ufeff{corpus}/b.txt\r\n\n{corpus}/a*.txt\n\ufeff{corpus}/b.txt\n", encoding="utf-8")
    assert names(match_inputs([f"@{listed}", str(corpus / "sub" / "c.txt")]), corpus) == [
        "a.txt",
        "a[1].txt",
        "b.txt",
        "sub/c.txt",
    ]
    listed.write_text(f"# all that we have\n{corpus}/b.txt\n\n  # {corpus}/a.txt\n#{corpus}/a*.txt\n")
    assert names(match_inputs([f"@{listed}"]), corpus) == ["b.txt"]
    listed.write_text("\n# nothing\n")
    with pytest.raises(InputError, match=r"--input=@.*paths lists no file"):
        match_inputs([f"@{listed}"])
    with pytest.raises(InputError, match=r"--input=@nowhere cannot be read"):
        match_inputs(["@nowhere"])


def unit_of(source):
    return plan_work_units([source], 1000)[0]


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path, commits):
    for data in (b"a b\n" * 100, gzip.compress(b"a b\n" * 100)):
        file = file_of(tmp_path / "a", data)
        reader = TextReader(open_tokenizer("whitespace"), 400)
        source = reader.source(file)
        os.utime(tmp_path / "a", ns=(1, 1))

        def read(file=file, source=source, reader=reader):
            return unpack(commits, file, 0, 400) if source is None else count_unit(unit_of(source), reader)

        with pytest.raises(InputError, match=r"a changed while it was read; run again with --overwrite"):
            read()


def test_what_matches_nothing_is_named(corpus):
    for pattern in ("no.txt", "no*.txt", "sub/deep/d.txt/x"):
        with pytest.raises(InputError, match=r"--input=.* matches no file|cannot be read"):
            match_inputs([str(corpus / "a.txt"), str(corpus / pattern)])
    os.mkfifo(corpus / "pipe")
    with pytest.raises(InputError, match="pipe is not a regular file"):
        match_inputs([str(corpus / "pipe")])
    (corpus / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="link is a link to a file that does not exist"):
        match_inputs([str(corpus / "li*")])
    (corpus / "folder").mkdir()
    with pytest.raises(InputError, match="folder is a folder without files"):
        match_inputs([str(corpus / "folder")])
    (corpus / "empty").touch()
    with pytest.raises(InputError, match="empty is empty"):
        match_inputs([str(corpus / "empty")])
    assert len(match_inputs([str(corpus / "empty"), str(corpus / "a.txt")])) == 2


def test_input_below_the_output_is_told(corpus):
    open_storage("memory://below").put("run/a.txt", b"text")
    for pattern, output in (
        (corpus / "sub/c.txt", corpus / "sub"),
        (corpus / "sub", corpus / "sub"),
        (corpus / "sub/*/*", corpus),
        ("memory://below/run/*", "memory://below/run"),
    ):
        with pytest.raises(InputError) as told:
            match_inputs([str(pattern)], str(output))
        assert f"--input={pattern} matches only files below --output={output}, which are left out" in str(told.value)
    assert names(match_inputs([str(corpus)], str(corpus / "sub")), corpus) == ["a.txt", "a[1].txt", "b.txt"]


def test_a_file_that_vanishes_while_it_is_listed_hides_no_other(corpus, monkeypatch):
    (corpus / "a.txt").unlink()
    listed = [str(corpus / name) for name in ("a.txt", "b.txt")]
    monkeypatch.setattr(inputs, "_walk", lambda folder: iter(listed))
    monkeypatch.setattr(inputs.glob, "iglob", lambda path, recursive: iter(listed))
    for pattern in (corpus, corpus / "*.txt"):
        assert names(match_inputs([str(pattern)]), corpus) == ["b.txt"]
    with pytest.raises(InputError, match="matches no file"):
        match_inputs(listed)


def test_patterns_in_an_object_store():
    storage = open_storage("memory://inputs")
    for name in ("x/a.txt", "x/b.gz", "x/y/c.txt", "x/_SUCCESS", "xx/d.txt"):
        storage.put(name, b"text")

    def matched(pattern):
        return [file.uri.removeprefix("memory://inputs/") for file in match_inputs(["memory://inputs/" + pattern])]

    assert matched("x/a.txt") == ["x/a.txt"]
    assert matched("x/*") == ["x/_SUCCESS", "x/a.txt", "x/b.gz"]
    assert matched("x/[!b_]*") == ["x/a.txt"]
    assert matched("x/**") == ["x/_SUCCESS", "x/a.txt", "x/b.gz", "x/y/c.txt"]
    assert matched("**/c.txt") == ["x/y/c.txt"]
    assert matched("x") == matched("x/") == ["x/a.txt", "x/b.gz", "x/y/c.txt"]
    assert matched("?/?.txt") == ["x/a.txt"]
    with pytest.raises(InputError, match="matches no file"):
        matched("y*")


FOLDERS = ("", "d/", "d/d/", "d/.d/", ".d/", ".d/d/", "^d/d/d/")
FILES = ("a", "b", "ab", "^", "!", "]", "[a]", ".a", "_a")
PARTS = (
    "*",
    "**",
    "?",
    "a*",
    "a**",
    "[^a]",
    "[!a]",
    "[!^]*",
    "[a^]",
    "[]^]",
    "[.]a",
    ".*",
    "[a",
    "[[]a]",
    ".a",
    "d",
    ".d",
    "[^]d",
    "[!.]*",
)


@pytest.fixture(scope="module")
def two_places(tmp_path_factory):
    """A folder and a bucket with the same files."""
    folder, bucket = tmp_path_factory.mktemp("tree"), "memory://patterns"
    for name in (folder + file for folder in FOLDERS for file in FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")
        open_storage(bucket).put(name, b"text")
    return str(folder), bucket


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join))
@settings(max_examples=300)
@example("*").via("a name that begins with a dot")
@example("[^a]").via("no negation")
@example("**/b")
def test_a_pattern_means_the_same_in_a_bucket_and_in_a_folder(two_places, pattern):
    def matched(root):
        try:
            return [file.uri.removeprefix(f"{root}/") for file in match_inputs([f"{root}/{pattern}"])]
        except InputError:
            return []

    in_folder, in_bucket = map(matched, two_places)
    assert in_bucket == in_folder


# Compressed files


def file_of(path, data: bytes) -> InputFile:
    path.write_bytes(data)
    return InputFile(str(path), len(data), str(os.stat(path).st_mtime_ns))


@pytest.fixture
def commits(tmp_path) -> Commits:
    return text_commits(str(tmp_path / "run"))


def test_linked_folders_are_followed_once(tmp_path):
    """In the same order on every file system, and never round in a circle."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "a", outside / "deep"):
        folder.mkdir(parents=True)
        (folder / "text.txt").write_text("words\n")
    (inside / "b").symlink_to(outside)
    (inside / "c").symlink_to(outside)  # the same folder once more
    (inside / "d").symlink_to(inside / "a")  # found without it
    (inside / "a" / "up").symlink_to(inside)
    (outside / "deep" / "up").symlink_to(outside)
    found = [file.uri.removeprefix(f"{inside}/") for file in match_inputs([str(inside)])]
    assert found == ["a/text.txt", "b/deep/text.txt"]


def test_what_has_changed_since_it_was_listed_is_told(tmp_path):
    for name in "abcd":
        (tmp_path / name).write_text("text\n")
    files = match_inputs([str(tmp_path)])
    assert inputs.change_since(files) == ""
    with open(tmp_path / "b", "a") as file:
        file.write("more\n")
    assert inputs.change_since(files).startswith(f"{tmp_path / 'b'} grew from 5 to 10 bytes while the run was at work")
    (tmp_path / "a").unlink()
    os.utime(tmp_path / "d", ns=(1, 1))
    assert inputs.change_since(files).startswith(f"{tmp_path / 'a'} was removed (and 2 more) while")
