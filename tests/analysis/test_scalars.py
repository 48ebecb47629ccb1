"""The loss curve in a file of events, read by tensorboardX's messages and by the format's checksums."""

from __future__ import annotations

import struct
import sys

import pytest

from beam2vec import Run
from tests.helpers.commands import TINY, run, train, write_corpus


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scalars")
    text = write_corpus(folder / "corpus.txt", lines=80)
    options = (
        *TINY,
        "--batch_size=32",
        "--holdout=0.1",
        "--checkpoint_every=10",
        "--keep_checkpoints=9",
        "--no_report",
    )
    outcome = train(f"--input={text}", f"--output={folder / 'run'}", *options)
    assert outcome.status == 0, outcome.stderr
    return Run(folder / "run")


def records(data: bytes):
    """What is in the records of a TFRecord file; their checksums are right."""
    from tensorboardX.record_writer import masked_crc32c

    while data:
        (length,) = struct.unpack("<Q", data[:8])
        content = data[12 : 12 + length]
        sums = struct.unpack("<I", data[8:12])[0], struct.unpack("<I", data[12 + length : 16 + length])[0]
        assert sums == (masked_crc32c(data[:8]), masked_crc32c(content))
        yield content
        data = data[16 + length :]


@pytest.mark.parametrize("step", [None, 20])
def test_each_point_is_an_event(trained, tmp_path, step):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    chosen = [f"--step={step}"] if step else []
    outcome = run("jobs.export", f"--run={trained.uri}", "--format=tensorboard", f"--to={tmp_path}", *chosen)
    assert outcome.status == 0, outcome.stderr
    (path,) = tmp_path.iterdir()
    first, *events = map(Event.FromString, records(path.read_bytes()))
    assert first.file_version == "brain.Event:2"
    metrics = [row for row in trained.metrics().to_pylist() if step is None or row["step"] <= step]
    assert [event.step for event in events] == [row["step"] for row in metrics]
    assert [event.wall_time for event in events] == [row["seconds"] for row in metrics]
    for event, row in zip(events, metrics):
        found = {value.tag: value.simple_value for value in event.summary.value}
        wanted = {
            name: row[name] for name in ("loss", "holdout_loss", "learning_rate", "epoch") if row[name] is not None
        }
        assert found == pytest.approx(wanted, rel=1e-6)
    assert any(value.tag == "holdout_loss" for event in events for value in event.summary.value)


def test_without_tensorboardx_the_package_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    outcome = run("jobs.export", f"--run={trained.uri}", "--format=tensorboard", f"--to={tmp_path / 'x'}")
    assert (outcome.status, outcome.error) == (
        2, "--format=tensorboard needs tensorboardX: pip install 'beam2vec[tensorboard]'"
    )  # fmt: skip
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("option", ["--vectors=mean", "--normalize", "--top=3", "--license=mit"])
def test_options_of_vectors_have_no_effect(trained, tmp_path, option):
    outcome = run("jobs.export", f"--run={trained.uri}", "--format=tensorboard", f"--to={tmp_path}", option)
    assert outcome.status == 2
    assert "has no effect with --format=tensorboard" in outcome.error
