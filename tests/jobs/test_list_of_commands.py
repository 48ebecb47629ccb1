"""`python -m jobs` lists every command, and each explains itself."""

from __future__ import annotations

import importlib
import json
import pathlib
import sys

import pytest

from jobs import __main__ as listing
from jobs.cli.entry import run_command
from tests.helpers.commands import TINY

JOBS = pathlib.Path(listing.__file__).parent


def test_every_command_is_listed_with_a_line(capsys):
    runnable = {path.stem for path in JOBS.glob("*.py") if "run_process(" in path.read_text("utf-8")}
    assert set(listing.COMMANDS) == runnable - {"running", "__main__"}
    assert listing.main([]) == 0
    out = capsys.readouterr().out
    for name in listing.COMMANDS:
        assert f"  beam2vec {name} " in out
        assert len(listing.first_line(name)) > 20


def test_one_script_runs_them_all(capsys, tmp_path, monkeypatch):
    (tmp_path / "own_words.py").write_text("def split(line):\n    return line.split('-')\n")
    (tmp_path / "jobs.py").write_text("raise ImportError('somebody else has jobs')\n")
    (tmp_path / "text.txt").write_text("one-two-three\n" * 50)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert listing.main(["train", "--input=text.txt", "--output=run", "--tokenizer=own_words:split", *TINY]) == 0
    assert "3 words" in capsys.readouterr().out
    assert listing.main(["verify", "--run=run"]) == 0
    assert listing.main(["trian"]) == 2
    assert "trian is no command; there are train, preprocess" in capsys.readouterr().err
    assert listing.main(["trian", "--log_format=json"]) == 2
    assert json.loads(capsys.readouterr().err)["message"].startswith("trian is no command")


@pytest.mark.parametrize("name", listing.COMMANDS)
def test_help_is_grouped_and_fits_a_terminal(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as left:
        run_command(f"jobs.{name}", importlib.import_module(f"jobs.{name}").main, ["--help"])
    assert not left.value.code
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 130
    assert any(line.endswith(":") and not line.startswith(" ") for line in lines)
