"""What a command tells at its end: the result, and all that it has warned of, for people and as JSON."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.helpers.commands import TINY, preprocess, train, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    """With a line that is not UTF-8."""
    path = write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt", lines=60)
    path.write_bytes(path.read_bytes() + b"\xff\n")
    return path


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_warnings_are_counted_at_the_end_and_stand_in_the_json(corpus, tmp_path, mode):
    file = tmp_path / "result.json"
    options = (*TINY, "--no_report", "--max_bad_lines=5", f"--json={file}", f"--direct_running_mode={mode}")
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *options)
    assert outcome.status == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    place = lines.index("warnings    2")
    told = json.loads(file.read_text())
    assert [line.strip() for line in lines[place + 1 : place + 3]] == told["warnings"]
    assert sorted(told["warnings"])[0].startswith("1 of 61 lines cannot be read and are left out (the first: not UTF-8")
    assert sorted(told["warnings"])[1].startswith("only 10 training steps: more --epochs")
    assert lines[-1] == f"digest: {told['digest']}"
    assert (told["step"], told["steps"], told["dims"], told["has_ended"]) == (10, 10, 12, True)
    assert told["loss"] > 0
    assert not list(tmp_path.glob("run/errors/*"))


def test_json_on_standard_output_is_all_that_is_printed(corpus, tmp_path):
    options = (f"--input={corpus}", f"--output={tmp_path / 'run'}", "--max_bad_lines=5", "--json=-")
    told = json.loads(preprocess(*options).stdout)
    assert told["words"] > 0
    assert told["tokens"] > told["words"]
    assert [warning[:7] for warning in told["warnings"]] == ["1 of 61"]
    again = json.loads(train(f"--corpus={tmp_path / 'run'}", f"--output={tmp_path / 'model'}", "--json=-").stdout)
    assert again["tokens"] == told["tokens"]


def test_a_file_that_cannot_be_written_ends_the_command_before_its_work(corpus, tmp_path):
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", f"--json={tmp_path}")
    assert outcome.status == 2
    assert f"--json={tmp_path}" in outcome.error
    assert not (tmp_path / "run").exists()


def test_without_a_warning_there_is_no_heading(tmp_path):
    text = write_corpus(tmp_path / "text.txt", lines=60)
    outcome = train(f"--input={text}", f"--output={tmp_path / 'run'}", *TINY, "--batch_size=2", "--no_report")
    assert "warnings" not in outcome.stdout
