"""A command that loses its output while it stands still: it stops with status 3, and the winner's run stays whole.

The first command is stopped at a chosen moment. Meanwhile its lock expires, a second command takes the output over
and ends. Then the first one goes on.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import pathlib
import re
import signal
import threading
import time

import pytest

from tests.helpers import crashing
from tests.helpers.commands import TINY, Outcome, digest_of, run, train, write_corpus
from tests.helpers.crashing import Moment, run_until

LAYOUT = ("--block_bytes=12000", "--batches=stored", "--checkpoint_every=5", "--keep_checkpoints=2", "--no_report")
LEFT = re.compile(r"that no record names|command that lost its lock|/checkpoints/.* is missing: run the same")
"""What verify says of late writes: files without a record, records of other options, parts that were pruned."""
OTHER = ("--overwrite", "--seed=8", "--window=2", "--min_count=1")
"""Makes the second command's run another one from its vocabulary on."""
MOMENTS = {
    "before a record of a count": Moment("put", "records/counts/", 2),
    "half a token shard": Moment("put", "tokens/", 2, "inside"),
    "after a record of batches": Moment("put", "records/batches/", 3, "after"),
    "half a checkpoint": Moment("put", "checkpoints/", 2, "inside"),
    "after the last checkpoint": Moment("put", "records/training/", when="after"),
}
MORE_MOMENTS = {
    "half an unpacked text": Moment("put", "text/", when="inside"),
    "before a record of text": Moment("put", "records/text/"),
    "half a count": Moment("put", "counts/", 2, "inside"),
    "after a record of a count": Moment("put", "records/counts/", 2, "after"),
    "before the vocabulary": Moment("put", "vocabulary/"),
    "before the vocabulary's record": Moment("put", "records/vocabulary/"),
    "before the unigram distribution's record": Moment("put", "records/unigram/"),
    "before a record of tokens": Moment("put", "records/tokens/", 2),
    "half a batch": Moment("put", "batches/", 3, "inside"),
    "while it trains": Moment("train", nth=6),
    "before a checkpoint's record": Moment("put", "records/checkpoints/", 2),
    "after a checkpoint's record": Moment("put", "records/checkpoints/", 2, "after"),
    "while it prunes": Moment("delete", "checkpoints/"),
    "half a point of the loss curve": Moment("put", "metrics/", when="inside"),
    "before the end is recorded": Moment("put", "records/training/"),
    "before the timings": Moment("put", "records/timings/"),
}


small_pieces = crashing.small_pieces


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("corpus")
    packed = write_corpus(folder / "b.txt", lines=150, seed=1)
    (folder / "b.txt.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    write_corpus(folder / "a.txt", lines=150)
    return folder


@pytest.fixture(scope="module")
def digests(corpus, tmp_path_factory) -> dict[tuple[str, ...], str]:
    """Options of the second command -> the digest of its run, where nobody disturbs it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return {more: digest_of(corpus, folder / str(len(more)), *LAYOUT, *more) for more in ((), OTHER)}


def stand_still(folder: pathlib.Path) -> None:
    """All threads of this process, once: what was swept away meanwhile is written again."""
    if (folder / "stands").exists():
        return
    (folder / "stands").write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)


def take_over(folder: pathlib.Path, command: list[str], outcomes: list[Outcome]) -> None:
    """Once the first command stands still: its lock expires, and the second command has the output."""
    until = time.monotonic() + 120
    while not is_stopped(pid := read(folder / "stands")):
        assert time.monotonic() < until, "the moment never came"
        time.sleep(0.01)
    try:
        lock = folder / "run/lock.json"
        lock.write_text(json.dumps({**json.loads(lock.read_text()), "expires": 0.0}))
        outcomes.append(train(*command))
    finally:
        os.kill(int(pid), signal.SIGCONT)


def read(path: pathlib.Path) -> str:
    return path.read_text() if path.exists() else ""


def is_stopped(pid: str) -> bool:
    return bool(pid) and ") T " in pathlib.Path(f"/proc/{pid}/stat").read_text()


def check(moment: Moment, more: tuple[str, ...], corpus: pathlib.Path, digest: str, folder: pathlib.Path) -> None:
    output, outcomes = folder / "run", list[Outcome]()
    command = [f"--input={corpus}", f"--output={output}", *TINY, *LAYOUT]
    second = threading.Thread(target=take_over, args=(folder, [*command, *more], outcomes))
    second.start()
    status = run_until(moment, functools.partial(stand_still, folder), command, folder / "log")
    second.join()
    said = (folder / "log").read_text()
    assert outcomes[0].digest == digest
    assert status == 3, said
    assert "digest:" not in said
    assert re.search(r"is no longer held by this run|is in use by", said)
    verified = run("jobs.verify", f"--run={output}")
    assert [line for line in verified.stderr.splitlines() if not LEFT.search(line)] == []
    assert verified.digest == digest
    again = train(*command, *more)
    assert again.digest == digest
    assert run("jobs.verify", f"--run={output}").status == 0
    assert list(output.rglob(".beam2vec-tmp-*")) == []


ALL = [(name, more) for name in {**MOMENTS, **MORE_MOMENTS} for more in ((), OTHER)]
FAST = list(zip(MOMENTS, [OTHER, (), OTHER, (), OTHER]))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        pytest.param(
            name,
            more,
            id=f"{name}, {'other' if more else 'the same'} options",
            marks=() if (name, more) in FAST else pytest.mark.slow,
        )
        for name, more in ALL
    ],
)
def test_a_command_that_lost_its_output_stops_and_changes_nothing(name, more, corpus, digests, tmp_path):
    check({**MOMENTS, **MORE_MOMENTS}[name], more, corpus, digests[more], tmp_path)
