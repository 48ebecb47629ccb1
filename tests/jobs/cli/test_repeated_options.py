"""An option that is given twice: lists add up, equal values are one, and different values are refused."""

from __future__ import annotations

import pathlib

import pytest

from jobs.cli.parser import parser, read
from jobs.cli.reading_options import reading_parser
from jobs.sources import Request
from pipeline.errors import InputError


def asked(*arguments: str) -> Request:
    return read([*arguments], parser("jobs.train", ""))


def refused(*arguments: str) -> str:
    with pytest.raises(InputError) as raised:
        asked(*arguments)
    return str(raised.value)


FILES = ("--input=a.txt", "--output=run")


def written(folder: pathlib.Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return f"--config={folder / name}"


def test_inputs_add_up():
    assert asked("--input=f1.txt", "--output=run", "--input=f2.txt,f3.txt", "--input", "f4.txt").inputs == (
        "f1.txt", "f2.txt", "f3.txt", "f4.txt",
    )  # fmt: skip


def test_stop_words_add_up_and_all_of_them_are_left_out(tmp_path):
    (tmp_path / "a").write_text("the\nof\n")
    (tmp_path / "b").write_text("is\n")
    request = asked(*FILES, f"--stopwords={tmp_path / 'a'}", f"--stopwords={tmp_path / 'b'}")
    assert request.options.stopwords == f"{tmp_path / 'a'},{tmp_path / 'b'}"


def test_inputs_of_the_command_line_take_the_place_of_the_configurations(tmp_path):
    config = written(tmp_path, "c.yaml", "input: [c1.txt, c2.txt]\nstopwords: [s1, s2]\noutput: run\n")
    assert asked(config).inputs == ("c1.txt", "c2.txt")
    assert asked(config).options.stopwords == "s1,s2"
    request = asked(config, "--input=f1.txt", "--input=f2.txt", "--stopwords=s3")
    assert (request.inputs, request.options.stopwords) == (("f1.txt", "f2.txt"), "s3")


@pytest.mark.parametrize(
    "twice",
    [
        ["--dims=50", "--dims=60"],
        ["--dims", "50", "--dims=60"],
        ["--min-count=3", "--min_count=4"],
        ["--lowercase", "--no-lowercase"],
        ["--lowercase=true", "--lowercase=false"],
        ["--overwrite", "--no-overwrite"],
        ["--output=another"],
        ["--model=cbow", "--model=skipgram"],
        ["--runner=FnApiRunner", "--runner=PrismRunner"],
        ["--direct_num_workers=1", "--direct_num_workers=2"],
    ],
)
def test_two_values_are_refused(twice):
    message = refused(*FILES, *twice)
    assert "is given twice, as " in message
    assert message.startswith(f"--{twice[0].partition('=')[0].lstrip('-').replace('-', '_')}")


def test_equal_values_are_one():
    request = asked(*FILES, "--dims=50", "--dims=50", "--lowercase", "--lowercase=true", "--output=run", "--overwrite")
    assert (request.options.dims, request.options.lowercase, request.overwrite) == (50, True, True)


def test_beams_options_that_add_up_still_do():
    beam = ("--experiments=a", "--experiments=b", "--environment_option=x=1", "--environment_option=y=2")
    assert asked(*FILES, *beam).beam == beam


def test_a_name_that_stands_twice_in_a_file_is_refused(tmp_path):
    assert "input stands there twice" in refused(written(tmp_path, "c.yaml", "input: a\noutput: b\ninput: c\n"))
    assert "min_count stands there twice, with - and with _" in refused(
        written(tmp_path, "c.yaml", "min_count: 3\nmin-count: 3\n"), *FILES
    )


def test_a_name_beside_a_merge_replaces_the_merged_one(tmp_path):
    config = written(tmp_path, "c.yaml", "<<: {dims: 50, window: 3}\ndims: 60\n")
    request = asked(*FILES, config)
    assert (request.options.dims, request.options.window) == (60, 3)


def test_several_files_may_share_an_option_with_an_equal_value_only(tmp_path):
    one = written(tmp_path, "1.yaml", "dims: 50\nepochs: 2\nrunner: FnApiRunner\nexperiments: [a, b]\n")
    two = written(tmp_path, "2.yaml", "dims: 50\nwindow: 3\nrunner: FnApiRunner\n")
    request = asked(*FILES, one, two)
    assert (request.options.dims, request.options.epochs, request.options.window) == (50, 2, 3)
    assert request.beam == ("--runner=FnApiRunner", "--experiments=a", "--experiments=b")
    three = written(tmp_path, "3.yaml", "dims: 60\n")
    assert "1.yaml and --config=" in refused(*FILES, one, three)
    assert "differ in dims" in refused(*FILES, one, three)
    assert "differ in runner" in refused(*FILES, one, written(tmp_path, "4.yaml", "runner: PrismRunner\n"))
    assert asked(*FILES, one, one).options.dims == 50


def test_what_is_no_number_differs_from_nothing(tmp_path):
    """.nan differs from itself."""
    config = written(tmp_path, "nan.yaml", "learning_rate: .nan\n")
    assert "--learning_rate=nan" in refused(*FILES, config)
    assert "--learning_rate=nan" in refused(*FILES, config, written(tmp_path, "again.yaml", "learning_rate: .nan\n"))


def test_the_command_line_wins_over_a_file_for_beams_options_too(tmp_path):
    config = written(tmp_path, "c.yaml", "direct_num_workers: 2\ndims: 50\n")
    request = asked(*FILES, config, "--direct_num_workers=3", "--dims=60")
    assert request.beam[-1] == "--direct_num_workers=3"
    assert request.options.dims == 60


def test_a_file_may_have_a_comma_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.txt").touch()
    assert asked("--input=a,b.txt", "--input=c,d.txt", "--output=run").inputs == ("a,b.txt", "c", "d.txt")


def test_commands_that_read_refuse_two_values_too():
    command_parser, _ = reading_parser("jobs.verify", "")
    assert command_parser.parse_args(["--run=a", "--run=a"]).run == "a"
    with pytest.raises(InputError, match=r"^--run is given twice, as a and as b: give it once$"):
        command_parser.parse_args(["--run=a", "--run=b"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dims: &a 50\nwindow: *a\n", "line 2 has an alias (*name): write the value itself"),
        ("a: &a [x]\nb: &b [*a, *a, *a]\ndims: 50\n", "line 2 has an alias (*name): write the value itself"),
        ("stopwords: " + "[" * 100_000 + "\n", "values are nested more than 20 deep"),
        ("dims: 50 #" + "x" * (1 << 20), "has more than 1,048,576 bytes: it is no such file"),
    ],
    ids=["alias", "aliases", "deep", "large"],
)
def test_a_configuration_that_stands_for_more_than_it_says_is_refused(tmp_path, text, message):
    assert message in refused(written(tmp_path, "c.yaml", text), *FILES)
