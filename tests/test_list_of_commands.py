"""`python -m jobs` lists every command, and each explains itself."""

from __future__ import annotations

import importlib
import pathlib

import pytest

from jobs import __main__ as listing
from jobs.running import run_command

JOBS = pathlib.Path(listing.__file__).parent


def test_every_command_is_listed_with_a_line(capsys):
    runnable = {path.stem for path in JOBS.glob("*.py") if "run_command(" in path.read_text("utf-8")} - {"running"}
    assert set(listing.COMMANDS) == runnable
    assert listing.main() == 0
    out = capsys.readouterr().out
    for name in listing.COMMANDS:
        assert f"python -m jobs.{name}" in out
        assert len(listing.first_line(name)) > 20


@pytest.mark.parametrize("name", listing.COMMANDS)
def test_help_is_grouped_and_fits_a_terminal(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as left:
        run_command(f"jobs.{name}", importlib.import_module(f"jobs.{name}").main, ["--help"])
    assert not left.value.code
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 130
    assert any(line.endswith(":") and not line.startswith(" ") for line in lines)
