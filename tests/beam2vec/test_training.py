"""The public face: what a program sees of a training, and what it is left with afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

import beam2vec
from tests.helpers.commands import ROOT, finish
from tests.helpers.warm import WarmProcess

TEXT = "a rose is a rose is a rose\n" * 200
OPTIONS = {"dims": 8, "batch_size": 32, "epochs": 2}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def in_a_program(code: str, *arguments: str, folder=ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


def test_the_import_loads_neither_beam_nor_numba():
    code = "import sys, beam2vec; print([m for m in ('apache_beam', 'numba', 'numpy', 'pyarrow') if m in sys.modules])"
    assert in_a_program(code).stdout == "[]\n"


def test_every_public_name_is_there():
    assert sorted(beam2vec.__all__) == dir(beam2vec)
    for name in beam2vec.__all__:
        assert getattr(beam2vec, name)
    with pytest.raises(AttributeError, match="tain"):
        beam2vec.tain  # noqa: B018


def test_two_trainings_in_one_process_and_one_in_a_thread_give_the_same_digest(text, tmp_path):
    runs = [beam2vec.train(input=text, output=tmp_path / f"run{number}", **OPTIONS) for number in range(2)]
    thread = threading.Thread(
        target=lambda: runs.append(beam2vec.train(input=[text], output=tmp_path / "thread", threads=1, **OPTIONS))
    )
    thread.start()
    thread.join()
    assert len({run.checkpoint().digest for run in runs}) == 1
    assert runs[2].words() == ["a", "rose", "is"]


def test_preprocessed_text_trains_to_the_same_digest(text, tmp_path):
    corpus = beam2vec.preprocess(input=text, output=tmp_path / "corpus")
    run = beam2vec.train(corpus=corpus.uri, output=tmp_path / "run", **OPTIONS)
    whole = beam2vec.train(input=text, output=tmp_path / "whole", **OPTIONS)
    assert run.checkpoint().digest == whole.checkpoint().digest


def test_a_run_and_a_path_are_what_their_names_are(text, tmp_path):
    first = beam2vec.train(input=text, output=tmp_path / "first", **OPTIONS)
    kinds = {"run": first, "path": tmp_path / "first", "text": first.uri}
    runs = [beam2vec.train(text, tmp_path / name, start_from=kind, **OPTIONS) for name, kind in kinds.items()]
    assert len({run.checkpoint().digest for run in runs} | {first.checkpoint().digest}) == 2


def test_a_listener_hears_of_each_stage(text, tmp_path):
    heard: list[beam2vec.Progress] = []
    beam2vec.train(input=text, output=tmp_path / "run", progress=heard.append, **OPTIONS)
    assert {now.stage for now in heard} == {"Count words", "Encode tokens", "Train"}
    last = [now for now in heard if now.stage == "Train"][-1]
    assert (last.done, last.total, last.unit) == (3200, 3200, "tok")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dim": 8}, "dim is no option: it is called dims here"),
        ({"vector_size": 8}, "vector_size is no option: it is called dims here"),
        ({"dimms": 8}, r"dimms is no option: did you mean dims\?"),
        ({"input": [["a", "b"]]}, "give paths of files or folders, or patterns"),
        ({"dims": 0}, "^dims=0: allowed is a whole number of at least 1"),
        ({"rounds": 2}, "^rounds=2 needs replicas: .* Leave rounds out, or set replicas to 2 or more"),
        ({"corpus": "there"}, "give either input .* or corpus"),
        ({"output": ""}, "output is missing"),
        ({"output": None}, "output is missing"),
        ({"progress": 3}, "progress=3: give True, False, or a function"),
        ({"min_count": 10**6}, "^min_count=1000000 leaves no word: .* Lower min_count, or check tokenizer"),
        ({"input": "nothing/*.txt"}, "matches no file"),
    ],
)
def test_what_is_wrong_is_raised(text, tmp_path, given, message):
    with pytest.raises(beam2vec.InputError, match=message):
        beam2vec.train(**{"input": text, "output": tmp_path / "run", **given})


LEFT_AS_IT_WAS = """
import logging, os, signal, sys, threading
def state():
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    root = logging.getLogger()
    return dict(os.environ), signals, sys.stdout, sys.stderr, list(root.handlers), list(root.filters), root.level, \\
        threading.excepthook
