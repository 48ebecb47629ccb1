"""Whatever words, names and files of others hold, nothing of it moves the cursor of who reads what a command says."""

from __future__ import annotations

import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

from pipeline.runtime import messages
from pipeline.runtime.shown_text import MOST, MOST_OF_A_LINE, Screen
from pipeline.storage.records import sealed_json, unsealed_json
from tests.helpers.commands import ROOT, TINY, Outcome, run

FORBIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f"
    r"\xad\u115f\u1160\u180e\u200b\u2060-\u2064\u2800\u3164\ufeff\ufff9-\ufffb]"
)
EVIL = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\u202e\u2066\u200f\x85\x9b31m\x7f\U000e0041\ufeff\u200b\xad\u115f\u3164\u2800"
"""What a name of a file may hold too."""
ESCAPED = ascii(EVIL)[1:-1]
WORDS = [f"{EVIL}{i}" for i in range(4)] + ["line\u2028end", "nul\0", "cr\rlf\n", "tab\t"] + ["x" * 2_000_000]
PLAIN = ["coffee", "bread", "water", "paris", "france", "rome", "italy", "berlin"]


def checked(outcome: Outcome, *statuses: int) -> Outcome:
    """The outcome, whose every line can be shown."""
    assert outcome.status in statuses, outcome
    for text in (outcome.stdout, outcome.stderr):
        shows_nothing_of_it(text)
    return outcome


