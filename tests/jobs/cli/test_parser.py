"""What the user wrote, and what a mistake in it says."""

from __future__ import annotations

import pytest

from jobs.cli import parser as parser_module
from jobs.cli.parser import parser, read
from jobs.training_job import PREPROCESSING
from pipeline.errors import InputError
from tests.helpers.commands import train

FILES = ("--input=corpus.txt", "--output=run")


def command(*arguments):
    return read([*FILES, *arguments], parser("jobs.train", ""))


def test_dry_run_needs_no_value_though_beam_wants_one(tmp_path):
    assert command("--dry_run").beam == ("--dry_run=True",)
    config = tmp_path / "plan.yaml"
    config.write_text("dry_run: true\n")
    assert command(f"--config={config}").beam == ("--dry_run=True",)
    assert command("--dry_run=false").beam == ()


def test_a_switch_of_the_configuration_file_is_taken_back_by_the_command_line(tmp_path):
    config = tmp_path / "switches.yaml"
    config.write_text("overwrite: true\nno_report: true\nlowercase: true\nmin-count: 3\n")
    made = command(f"--config={config}")
    assert (made.overwrite, made.report, made.options.lowercase, made.options.min_count) == (True, False, True, 3)
    made = command(f"--config={config}", "--overwrite=false", "--no_report=false", "--lowercase=false")
    assert (made.overwrite, made.report, made.options.lowercase) == (False, True, False)
    config.write_text("config: other.yaml\n")
    with pytest.raises(InputError, match="names another configuration file"):
        command(f"--config={config}")


def test_options_that_only_another_runner_knows_are_passed_on_unless_they_look_like_ours():
    with pytest.raises(InputError, match="--max_vocab is no option: did you mean --max_vocabulary"):
        command("--max_vocab=10")
    elsewhere = ("--runner=FlinkRunner", "--checkpointing_mode=AT_LEAST_ONCE", "--checkpoint_dir=/tmp")
    assert command(*elsewhere).beam == elsewhere
    with pytest.raises(InputError, match="--min_cont is no option: did you mean --min_count"):
        command("--runner=FlinkRunner", "--min_cont=3")


@pytest.mark.parametrize("argument", ["--dims", "--runner", "--lowercase=maybe"])
def test_an_option_that_does_not_parse_is_named_in_one_line(argument):
    with pytest.raises(InputError, match=f"argument {argument.partition('=')[0]}") as caught:
        command(argument)
    assert "usage" not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_hyphens_in_our_options_are_as_good_as_underscores():
    made = command("--min-count=3", "--no-lowercase", "--learning-rate=1e-2")
    assert (made.options.min_count, made.options.lowercase, made.options.learning_rate) == (3, False, 0.01)


@pytest.mark.parametrize(
    ("argument", "answer"),
    [
        ("--compute_loss=1", "--compute_loss is no option: "),
        ("--shrink_windows=0", "--shrink_windows is no option: "),
        ("--batch_words=10000", "--batch_words is no option: "),
        ("--trim_rule=x", "--trim_rule is no option: "),
        ("-pretrainedVectors=x.vec", "--pretrainedVectors is no option: --start_from names "),
        ("-wordNgrams=2", "--wordNgrams is no option: "),
        ("-loss=ns", "--loss is no option: "),
        ("-bucket=1000", "--bucket is no option: "),
        ("--vector_size=50", "--vector_size is no option: it is called --dims here"),
        ("-negative=5", "it is called --negatives here"),
        ("-minCount=5", "it is called --min_count here"),
    ],
)
def test_options_of_other_trainers_are_answered(argument, answer):
    with pytest.raises(InputError) as caught:
        command(argument)
    assert answer in str(caught.value)


@pytest.mark.parametrize("argument", ["--dims=\udcff", "--\udcff=1", "\udcff.txt", "--tokenizer=\udcff"])
def test_arguments_that_are_not_utf8_are_one_line(tmp_path, argument):
    text = tmp_path / "text.txt"
    text.write_text("a rose is a rose\n" * 50)
    outcome = train(f"--input={text}", f"--output={tmp_path / 'run'}", "--min_count=1", "--no_report", argument)
    assert outcome.status == 2
    assert "udcff" in outcome.error


def test_a_dry_run_says_whose_code_it_runs_before_it_does(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(parser_module, "say", told.append)
    config = tmp_path / "plan.yaml"
    config.write_text("tokenizer: somebody.module:function\ndry_run: true\n")
    command(f"--config={config}")
    assert told == ["--dry_run runs the code of --tokenizer=somebody.module:function, which --config names"]
    command(f"--config={config}", "--tokenizer=whitespace")
    config.write_text("tokenizer: unicode_words\ndry_run: true\n")
    command(f"--config={config}")
    assert len(told) == 1


@pytest.mark.parametrize("argument", ["--update=runs/monday", "--update"])
def test_preprocessing_updates_no_model_though_beam_has_an_option_of_that_name(argument):
    said = "--update is not an option of beam2vec preprocess, which makes no model and updates none: give it to"
    with pytest.raises(InputError, match=said):
        read([*FILES, argument], parser("beam2vec preprocess", "", PREPROCESSING))
