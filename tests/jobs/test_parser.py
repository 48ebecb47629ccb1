"""What the user wrote, and what a mistake in it says."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Sequence

import pytest

from jobs.cli.entry import run_command
from jobs.cli.parser import parser, read
from jobs.cli.reading_options import shown_progress
from jobs.runners import log_filter as worker_messages
from jobs.runners.log_filter import WithoutTracebacks
from pipeline.errors import InputError
from pipeline.runtime import progress

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


def test_tracebacks_of_our_errors_are_left_out_and_others_shown():
    shown = io.StringIO()
    stream = WithoutTracebacks(shown)
    print("Traceback (most recent call last):\n...\npipeline.errors.InputError: no words", file=stream)
    print("Traceback (most recent call last):\n...\ngrpc._channel._InactiveRpcError: the job is gone", file=stream)
    print("Traceback (most recent call last):\n...\nKeyError: 3", file=stream)
    print("as it was", file=stream)
    assert shown.getvalue() == "Traceback (most recent call last):\n...\nKeyError: 3\nas it was\n"


class _MultiThreadedRendezvous(Exception):  # noqa: N818
    """As gRPC calls it."""


def in_a_thread(act: Callable[[], object]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_a_worker_whose_runner_is_gone_says_nothing_beside_the_error_that_ended_the_job(capsys, monkeypatch):
    """Prism forgets the workers of a job that failed, while they still ask what to do."""
    gone = "Traceback (most recent call last):\n...\ngrpc._channel._InactiveRpcError: 'job-7' is not registered"
    worker = logging.getLogger("apache_beam.worker")
    failed: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda thread: failed.append(thread.exc_value))

    def lost(error: Exception) -> None:
        try:
            raise error
        except Exception:
            worker.exception("Failed to read inputs in the data plane.")
            raise

    def main(arguments: Sequence[str]) -> int:
        print(gone, file=sys.stderr)
        worker.error("Error processing instruction 11.\n%s", gone)
        worker.error("Error processing instruction 12: out of memory")
        in_a_thread(lambda: lost(_MultiThreadedRendezvous("the job is gone")))
        in_a_thread(lambda: {}["zeroth"])
        in_a_thread(lambda: worker.error("13.\nTraceback (most recent call last):\nKeyError: 'first'"))
        worker_messages.job_is_over()
        in_a_thread(lambda: lost(KeyError("second")))
        in_a_thread(lambda: print("Traceback (most recent call last):\nKeyError: 'third'", file=sys.stderr))
        raise InputError("50 of 100 lines cannot be read")

    assert run_command("jobs.train", main, []) == 2
    assert [str(error) for error in failed] == ["'zeroth'"]
    assert capsys.readouterr().err.splitlines() == [
        "Error processing instruction 12: out of memory",
        "13.",
        "Traceback (most recent call last):",
        "KeyError: 'first'",
        "jobs.train: 50 of 100 lines cannot be read",
    ]


def test_hyphens_in_our_options_are_as_good_as_underscores():
    made = command("--min-count=3", "--no-lowercase", "--learning-rate=1e-2")
    assert (made.options.min_count, made.options.lowercase, made.options.learning_rate) == (3, False, 0.01)


def test_a_bar_is_followed_by_another_when_the_work_begins_again(monkeypatch):
    done = {}

    class Bar:
        def __init__(self, name, total):
            self.name = name
            done.setdefault(name, [0, total])

        def advance(self, amount):
            done[self.name][0] += amount

    monkeypatch.setattr(progress, "stage", lambda name, total, unit: Bar(name, total))
    report = shown_progress("Analogies", "words")
    for total in (30, 30, 7):
        for now in range(5, total + 5, 5):
            report(min(now, total), total)
    assert done == {"Analogies": [30, 30], "Analogies 2": [30, 30], "Analogies 3": [7, 7]}