def shows_nothing_of_it(text: str) -> None:
    assert not FORBIDDEN.search(text), ascii(text[:2000])
    assert max(map(len, text.split("\n"))) <= MOST_OF_A_LINE + 100  # a class's name may be written before its message
    assert "x" * (MOST + 1) not in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A corpus of lists of words, in files whose names are no better."""
    folder = tmp_path_factory.mktemp("hostile") / EVIL / f"in\u2028{EVIL}"
    folder.mkdir(parents=True)
    rows = [json.dumps({"t": WORDS + PLAIN}), *(json.dumps({"t": PLAIN + WORDS[:-1]}) for _ in range(30))]
    (folder / "a.jsonl").write_text("\n".join(rows) + "\n")
    with open(os.fsencode(folder) + b"/\xff\x1b]0;\xe2\x80\xae.jsonl", "wb") as file:
        file.write(b'{"t": ["\\ud800\x1b[2J"]}\n{"\x1b[2J": 1}\n\xff\x1b[2J\n')
    return folder


@pytest.fixture(scope="module")
def options(folder) -> list[str]:
    return [
        f"--input={folder}",
        "--input_format=jsonl",
        "--field=t",
        *TINY,
        "--min_count=1",
        "--max_bad_lines=9",
        "--negatives=2",
        "--replicas=1",
    ]


@pytest.fixture(scope="module")
def trained(folder, options) -> pathlib.Path:
    output = folder.parent / "run"
    outcome = checked(run("jobs.train", *options, f"--output={output}"), 0)
    assert "3 of 34 lines cannot be read" in outcome.stderr
    assert re.search(rf"^report      .*/{re.escape(ESCAPED)}/run/report.html$", outcome.stdout, re.MULTILINE)
    return output


@pytest.fixture
def copy(trained, tmp_path) -> pathlib.Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def test_the_plan_of_training(folder, options, tmp_path):
    outcome = checked(run("jobs.train", *options, f"--output={tmp_path / EVIL}", "--dry_run"), 0)
    assert f"  {ESCAPED}0 | {ESCAPED}1 | " in outcome.stdout
    assert "x" * (MOST - 1) + "…" in outcome.stdout


def test_what_differs_from_the_run_that_is_there(trained, options):
    outcome = checked(run("jobs.train", *options, f"--output={trained}", "--dims=13"), 2)
    assert "--dims is 13" in outcome.error


def test_preprocessing(options, tmp_path):
    wanted = [option for option in options if not re.match("--(dims|batch_size|replicas)", option)]
    checked(run("jobs.preprocess", *wanted, f"--output={tmp_path / EVIL}"), 0)


def test_a_word_that_is_no_vocabulary(options, tmp_path):
    outcome = checked(run("jobs.train", *options, f"--output={tmp_path / 'run'}", "--min_count=500"), 2)
    assert 'the first line became ["\\x1b[2J' in outcome.error
    listed = tmp_path / f"{EVIL}.txt"
    for text in (f"{EVIL} {'x ' * 500_000}\t\n", f"{EVIL}\t3\n{EVIL}\t4\n", f"{EVIL}\t0\n"):
        listed.write_text(text)
        outcome = checked(run("jobs.train", *options, f"--output={tmp_path / 'run'}", f"--vocabulary={listed}"), 2)
        assert len(outcome.error) < 1000


def test_verifying(trained, copy):
    checked(run("jobs.verify", f"--run={trained}", "--input"), 0)
    (copy / "records" / "counts" / f"{EVIL}.json").write_text(EVIL)
    record = next(copy.glob("records/tokens/*/*.json"))
    body = unsealed_json(record.read_bytes())
    body["artifacts"][0]["path"] = f"tokens/{EVIL}"
    record.write_bytes(sealed_json(body))
    outcome = checked(run("jobs.verify", f"--run={copy}"), 1)
    assert r"\x1b[2J" in outcome.stderr


def test_evaluating(trained, tmp_path):
    pairs, analogies = tmp_path / f"{EVIL}.tsv", tmp_path / f"{EVIL}.txt"
    pairs.write_text(f"coffee\twater\t3\nbread\tparis\t1\n{WORDS[0]}\trome\t2\n")
    analogies.write_text(f": {EVIL} {'x' * 1_000_000}\nparis france rome italy\n")
    result = tmp_path / "result.json"
    arguments = ["jobs.evaluate", f"--run={trained}", f"--pairs={pairs}", f"--analogies={analogies}"]
    asked = f"--neighbors={WORDS[0]},coffee"
    outcome = checked(run(*arguments, asked, f"--json={result}"), 0)
    assert f"near '{ESCAPED}0':\n" in outcome.stdout
    exact = run(*arguments, asked, "--json=-").stdout
    assert exact == result.read_text()
    assert list(json.loads(exact)["neighbors"]) == [WORDS[0], "coffee"]
    assert json.loads(exact)["analogies"][0]["sections"][0]["name"] == f"{EVIL} {'x' * 1_000_000}"
    checked(run("jobs.evaluate", f"--run={trained}", f"--neighbors={WORDS[0]}1"), 2)
    pairs.write_text(f"{EVIL} {'x' * 1_000_000}\n")
    assert r"the first line is '\x1b[2J" in checked(run(*arguments), 2).error


def test_exporting(trained, tmp_path):
    for name, ending in {"word2vec": "txt", "npy": "npy", "parquet": "parquet"}.items():
        checked(run("jobs.export", f"--run={trained}", f"--format={name}", f"--to={tmp_path}/{EVIL}.{ending}"), 0)
    assert json.loads((tmp_path / f"{EVIL}.words.json").read_text())[-1] == WORDS[-1]


def test_the_report(trained, tmp_path):
    page = tmp_path / "page.html"
    pairs = tmp_path / f"{EVIL}.tsv"
    pairs.write_text("coffee\twater\t3\nbread\tparis\t1\n")
    outcome = run("jobs.report", f"--run={trained}", f"--against={trained}", f"--pairs={pairs}", f"--to={page}")
    checked(outcome, 0)
    data = re.search('<script id="data"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)[1]
    assert ESCAPED.replace("\\", "\\\\") in data
    for text in re.findall('"([^"]*)"', data):
        shows_nothing_of_it(text)
        assert len(text) <= 2 * MOST  # a backslash is two in JSON


def test_a_lock_of_others(copy, options):
    holder = {"token": EVIL, "host": EVIL + "x " * 1_000_000, "pid": 1, "process": EVIL, "since": time.time()}
    (copy / "lock.json").write_text(json.dumps({**holder, "expires": time.time() + 60}))
    outcome = checked(run("jobs.train", *options, f"--output={copy}"), 3)
    assert r"is in use by process 1 on \x1b[2J" in outcome.error
    assert len(outcome.error) < 1000


@pytest.mark.parametrize("part", ["inputs", "tokenizer", "versions", "model", "format_version", "corpus"])
def test_a_run_of_others(copy, options, part):
    saved = unsealed_json((copy / "run.json").read_bytes())
    value = EVIL + " x" * 50_000
    match part:
        case "inputs":
            saved["inputs"] = [{"uri": f"/{i}{value}", "size": 3, "version": value} for i in range(12)]
            saved["inputs"].append({**unsealed_json((copy / "run.json").read_bytes())["inputs"][0], "version": value})
        case "model":
            saved["options"]["model"]["tokenizer"] = saved["options"]["model"][value] = value
        case "format_version" | "corpus":
            saved[part] = value
        case _:
            saved[part] = {value: value, **saved[part], "python": value}
    (copy / "run.json").write_bytes(sealed_json(saved))
    outcome = checked(run("jobs.train", *options, f"--output={copy}"), 0, 1, 2)
    assert r"\x1b[2J" in outcome.stderr
    checked(run("jobs.verify", f"--run={copy}", "--input"), 0, 1, 2)
    checked(run("jobs.report", f"--run={copy}", f"--to={copy.parent / 'page.html'}"), 0, 1, 2)


def test_a_process_of_its_own_shows_bytes_of_names_and_tracebacks_as_escapes(tmp_path):
    script = (
        "import sys; from jobs.cli.entry import run_command\n"
        "def main(arguments):\n"
        "    print(sys.argv[1]); print(sys.argv[1], file=sys.stderr); raise KeyError(sys.argv[1] + 'x ' * 100000)\n"
        "sys.exit(run_command('name', main))"
    )
    command = [sys.executable, "-c", script, os.fsencode(EVIL) + b"\xff\xe2\x80\xa8"]
    process = subprocess.run(
        command, capture_output=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.returncode == 1
    assert b"KeyError" in process.stderr
    shown = ESCAPED + r"\udcff\u2028"
    assert process.stdout.decode() == shown + "\n"
    assert process.stderr.decode().startswith(shown + "\nTraceback")
    shows_nothing_of_it(process.stderr.decode())


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_beside_progress_bars(terminal, monkeypatch, caplog):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", Screen(stream))
    messages.say(f"note of {EVIL}{'x' * 1_000_000}\u2028 end")
    said = stream.getvalue() if terminal else caplog.messages[0]
    assert said.startswith(r"note of \x1b[2J")
    assert said.rstrip("\n").endswith(" end")
    shows_nothing_of_it(said)
