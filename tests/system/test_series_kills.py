"""A series that is killed at any moment, or followed by two commands at once: the log and the models of a quiet one."""

from __future__ import annotations

import contextlib
import pathlib
import random
import shutil
import time
import uuid
from typing import Any, NoReturn

import msgspec
import pytest

import beam2vec
from jobs import series_job
from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.series.log import Log
from pipeline.storage import object_store
from pipeline.storage.lock import PATH as LOCK
from pipeline.storage.object_store import ObjectStorage
from pipeline.storage.open_storage import open_storage
from tests.helpers import real_s3
from tests.helpers.commands import finish, run, start
from tests.helpers.crashing import Moment, _child, kill
from tests.helpers.days import OPTIONS, follow, write_day
from tests.helpers.warm import WarmProcess

KILLS = 2
SLOW_KILLS = 50
LAST = 160
"""About how many objects a quiet series writes."""
_ATTEMPT = ("at", "who", "token", "number")


def arguments(series: pathlib.Path | str, texts: pathlib.Path) -> list[str]:
    return [f"--series={series}", "--once", f"--input_root={texts}", "--by=dt=*", "--retrain_every=3", *OPTIONS]


def history(series: pathlib.Path | str) -> list[dict[str, Any]]:
    """The log, but for what differs from one attempt to another."""
    entries = msgspec.to_builtins(Log.open(str(series)).entries)
    return [{name: value for name, value in entry.items() if name not in _ATTEMPT} for entry in entries]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Four days, of which the third is refused and the fourth is a retrain; and the log that comes of them."""
    folder = tmp_path_factory.mktemp("quiet")
    for day, seed in ((1, 1), (2, 2), (3, 2), (4, 4)):
        write_day(folder / "texts", f"2026-11-0{day}", seed)
    assert run("jobs.follow", *arguments(folder / "series", folder / "texts")).status == 4
    log = history(folder / "series")
    assert [entry["entry"] for entry in log[1:]] == ["decided", "promoted"] * 2 + ["decided", "refused", *log_end()]
    return folder, log


def log_end() -> list[str]:
    return ["decided", "promoted"]


def moments(count: int, seed: int) -> list[Moment]:
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        action = draw.choice(["put", "put", "create", "delete"])
        when = draw.choice(["before", "inside", "after"]) if action == "put" else draw.choice(["before", "after"])
        made.append(Moment(action, "", draw.randrange(1, LAST if action == "put" else 12), when))
    return made


def _reads(series: pathlib.Path | str, digests: list[str]) -> None:
    """A reader sees nothing, or a whole generation that was promoted."""
    message = ""
    try:
        ref = beam2vec.Run(series).checkpoint()
    except InputError as error:
        message = str(error)
    if message:
        assert "no generation of this series is promoted yet" in message or "run.json does not exist" in message
    else:
        assert (ref.step, ref.digest in digests) == (ref.steps, True)


def _killed(moment: Moment, quiet, tmp_path: pathlib.Path, statuses: tuple[int, ...] = (-9, 4)) -> None:
    folder, log = quiet
    digests = [entry["model"] for entry in log if entry["entry"] == "promoted"]
    process = WarmProcess(
        _child, moment, kill, arguments(tmp_path / "s", folder / "texts"), tmp_path / "e", "jobs.follow"
    )
    while process.poll() is None:
        _reads(tmp_path / "s", digests)
    status = process.wait(250)
    assert status in statuses, (tmp_path / "e").read_text()
    again = run("jobs.follow", *arguments(tmp_path / "s", folder / "texts"))
    assert again.status in (0, 4), again.stderr
    assert history(tmp_path / "s") == log
    _reads(tmp_path / "s", digests[-1:])
    assert (tmp_path / "s/current.json").exists()
    markers = {path.parent.name: path.name for path in (tmp_path / "s/generations").glob("*/_*")}
    assert markers == {f"2026-11-0{day}": "_REFUSED" if day == 3 else "_SUCCESS" for day in (1, 2, 3, 4)}


@pytest.mark.parametrize("moment", moments(KILLS, 1), ids=str)
def test_a_kill_leaves_the_log_of_a_quiet_series(moment, quiet, tmp_path):
    _killed(moment, quiet, tmp_path)


@pytest.mark.parametrize(
    "moment",
    [
        Moment("create", "log/", 4, "after"),
        pytest.param(Moment("put", "current.json", 2, "inside"), marks=pytest.mark.slow),
        *(pytest.param(Moment("create", "log/", n, "before"), marks=pytest.mark.slow) for n in range(1, 10)),
        *(pytest.param(Moment("create", "log/", n, "after"), marks=pytest.mark.slow) for n in range(1, 10)),
    ],
    ids=str,
)
def test_a_kill_beside_what_the_log_says(moment, quiet, tmp_path):
    _killed(moment, quiet, tmp_path, (-9,))


@pytest.mark.slow
@pytest.mark.parametrize("moment", moments(SLOW_KILLS, 2), ids=str)
def test_fifty_kills(moment, quiet, tmp_path):
    _killed(moment, quiet, tmp_path)


def test_two_followers_at_once_make_each_generation_once(quiet, tmp_path):
    folder, log = quiet
    both = [start("jobs.follow", *arguments(tmp_path / "s", folder / "texts")) for _ in range(2)]
    assert sorted(finish(process, 250).status for process in both) == [0, 4]
    assert history(tmp_path / "s") == log


def test_two_followers_without_a_lock_do_no_harm(quiet, tmp_path):
    folder, log = quiet
    both = [WarmProcess(_without_lock, arguments(tmp_path / "s", folder / "texts")) for _ in range(2)]
    assert {process.wait(250) for process in both} <= {0, 1, 2, 3, 4}
    assert run("jobs.follow", *arguments(tmp_path / "s", folder / "texts")).status in (0, 4)
    assert history(tmp_path / "s") == log


def _without_lock(given: list[str]) -> NoReturn:
    import os

    @contextlib.contextmanager
    def holding(log: Log, waits: bool):
        yield lambda: None

    series_job._holding = holding
    os._exit(run("jobs.follow", *given).status)


class _Dying:
    """An object store that fails for good at the n-th change, as if the process had ended there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nth: int):
        self.left = nth
        for name in ("put", "create", "swap", "delete"):
            monkeypatch.setattr(ObjectStorage, name, self._dying(getattr(ObjectStorage, name)))

    def _dying(self, change):
        def changed(storage, *given):
            self.left -= 1
            if self.left <= 0:
                raise ArtifactError("killed")
            return change(storage, *given)

        return changed


