"""The loss curve of a run on disk."""

from __future__ import annotations

import pathlib
import shutil

import pyarrow as pa
import pytest

from beam2vec import Run
from pipeline.batches.schedule import step_name
from pipeline.errors import ArtifactError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.model.loss_curve import STAGE, PointNumbers, final_loss, forget_points_after, up_to
from pipeline.storage.commits import Commits
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Records
from tests.helpers.commands import ALONE, Outcome, run, train, write_corpus


def test_points_after_a_checkpoint_are_forgotten_and_those_up_to_it_stay():
    ours, other = (Commits(Records(open_storage("memory://loss-curve")), CHECKPOINTS, key * 32) for key in "ab")
    for commits, step in ((ours, 10), (ours, 20), (ours, 30), (other, 40)):
        commits.beside(STAGE).commit(step_name(step), (), PointNumbers(step))
    forget_points_after(ours, 20)
    assert ours.records.names(STAGE, ours.key) == [step_name(10), step_name(20)]
    assert other.records.names(STAGE, other.key) == [step_name(40)]


def test_the_loss_at_a_step_is_not_that_of_steps_before():
    curve = pa.table({"step": [10, 20, 30, 40], "loss": [4.0, 3.0, 2.0, 1.0]})
    assert [final_loss(up_to(curve, step)) for step in (20, 39, 40, 45, 50)] == [3.0, 2.0, 1.0, 1.0, 1.0]
    assert final_loss(up_to(curve, 51)) is None
    assert final_loss(up_to(curve, 5)) is None
    assert final_loss(up_to(curve.slice(0, 0), 5)) is None


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> pathlib.Path:
    """A run with points of its loss curve at several checkpoints, beside its corpus."""
    folder = tmp_path_factory.mktemp("loss curve")
    write_corpus(folder / "text.txt", lines=250)
    assert again(folder / "run", folder / "text.txt").status == 0
    return folder


def again(output: pathlib.Path, text: pathlib.Path) -> Outcome:
    return train(f"--input={text}", f"--output={output}", *ALONE, "--checkpoint_every=10", "--no_report")


def last_points(output: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """(the file, its record)"""
    return max(output.glob("metrics/*/*")), max(output.glob("records/metrics/*/*"))


def change_a_byte(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_loss_curve_fails_who_shows_it_and_goes_without_its_points_when_told_to(ended, tmp_path):
    output, to = shutil.copytree(ended / "run", tmp_path / "run"), tmp_path / "page.html"
    report = ("jobs.report", f"--run={output}", f"--to={to}")
    file, record = last_points(output)
    change_a_byte(file)
    outcome = run(*report)
    assert (outcome.status, outcome.stdout, to.exists()) == (1, "", False)
    assert outcome.error.startswith(f"{file} is damaged: its SHA-256 is ")
    assert outcome.error.endswith(f": delete {record}, and the loss curve is shown without these points")
    with pytest.raises(ArtifactError, match="is damaged"):
        Run.open(str(output)).metrics()
    record.unlink()  # as it was told: the points before it are no loss "at the end"
    assert run(*report).status == 0
    assert '"loss":null' in to.read_text("utf-8")
    assert run("jobs.verify", f"--run={output}").status == 1
    resumed = again(output, ended / "text.txt")
    assert f"{file} is removed: no record names these points of the loss curve\n" in resumed.stderr
    assert "mean loss at the end unknown" in resumed.stdout
    assert run("jobs.verify", f"--run={output}").status == 0


@pytest.mark.parametrize("damaged", ["points", "record"])
def test_lost_points_are_told_once(ended, tmp_path, damaged):
    """They cannot be made again."""
    output = shutil.copytree(ended / "run", tmp_path / "run")
    file, record = last_points(output)
    before, last = (int(path.stem.removeprefix("step=")) for path in sorted(record.parent.iterdir())[-2:])
    change_a_byte(file if damaged == "points" else record)
    assert run("jobs.verify", f"--run={output}").status == 1
    resumed = again(output, ended / "text.txt")
    assert resumed.status == 0
    lines = [line for line in resumed.stderr.splitlines() if "curve" in line or "loss" in line or "metrics" in line]
    assert lines == [f"the loss curve lacks the points of steps {before + 1} to {last}: they are damaged"]
    assert f"trained     step {last} of {last}, mean loss at the end unknown" in resumed.stdout
    assert run("jobs.verify", f"--run={output}").status == 0
    assert "loss curve lacks" not in again(output, ended / "text.txt").stderr
