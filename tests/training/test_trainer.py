"""The trainer without Beam: whole steps from any cut, resume, stop, and numbers that run away."""

import dataclasses
import threading

import numpy as np
import pyarrow as pa
import pytest

from pipeline.backends.cpu import CpuBackend
from pipeline.errors import ArtifactError, InputError, InterruptedRunError, NonFiniteError, OutputInUseError
from pipeline.model.checkpoints import checkpoints
from pipeline.model.loss_curve import final_loss, read_metrics, training_rate
from pipeline.runtime.process import one_ahead
from pipeline.storage.commits import Commits
from pipeline.storage.records import Record
from pipeline.training.trainer import Trainer
from tests.helpers.trainings import (
    COUNTS,
    KEY,
    POSITIONS,
    WORDS,
    commits_of,
    new_records,
    options_of,
    shards_of,
    train,
)


def test_digest_does_not_depend_on_shards_threads_or_checkpoints():
    wanted = train(options_of())
    assert wanted.step == 2 * -(-POSITIONS // 256)
    cuts = [0, 12, 1200, 1212, 3600, POSITIONS]
    assert train(options_of(threads=2, checkpoint_every=5), cuts=cuts).digest == wanted.digest
    assert train(options_of(threads=3), cuts=[*cuts[:3], POSITIONS]).digest == wanted.digest
    assert train(options_of(seed=2)).digest != wanted.digest


def test_stopped_anywhere_it_resumes_to_the_same_digest():
    options = options_of(checkpoint_every=3)
    wanted = train(options).digest
    records = new_records()
    for _ in range(100):
        asked = iter([False, True])
        try:
            found = train(options, records, stop=lambda asked=asked: next(asked))
            break
        except InterruptedRunError as stopped:
            assert "run the same command again" in str(stopped)  # noqa: PT017 the loop goes on
    assert found.digest == wanted
    assert train(options, records) == found  # nothing left to do


def test_keeps_the_newest_checkpoints():
    records = new_records()
    last = train(options_of(checkpoint_every=4, keep_checkpoints=2), records)
    assert [ref.step for ref in checkpoints(records, KEY)] == [44, last.step]


@pytest.mark.parametrize("looks", range(1, 9))
def test_nothing_is_committed_once_the_lock_is_lost(looks, monkeypatch):
    """Each look but the last finds the lock: before the first step, before and after each record."""
    records, left = new_records(), iter(range(looks - 1))

    def check_lock(commits: Commits) -> None:
        if next(left, None) is None:
            raise OutputInUseError("taken over")

    monkeypatch.setattr(Commits, "check_lock", check_lock)
    with pytest.raises(OutputInUseError):
        train(options_of(checkpoint_every=20, keep_checkpoints=9), records)
    # 1: training begins; 2, 3: points; 4, 5: checkpoint 20; 6, 7: points; 8: checkpoint 40
    assert [ref.step for ref in checkpoints(records, KEY)] == ([20] if looks >= 5 else [])
    assert len(records.names("metrics", KEY)) == (looks >= 3) + (looks >= 7)


def test_a_resumed_run_has_its_checkpoints_at_multiples_all_the_same():
    records = new_records()
    with pytest.raises(InterruptedRunError):
        train(options_of(checkpoint_every=7, keep_checkpoints=9), records, stop=lambda: True)
    train(options_of(checkpoint_every=10, keep_checkpoints=9), records)
    assert [ref.step for ref in checkpoints(records, KEY)] == [7, 10, 20, 30, 40, 48]


def test_parts_of_a_killed_writer_do_not_outlive_the_training_that_goes_on():
    records = new_records()
    last = train(options_of(), records)
    paths = {info.path for info in records.storage.list("checkpoints")}
    for _ in range(2):  # with nothing left to do, and begun anew
        path = f"checkpoints/{KEY[:8]}/step=000000000090/part-000000-of-000001.parquet"
        records.storage.put(path, b"old vectors")
        assert train(options_of(), records).digest == last.digest
        assert {info.path for info in records.storage.list("checkpoints")} == paths
        for record in commits_of(records).all():
            records.remove(record)


def test_loss_curve_covers_the_run_once_and_falls():
    records = new_records()
    train(options_of(epochs=8, learning_rate=0.1, checkpoint_every=7), records)
    curve = read_metrics(records, KEY)
    steps = curve["step"].to_pylist()
    assert steps == sorted(set(steps))
    assert steps[-1] == 8 * 24
    loss = curve["loss"].to_numpy()
    assert loss[0] == pytest.approx(np.log(2), abs=1e-3)
    assert loss[-20:].mean() < loss[:20].mean() - 0.05
    assert final_loss(curve) == pytest.approx(loss[-len(loss) // 20 + 1 :].mean(), abs=0.02)
    assert final_loss(curve.slice(0, 0)) is None
    assert curve["learning_rate"][0].as_py() == pytest.approx(0.1)


def test_damaged_newest_checkpoints_are_made_anew_and_not_kept_before_those():
    records, options = new_records(), options_of(checkpoint_every=5, keep_checkpoints=2)
    wanted = train(options, records)
    for ref in checkpoints(records, KEY):
        path = ref.parts[0].path
        data = bytearray(records.storage.read(path))
        data[len(data) // 2] ^= 1
        records.storage.put(path, bytes(data))
    stops = iter([False, False, False, True])
    with pytest.raises(InterruptedRunError):
        train(options, records, stop=lambda: next(stops))
    assert checkpoints(records, KEY)[-1].step < wanted.step
    assert train(options, records).digest == wanted.digest


def test_points_of_steps_that_are_trained_again_are_forgotten():
    records, options = new_records(), options_of(checkpoint_every=7)
    train(options, records)
    for ref in checkpoints(records, KEY)[1:]:
        records.remove(Record("checkpoints", ref.folder.rpartition("/")[2], KEY, ref.parts))
    train(options_of(checkpoint_every=11), records)
    steps = read_metrics(records, KEY)["step"].to_pylist()
    assert steps == sorted(set(steps))
    kept = [record.name for record in records.all("metrics", KEY)]
    assert len(kept) == len(set(kept))
    on_disk = {info.path for info in records.storage.list("metrics")}
    assert on_disk == {artifact.path for record in records.all("metrics", KEY) for artifact in record.artifacts}


def test_threads_that_cannot_start_are_an_error_and_no_hang(monkeypatch):
    started = threading.Thread.start
    left = iter(range(2))

    def start(thread):
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    weights = np.zeros((3, 8), np.float32)
    with pytest.raises(InputError, match="--threads=6: the system starts no more threads"):
        CpuBackend(weights, weights, model="cbow", tau=1.0, zero_hits=True, threads=6)


def test_training_rate_is_that_of_the_last_process():
    curve = pa.table({"step": [10, 20, 25, 30, 40, 60], "seconds": [1.0, 2.0, 0.5, 0.5, 1.0, 2.5]})
    assert training_rate(curve, 100) == 1500
    assert training_rate(curve.slice(2, 2), 100) is None
    assert training_rate(curve.slice(0, 0), 100) is None


def test_runaway_numbers_stop_the_run_and_commit_nothing():
    records = new_records()
    options = options_of(learning_rate=10, damping=1e6, epochs=5)
    with pytest.raises(NonFiniteError, match=r"at step \d+ of 120 .*lower --damping or --learning_rate"):
        train(options, records)
    assert not checkpoints(records, KEY)


def test_few_steps_are_worth_a_word():
    said = []
    train(options_of(), warn=said.append)
    assert "48 training steps" in said[0]


def test_shards_must_hold_every_position_once():
    records, options = new_records(), options_of()
    shards = shards_of(records, options, [0, 1200, 2400, POSITIONS])
    with pytest.raises(ArtifactError, match="shard 2 begins at position 2,400, not at 1,200"):
        Trainer(options, commits_of(records)).train(WORDS, COUNTS, [shards[0], shards[2]])
    two = [dataclasses.replace(shard, of=POSITIONS) for shard in shards[:2]]
    with pytest.raises(ArtifactError, match="the token shards hold 2,400 of the 6,000 tokens that were counted"):
        Trainer(options, commits_of(records)).train(WORDS, COUNTS, two)


def test_vocabulary_too_small_for_distinct_negatives():
    with pytest.raises(InputError, match="--negatives=300"):
        train(options_of(negative_policy="distinct", negatives=300))


def test_blocks_made_ahead_are_the_same_and_so_are_their_errors():
    def blocks():
        yield from range(5)
        raise InputError("the fifth is damaged")

    found = []
    with pytest.raises(InputError, match="the fifth"):
        found.extend(one_ahead(blocks()))
    assert found == [0, 1, 2, 3, 4]
    asked = []
    for item in one_ahead(asked.append(i) or i for i in range(100)):
        if item == 3:
            break
    assert max(asked) <= 5  # one ahead, and not the whole epoch
