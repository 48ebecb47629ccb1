"""The page on generations shows what a newcomer follows: it runs as it is written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import beam2vec
from examples import python_topics
from tests.helpers.commands import ROOT, run

PAGE = (ROOT / "docs" / "generations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## In ten minutes")[2].partition("\n## ")[0]


def test_the_first_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    exec(compile(snippet, "generations.md", "exec"), {})
    outcomes = []
    for line in re.findall(r"^ {4}((?:beam2vec|cp) .*)", SECTION.replace(snippet, ""), re.MULTILINE):
        program, *arguments = shlex.split(line)
        if program == "cp":
            shutil.copytree(*arguments[1:])
        else:
            outcomes.append(run(f"jobs.{arguments[0]}", *arguments[1:]))
    assert [outcome.status for outcome in outcomes] == [0, 0, 4, 0, 0, 0], outcomes
    first, compared, refused, log, *_ = outcomes
    assert [line.split()[:3:2] for line in first.stdout.splitlines()[:3]] == [
        ["promoted", "cold"],
        ["promoted", "update"],
        ["promoted", "update"],
    ]
    assert "shared words" in compared.stdout
    assert "all sentences were there before" in refused.stdout
    assert "refused" in log.stdout
    assert beam2vec.Run("topics").uri.endswith("2026-11-02")
    assert run("jobs.follow", "--series=topics", "--once").stdout.startswith("nothing new")


def test_an_update_and_a_start_from_it_run_as_they_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("Update", "Start from another model", "Compare two models")
    sections = "".join(PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0] for name in names)
    begun = []
    for line in re.findall(r"^ {4}((?:beam2vec|split|python -m examples).*)", sections, re.MULTILINE):
        program, *arguments = shlex.split(line)
        if program == "split":
            subprocess.run([program, *arguments], check=True)
        elif program == "python":
            python_topics.main(arguments[-1])
        else:
            outcome = run(f"jobs.{arguments[0]}", *arguments[1:])
            assert outcome.status == 0, f"{line}\n{outcome.stderr}"
        begun.append(program)
    assert begun == ["python", "split", *["beam2vec"] * 6]
    assert beam2vec.Run("runs/all").options.start_from == "runs/tuesday"