@pytest.mark.parametrize("nth", sorted(random.Random(3).sample(range(20, 160), 1)))
def test_on_an_object_store_too(nth, quiet, monkeypatch):
    folder, log = quiet
    series = f"memory://{uuid.uuid4().hex}/series"
    with monkeypatch.context() as patch:
        _Dying(patch, nth)
        assert run("jobs.follow", *arguments(series, folder / "texts")).status in (1, 3)
    storage = open_storage(series)
    for info in storage.list():  # the locks of the process that ended expire
        if info.path.endswith(LOCK):
            storage.delete(info.path)
    assert run("jobs.follow", *arguments(series, folder / "texts")).status in (0, 4)
    assert history(series) == log


@pytest.fixture
def series_on_s3(tmp_path, monkeypatch):
    """A series on a real server. Real processes share it, so what differs from a local disk is all there."""
    (tmp_path / "s3").mkdir()
    with real_s3.serve(tmp_path / "s3") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(object_store, "_stores", {})
        yield f"s3://{real_s3.BUCKET}/series"


@pytest.mark.s3
@pytest.mark.parametrize("seed", range(10))
def test_kills_on_s3(seed, quiet, series_on_s3, tmp_path):
    folder, log = quiet
    draw, kills = random.Random(seed), 0
    for _ in range(5):
        process = start("jobs.follow", *arguments(series_on_s3, folder / "texts"))
        time.sleep(draw.uniform(0.3, 2.5))  # a quiet series takes some four seconds
        kills += process.poll() is None
        process.kill()
        process.wait()
        storage = open_storage(series_on_s3)
        for info in storage.list():  # the locks of the process that was killed expire
            if info.path.endswith(LOCK):
                storage.delete(info.path)
    outcome = run("jobs.follow", *arguments(series_on_s3, folder / "texts"))
    assert outcome.status in (0, 4), outcome.stderr
    assert kills
    assert history(series_on_s3) == log
    _reads(series_on_s3, [entry["model"] for entry in log if entry["entry"] == "promoted"][-1:])


@pytest.mark.s3
def test_two_followers_on_s3_make_each_generation_once(quiet, series_on_s3):
    folder, log = quiet
    both = [start("jobs.follow", *arguments(series_on_s3, folder / "texts")) for _ in range(2)]
    assert sorted(finish(process, 250).status for process in both) == [0, 4]
    assert history(series_on_s3) == log


def test_a_series_may_move(quiet, tmp_path):
    folder, _ = quiet
    shutil.copytree(folder / "series", tmp_path / "moved")
    shutil.copytree(folder / "texts", tmp_path / "texts")
    write_day(tmp_path / "texts", "2026-11-05", 5)
    outcome = follow(tmp_path / "moved", tmp_path / "texts")
    assert outcome.status == 0, outcome.stderr
    with contextlib.suppress(PipelineError):
        assert beam2vec.Run(tmp_path / "moved").uri.endswith("2026-11-05")
