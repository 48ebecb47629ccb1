"""What a run with --update reads of its parent, and what is said where that is damaged."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from beam2vec import Run
from pipeline.errors import ArtifactError
from pipeline.runs.parent import ParentRef
from pipeline.runs.start_vectors import start_ref
from pipeline.storage.commits import Commits
from tests.helpers.commands import TINY, train, write_corpus

READERS: dict[str, Callable[[ParentRef], object]] = {
    "totals/*/totals": ParentRef.totals_table,
    "totals/*/files": ParentRef.taken_files,
    "vocabulary/*/vocabulary": ParentRef.words,
    "reservoir/*/sentences": ParentRef.open_reservoir,
    "phrases/*/*/phrases": lambda parent: parent.read_phrases(1),
}


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("parent")
    text = write_corpus(folder / "text.txt", lines=60, words=60)
    options = (*TINY, "--epochs=1", "--phrases=1", "--phrase_threshold=1", "--no_report")
    assert train(f"--input={text}", f"--output={folder / 'run'}", *options).status == 0
    return folder / "run"


def damaged(parent: pathlib.Path, pattern: str, read: Callable[[], object]) -> str:
    """What is said while one file has other bytes, and as many."""
    (file,) = parent.glob(f"{pattern}*")
    content = file.read_bytes()
    file.write_bytes(content[:-9] + b"damaged" + content[-2:])
    try:
        with pytest.raises(ArtifactError) as caught:
            read()
    finally:
        file.write_bytes(content)
    read()
    assert str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("pattern", READERS)
def test_damage_names_the_parent_as_the_run_to_start_again(parent, pattern):
    ref = ParentRef.of(Run(parent))
    said = damaged(parent, pattern, lambda: READERS[pattern](ref))
    assert said.startswith(f"--update={parent}: ")
    assert said.endswith(f": delete it and start the run in {parent} again, with the options that it had")


def test_damage_to_first_vectors_names_the_run_that_they_are_of(parent):
    ref, run = start_ref(str(parent), 12), Run(parent)
    words = run.vocabulary()["word"].combine_chunks()
    commits = Commits(run.records, "elsewhere", "ab" * 16)
    said = damaged(parent, "checkpoints/*/*/part", lambda: ref.load(commits, words, 1))
    assert said.startswith(f"--start_from={parent}: ")
    assert said.endswith(f": delete it and start the run in {parent} again, with the options that it had")
