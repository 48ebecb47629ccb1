"""A command reads of options, a program of arguments."""

from __future__ import annotations

import beam2vec
from pipeline.errors import InputError
from pipeline.runtime import wording


def in_python(message: str) -> str:
    """The message as a program is shown it; the tests themselves are in a command."""
    commands, wording._commands = wording._commands, 0
    try:
        assert beam2vec.InputError is InputError
        assert wording.worded(wording.worded(message)) == wording.worded(message)
        return str(InputError(message))
    finally:
        wording._commands = commands


def test_a_command_reads_what_was_written():
    message = "--min_count=500 leaves no word: lower --min_count, or run beam2vec train again with --overwrite"
    assert str(InputError(message)) == message


def test_a_program_reads_of_arguments():
    assert in_python("--min_count=500 leaves no word") == "min_count=500 leaves no word"
    assert in_python("choose another --output, or --overwrite") == "choose another output, or overwrite=True"
    assert in_python("(--step=5)") == "(step=5)"
    assert in_python("--vectors=both: allowed are input") == "side=both: allowed are input"


def test_a_program_reads_of_functions():
    assert in_python("run beam2vec train with --corpus=a") == "run beam2vec.train with corpus=a"
    assert in_python("run beam2vec verify --run=a") == "run beam2vec verify --run=a"


def test_options_of_others_keep_their_dashes():
    for message in ("--runner=FlinkRunner: none", "send it along by --setup_file", "a--dims", "--dims-x"):
        assert in_python(message) == message
