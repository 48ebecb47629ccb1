"""With --log_format=json each line of a command is a JSON object, which says what its text would."""

from __future__ import annotations

import json

import pytest

from jobs.cli.entry import run_command
from jobs.cli.events import asked_for
from tests.helpers.commands import ALONE, ROOT, finish, run, start, train, write_corpus

JSON = "--log_format=json"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder of the run, how it ended)"""
    folder = tmp_path_factory.mktemp("told")
    corpus = write_corpus(folder / "corpus.txt")
    arguments = [f"--input={corpus}", f"--output={folder / 'run'}", f"--json={folder / 'result.json'}"]
    return folder, train(*arguments, *ALONE, "--batch_size=2048", "--no_report", JSON)


def objects(text, event=""):
    """The objects of a stream, or those of one kind."""
    read = [json.loads(line) for line in text.splitlines()]
    assert all(list(entry)[:2] == ["time", "event"] for entry in read)
    return [entry for entry in read if event in ("", entry["event"])]


def content(entry):
    return {name: value for name, value in entry.items() if name not in ("time", "event")}


def test_a_result_is_that_of_the_json_file(trained):
    folder, outcome = trained
    assert outcome.status == 0, outcome.stderr
    (result,) = objects(outcome.stdout)
    assert result["event"] == "result"
    assert content(result) == json.loads((folder / "result.json").read_text())
    (warning,) = objects(outcome.stderr, "warning")
    assert [warning["message"]] == result["warnings"]


def test_each_stage_tells_its_end(trained):
    ends = objects(trained[1].stderr, "progress")
    assert [end["stage"] for end in ends] == ["Count words", "Encode tokens", "Train"]
    assert all(end["ended"] and end["seconds"] >= 0 for end in ends)
    assert ends[-1]["done"] == ends[-1]["total"] > 0
    assert ends[-1]["unit"] == "tok"


def test_evaluation_verification_and_export_have_their_numbers(trained, tmp_path):
    place = f"--run={trained[0] / 'run'}"
    to = f"--json={tmp_path / 'evaluated.json'}"
    exported = json.loads(run("jobs.export", place, "--format=npy", f"--to={tmp_path / 'v.npy'}", JSON).stdout)
    assert exported["words"] == objects(trained[1].stdout)[0]["words"]
    assert exported["vectors"] == "input"
    first = json.loads((tmp_path / "v.words.json").read_text())[0]
    (evaluated,) = objects(run("jobs.evaluate", place, f"--neighbors={first}", to, JSON).stdout, "result")
    assert content(evaluated) == json.loads((tmp_path / "evaluated.json").read_text())
    (verified,) = objects(run("jobs.verify", place, JSON).stdout, "result")
    assert (verified["is_sound"], verified["digest"]) == (True, objects(trained[1].stdout)[0]["digest"])


def test_a_problem_is_an_object_too(trained, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.txt")
    assert train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *ALONE, "--no_report").status == 0
    (part,) = (tmp_path / "run" / "checkpoints").rglob("*.parquet")
    part.unlink()
    outcome = run("jobs.verify", f"--run={tmp_path / 'run'}", JSON)
    assert outcome.status == 1
    (problem,) = objects(outcome.stderr, "problem")
    assert part.name in problem["message"]
    assert not objects(outcome.stdout, "result")[0]["is_sound"]


def test_workers_in_other_processes_write_objects_too(tmp_path):
    corpus = write_corpus(tmp_path / "corpus.txt")
    asked = [f"--input={corpus}", f"--output={tmp_path / 'run'}", *ALONE, "--batch_size=2048", "--no_report", JSON]
    workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=1"]
    outcome = finish(start("jobs.train", *asked, *workers))
    assert outcome.status == 0, outcome.stderr
    assert [entry["message"].partition(" training")[0] for entry in objects(outcome.stderr, "warning")] == ["only 8"]
    assert objects(outcome.stdout, "result")


def test_a_plan_is_one_object(tmp_path):
    corpus = write_corpus(tmp_path / "corpus.txt")
    asked = [f"--input={corpus}", f"--output={tmp_path / 'run'}", "--dry_run"]
    (plan,) = objects(train(*asked, JSON).stdout)
    assert plan["event"] == "plan"
    assert plan["lines"] == train(*asked).stdout.splitlines()


def test_an_error_is_one_object_with_its_status():
    outcome = run("jobs.verify", "--run=/nowhere\x1b[2J", JSON)
    (error,) = objects(outcome.stderr)
    assert (error["event"], error["command"], error["status"], outcome.status) == ("error", "beam2vec verify", 2, 2)
    assert "\\x1b[2J/run.json does not exist" in error["message"]
    assert "\x1b" not in outcome.stderr


def test_a_defect_has_its_traceback(capsys):
    def fails(arguments):
        raise ZeroDivisionError("by nothing")

    assert run_command("beam2vec train", fails, [JSON]) == 1
    (error,) = objects(capsys.readouterr().err)
    assert error["message"] == "ZeroDivisionError: by nothing"
    assert "in fails" in error["traceback"]


def test_the_next_command_tells_text_again():
    run("jobs.verify", "--run=/nowhere", JSON)
    assert run("jobs.verify", "--run=/nowhere").stderr.startswith("beam2vec verify: ")


def test_other_formats_are_refused(tmp_path):
    assert "invalid choice: 'xml'" in run("jobs.verify", "--run=/nowhere", "--log_format=xml").error
    (tmp_path / "options.yaml").write_text("log_format: json\n")
    refused = train(f"--config={tmp_path / 'options.yaml'}", "--input=a", f"--output={tmp_path / 'run'}")
    assert "log_format, which is told before a file is read: give it beside it" in refused.error


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--run=x", JSON], True),
        (["--log-format=json"], True),
        (["--log_format", "json"], True),
        (["--log_format=text"], False),
        (["--log_format"], False),
        ([], False),
    ],
)
def test_what_asks_for_json(arguments, wanted):
    assert asked_for(arguments) is wanted


def test_the_page_names_each_kind_of_object():
    page = (ROOT / "docs" / "statuses.md").read_text(encoding="utf-8").partition("## Lines for programs")[2]
    for event in ("progress", "note", "warning", "log", "problem", "plan", "result", "error"):
        assert f"| `{event}` |" in page
