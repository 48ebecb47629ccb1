"""Errors reach the user as one line, whatever runner they came through."""

from __future__ import annotations

import pickle

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline import errors

CLASSES = [
    errors.PipelineError,
    errors.InputError,
    errors.OutputInUseError,
    errors.ArtifactError,
    errors.NonFiniteError,
    errors.InterruptedRunError,
]
MESSAGE = r"--input=C:\new\[draft].txt: 1% of lines (as '\n…') are no UTF-8: see [while reading]"


def test_exit_statuses_are_those_of_the_commands():
    assert [cls.exit_status for cls in CLASSES] == [1, 2, 3, 1, 1, 130]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_message_is_one_line_and_survives_pickling(cls):
    error = pickle.loads(pickle.dumps(cls(" a\n  b\tc\r\n\u2028d ")))
    assert type(error) is cls
    assert str(error) == "a b c d"
    assert error.exit_status == cls.exit_status


def test_a_message_may_be_another_error():
    assert str(errors.InputError(OSError(2, "No such file", "x.txt"))) == "[Errno 2] No such file: 'x.txt'"


# Through Beam.


def raise_plain(_):
    raise errors.InputError(MESSAGE)


def raise_with_cause(_):
    try:
        raise errors.ArtifactError("a cause")
    except errors.ArtifactError as error:
        raise errors.InputError(MESSAGE) from error


def raise_while_handling(_):
    try:
        raise OSError("disk on fire")
    except OSError:
        raise errors.InputError(MESSAGE)  # noqa: B904


def raise_in_use(_):
    raise errors.OutputInUseError(MESSAGE)


def raised_by_beam(function, *flags: str) -> Exception:
    """What running a DoFn that calls `function` raises."""
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([*flags]))
    _ = pipeline | beam.Create([1]) | "Read [all] 'files'" >> beam.Map(function)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        pipeline.run().wait_until_finish()
    return raised.value


def test_an_error_keeps_its_class_in_the_mode_that_is_the_default():
    raised = raised_by_beam(raise_in_use, "--direct_num_workers=2")
    assert type(raised) is errors.OutputInUseError
    assert str(errors.find(raised)) == MESSAGE


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("function", [raise_plain, raise_with_cause, raise_while_handling])
def test_beam_does_not_hide_an_error(function, threads):
    mode = "in_memory" if threads == 1 else "multi_threading"
    raised = raised_by_beam(function, f"--direct_num_workers={threads}", f"--direct_running_mode={mode}")
    assert str(raised) != MESSAGE  # else this test shows nothing
    found = errors.find(raised)
    assert type(found) is errors.InputError
    assert str(found) == MESSAGE


def test_the_class_survives_beam():
    raised = raised_by_beam(raise_in_use, "--direct_num_workers=2", "--direct_running_mode=multi_threading")
    assert type(raised) is RuntimeError
    assert type(errors.find_in_text(str(raised))) is errors.OutputInUseError


# Through other texts.


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("before", ["", "Traceback:\n  File x\n", "java.lang.RuntimeException: "])
@pytest.mark.parametrize("after", ["", "\n", " [while running 'Count/ParDo(Words)']\n\n\tat org.apache.beam"])
def test_an_error_is_found_in_the_text_of_a_runner(cls, before, after):
    found = errors.find_in_text(f"{before}pipeline.errors.{cls.__name__}: {MESSAGE}{after}")
    assert type(found) is cls
    assert str(found) == MESSAGE


@pytest.mark.parametrize("line_end", [r"\n", r"\\n"])
def test_an_error_is_found_in_escaped_text(line_end):
    text = line_end.join(["Traceback:", "pipeline.errors.InputError: no such file: x", "\tat org"])
    found = errors.find_in_text(text)
    assert type(found) is errors.InputError
    assert str(found) == "no such file: x"


def test_a_line_end_that_a_message_names_does_not_end_it_in_escaped_text():
    text = r"Traceback:\npipeline.errors.InputError: the line ends in \\n here\n\tat org"
    assert str(errors.find_in_text(text)) == r"the line ends in \\n here"


@pytest.mark.parametrize("text", ["", "ValueError: no", "pipeline.errors.Other: x", "InputError: x"])
def test_nothing_is_found_where_nothing_is(text):
    assert errors.find_in_text(text) is None
    assert errors.find(RuntimeError(text)) is None
