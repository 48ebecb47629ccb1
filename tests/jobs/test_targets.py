"""Where a result cannot go, a command says so before it works for it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from jobs.cli.reading_options import check_target
from pipeline.errors import InputError
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import ROOT, run

NO_RUN = "--run=no/such/run"
"""Whoever looks for it, says so first."""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("~/x", "~ stands for no folder, since you have no home here"),
        ("~", "~ stands for no folder, since you have no home here"),
        ("~nobody-here/x", "~nobody-here stands for no folder, since nobody-here has no home here"),
        ("folder", "is a folder: name a file"),
        ("folder/", "is a folder: name a file"),
        ("file/x", "/file is not a folder"),
        ("file/x/y", "/file is not a folder"),
        ("ftp://host/x", "ftp:// is not supported"),
    ],
)
@pytest.mark.parametrize("arguments", [["evaluate", "json"], ["report", "to"], ["export", "to", "--format=npy"]])
def test_a_target_is_looked_at_first(arguments, target, why, monkeypatch, place):
    monkeypatch.setenv("HOME", "~")
    job, option, *others = arguments
    outcome = run(f"jobs.{job}", NO_RUN, f"--{option}={target}", *others)
    assert outcome.status == 2
    assert why in outcome.error
    assert target in outcome.error
    assert sorted(path.name for path in place.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("option", ["--output", "--corpus", "--vocabulary", "--stopwords", "--config", "--input"])
def test_no_folder_is_called_like_a_home_that_is_not_known(option, monkeypatch, place):
    (place / "text.txt").write_text("a b c\n" * 9)
    given = {"--input": "text.txt", "--output": "run", option: "~/x"}
    if option == "--corpus":
        del given["--input"]
    monkeypatch.setenv("HOME", "~")
    outcome = run("jobs.train", *(f"{name}={value}" for name, value in given.items()))
    assert outcome.status == 2
    assert "~/x: ~ stands for no folder, since you have no home here; write the path in full" in outcome.error
    assert not (place / "~").exists()


def test_a_file_whose_name_begins_with_a_tilde_is_one(place):
    assert open_storage("~text.txt").root == str(place / "~text.txt")


def test_what_is_missing_on_the_way_is_made_later(place):
    check_target("--to", "new/folder/x.npy")
    check_target("--to", "folder/", folder=True)
    check_target("--to", "file")
    check_target("--to", "memory://bucket/x")
    with pytest.raises(InputError, match="--to=file is a file: name a folder"):
        check_target("--to", "file", folder=True)


def test_a_folder_that_may_not_be_written_is_told(place):
    """By a user who is not root: root may write everywhere."""
    (place / "folder").chmod(0o555)
    script = (
        "import os, sys\n"
        "from jobs.cli.reading_options import check_target\n"
        "check_target('--json', 'file')\n"  # imports the rest, which another user may not read
        "os.getuid() or os.setuid(65534)\n"
        "for to in sys.argv[1:]:\n"
        "    try:\n"
        "        check_target('--json', to)\n"
        "    except Exception as error:\n"
        "        print(error)"
    )
    os.chmod(place, 0o755)
    inside = "/usr" if os.getuid() == 0 else str(place / "folder")  # this folder may lie where others see nothing
    done = subprocess.run(
        [sys.executable, "-c", script, f"{inside}/x", f"{inside}/new/x"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"--json={inside}/x cannot be written: you may not write to {inside}",
        f"--json={inside}/new/x cannot be written: you may not write to {inside}",
    ]