before = state()
import beam2vec
beam2vec.train(input=sys.argv[1], output=sys.argv[2], dims=8, batch_size=8)
try:
    beam2vec.train(input=sys.argv[1], output=sys.argv[2] + "2", min_count=10**6)
except beam2vec.InputError:
    pass
assert state() == before, [pair for pair in zip(before, state()) if pair[0] != pair[1]]
"""


def test_nothing_is_printed_and_the_process_is_left_as_it_was(text, tmp_path):
    done = in_a_program(LEFT_AS_IT_WAS, str(text), str(tmp_path / "run"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def interrupted(text, output):
    """A program that gets SIGINT while it trains."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests may have it ignored
    sent = []

    def bang(now):
        if now.stage == "Train" and now.done > 10_000 and not sent:
            sent.append(now)
            os.kill(os.getpid(), signal.SIGINT)

    try:
        beam2vec.train(input=text, output=output, dims=8, batch_size=32, epochs=10_000, progress=bang)
    except KeyboardInterrupt:
        print(beam2vec.Run.open(str(output)).checkpoint().step > 0)
    return 0


def test_an_interrupted_training_has_a_checkpoint(text, tmp_path):
    outcome = finish(WarmProcess(interrupted, text, tmp_path / "run"))
    assert outcome.stdout == "True\n", outcome.stderr
    assert not (tmp_path / "run" / "lock.json").exists()


def test_a_module_of_another_that_is_called_as_ours_is_named(tmp_path):
    (tmp_path / "pipeline.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import beam2vec"
    done = in_a_program(code)
    assert done.stderr.splitlines()[-1].startswith(
        f"ImportError: beam2vec needs its own package 'pipeline', but {tmp_path / 'pipeline.py'} is another one"
    )


def test_a_bar_is_shown_where_it_is_asked_for(text, tmp_path, capsys):
    beam2vec.train(input=text, output=tmp_path / "run", progress=True, **OPTIONS)
    assert "Train: 100%" in capsys.readouterr().err


def test_a_program_hears_of_what_is_probably_wrong(text, tmp_path):
    with pytest.warns(beam2vec.PipelineWarning, match="^only 20 training steps: more epochs or a smaller batch_size"):
        beam2vec.train(text, tmp_path / "run", dims=8, batch_size=512)


def test_a_program_is_not_warned_of_what_is_as_it_should_be(text, tmp_path, recwarn, caplog):
    options = {"dims": 8, "batch_size": 8}
    beam2vec.train(text, tmp_path / "run", **options)
    with caplog.at_level("INFO", "pipeline"):
        beam2vec.train(text, tmp_path / "run", **options)
    assert [warning for warning in recwarn if warning.category is beam2vec.PipelineWarning] == []
    assert "run had ended before, at step 1,000 of 1,000" in caplog.text


def test_files_of_stop_words_may_be_several(text, tmp_path):
    for name, word in (("one", "is"), ("two", "a")):
        (tmp_path / name).write_text(f"{word}\n")
    options = {**OPTIONS, "negative_policy": "any"}
    run = beam2vec.train(text, tmp_path / "run", stopwords=[tmp_path / "one", tmp_path / "two"], **options)
    assert run.words() == ["rose"]


@pytest.mark.parametrize("parent", [None, ""])
def test_an_update_of_nothing_is_refused(tmp_path, parent):
    with pytest.raises(beam2vec.InputError, match="update needs a parent"):
        beam2vec.update(parent, tmp_path / "text", tmp_path / "run")
