"""Several trainers without Beam: how a corpus is cut for them, how their rows are merged, what is done again."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backends.cpu import CpuBackend
from pipeline.batches.rows import to_numpy
from pipeline.batches.schedule import Schedule
from pipeline.errors import ArtifactError, InputError, NonFiniteError
from pipeline.model.checkpoints import checkpoints, latest_checkpoint, read_blocks, read_checkpoint, write_checkpoint
from pipeline.model.initial_vectors import initial_vectors
from pipeline.model.loss_curve import read_metrics
from pipeline.options import Options
from pipeline.training.holdout_loss import kept_back_rows, mean_loss, mean_loss_of
from pipeline.training.replicas.rounds import Rounds
from pipeline.training.replicas.trainer import STAGE, Replicas, merge_rows
from pipeline.training.trainer import Trainer
from tests.helpers.trainings import COUNTS, KEY, POSITIONS, WORDS, commits_of, new_records, shards_of

CUTS = (0, 12, 1200, 1212, 3600, POSITIONS)
OPTIONS = Options.checked({"dims": 20, "batch_size": 128, "epochs": 2, "replicas": 3, "rounds": 2, "threads": 1})


def options_of(**values) -> Options:
    return dataclasses.replace(OPTIONS, **values)


def train(options: Options = OPTIONS, records=None, cuts=CUTS, **more):
    records = records or new_records()
    return Replicas(options, commits_of(records), **more).train(WORDS, COUNTS, shards_of(records, options, cuts)[::-1])


def check_records(records) -> None:
    """What verify asks of every record, at any time."""
    for path, record in records.scan():
        assert record is not None, path
        assert [records.damage(artifact) for artifact in record.artifacts] == [None] * len(record.artifacts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rounds": 3}, "--rounds=3 needs --replicas"),
        ({"replicas": 2, "rounds": 500, "epochs": 3}, "1,500 rounds, a run can have 500"),
        ({"replicas": 0}, "--replicas=0: allowed is a whole number of at least 1"),
        ({"replicas": 2, "rounds": "often"}, "--rounds=often"),
    ],
)
def test_options_that_make_no_rounds_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        Options.checked(values)


def test_more_slices_than_steps_are_refused_before_anything_is_written():
    records = new_records()
    with pytest.raises(
        InputError,
        match=r"--replicas=3 in --rounds=20 need an epoch of at least 60 training steps, and"
        r" 6,000 token positions are 47 of --batch_size=128",
    ):
        train(options_of(rounds=20), records)
    assert list(records.scan()) == []


# How rows are merged

DIMS = 20


def merged(moves: np.ndarray, start: np.ndarray | None = None, which: int = 0) -> np.ndarray:
    """What becomes of rows that start at 0 (or `start`); moves: [replicas, n, DIMS]."""
    moves = np.asarray(moves, np.float32)
    start = np.zeros(moves.shape[1:], np.float32) if start is None else start
    still = np.zeros_like(start)
    rows = np.arange(len(start), dtype=np.int32)
    pair = (start, still) if which == 0 else (still, start)
    made = ((rows, start + move, still) if which == 0 else (rows, still, start + move) for move in moves)
    return merge_rows(*pair, made, len(moves))[which]


def by_formula(moves: np.ndarray) -> np.ndarray:
    """The same in float64, as the documentation says it."""
    together = moves.sum(axis=0)
    length = np.linalg.norm(together, axis=-1, keepdims=True)
    apart = (moves**2).sum(axis=(0, 2))[:, None]
    agreement = np.clip(length**2 / np.where(apart > 0, apart, 1), 1, len(moves))
    return together * np.maximum(1 / agreement, np.minimum(1, 1 / np.maximum(length, 1e-300)))


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.2, 1.0, 30.0]), st.booleans())
@settings(max_examples=40)
def test_rows_move_as_the_formula_says(replicas, seed, size, agree):
    rng = np.random.default_rng(seed)
    moves = size * rng.normal(size=(replicas, 7, DIMS)) + size * agree * rng.normal(size=(1, 7, DIMS))
    moves[rng.random(moves.shape[:2]) < 0.2] = 0
    moves = moves.astype(np.float32).astype(np.float64)
    for which in (0, 1):
        np.testing.assert_allclose(merged(moves, which=which), by_formula(moves), rtol=2e-5, atol=1e-6 * size)


@given(st.integers(2, 8), st.floats(1, 100))
def test_replicas_that_agree_are_averaged(replicas, length):
    move = np.zeros((1, DIMS), np.float32)
    move[0, 3] = length
    np.testing.assert_allclose(merged(np.stack([move] * replicas)), move, rtol=1e-6)


@given(st.integers(2, 8), st.floats(0.01, 100))
def test_moves_at_right_angles_are_added(replicas, length):
    moves = length * np.eye(replicas, DIMS, dtype=np.float32)[:, None, :]
    np.testing.assert_allclose(merged(moves), moves.sum(axis=0), rtol=1e-6)


@given(st.integers(2, 8), st.floats(1e-6, 0.99))
def test_short_moves_are_added_even_where_replicas_agree(replicas, length):
    moves = np.zeros((replicas, 1, DIMS), np.float32)
    moves[:, 0, 5] = length / replicas
    np.testing.assert_allclose(merged(moves), moves.sum(axis=0), rtol=1e-6)


def test_what_no_replica_changed_keeps_its_bits_and_what_one_changed_is_its_own():
    start = np.random.default_rng(1).normal(size=(6, DIMS)).astype(np.float32)
    start[0, 0] = -0.0
    theirs = start[[1, 4]] * np.float32(1.25)
    none = (np.empty(0, np.int32), *np.empty((2, 0, DIMS), np.float32))
    one = np.array([1, 4], np.int32), theirs, start[[1, 4]]
    w_in, w_out = merge_rows(start, start, [none, one, none], 3)
    np.testing.assert_allclose(w_in[[1, 4]], theirs, rtol=1e-6)
    rest = [0, 2, 3, 5]
    assert w_in[rest].tobytes() == start[rest].tobytes()
    assert w_out.tobytes() == start.tobytes()


# Training


def test_digest_does_not_depend_on_shards_threads_or_who_reports_first():
    wanted = train()
    assert wanted.step == 2 * -(-POSITIONS // 128)
    assert train(cuts=(0, POSITIONS), threads=2).digest == wanted.digest
    assert train(cuts=(*CUTS[:3], POSITIONS), threads=3).digest == wanted.digest
    others = [train(options_of(**values)).digest for values in ({"replicas": 2}, {"rounds": 3}, {"seed": 2})]
    alone = Trainer(options_of(replicas=1, rounds=1), commits_of(new_records()))
    others.append(alone.train(WORDS, COUNTS, shards_of(alone.commits.records, OPTIONS, CUTS)).digest)
    assert len({wanted.digest, *others}) == 5


def test_a_round_is_its_replicas_trained_apart_and_merged():
    """The twin in memory, from the backend alone."""
    options = options_of(epochs=1)
    records = new_records()
    found = read_checkpoint(records, train(options, records))
    schedule = Schedule.of(options, POSITIONS)
    (shard,) = shards_of(records, options)
    position, rows = whole_epoch(shard, records)
    w_in = initial_vectors(WORDS.to_pylist(), options.dims, options.seed)
    weights = w_in, np.zeros_like(w_in)
    steps, everything = schedule.steps_per_epoch, np.arange(len(WORDS), dtype=np.int32)
    edges = [i * steps // 6 for i in range(7)]
    for number in range(2):
        made = []
        for first, end in zip(edges[3 * number :], edges[3 * number + 1 : 3 * number + 4]):
            backend = CpuBackend(*weights, model="skipgram", tau=float(schedule.tau), zero_hits=True)
            bounds = np.searchsorted(position, np.arange(first, end + 1) * options.batch_size)
            backend.train(rows, bounds, schedule.learning_rates(first, end - first))
            made.append((everything, *(np.array(matrix) for matrix in backend.weights())))
        weights = merge_rows(*weights, made, 3)
    assert found.input.tobytes() == np.ascontiguousarray(weights[0]).tobytes()
    assert found.output.tobytes() == np.ascontiguousarray(weights[1]).tobytes()


def whole_epoch(shard, records):
    (batch,) = shard.batches(records, 0)
    return to_numpy(batch)


def test_parts_of_the_vocabulary_are_merged_alike_one_by_one(monkeypatch):
    records = new_records()
    wanted = read_checkpoint(records, train(records=records))
    for module in ("training.replicas.slice_training", "training.replicas.merging", "model.checkpoints", "model.model"):
        monkeypatch.setattr(f"pipeline.{module}.BLOCK_ROWS", 64)
    records = new_records()
    ref = train(records=records)
    assert len(ref.parts) == 5
    found = read_checkpoint(records, ref)
    assert (found.input.tobytes(), found.output.tobytes()) == (wanted.input.tobytes(), wanted.output.tobytes())


class Rehearsal:
    """A round in pieces, each of which can be lost and asked for again."""

    def __init__(self, options: Options = OPTIONS):
        self.records = new_records()
        self.replicas = Replicas(options, commits_of(self.records))
        self.shards = shards_of(self.records, options, CUTS)
        self.standing = self.replicas.start(WORDS, COUNTS, POSITIONS)

    def train_slices(self, number: int, order=(0, 1, 2)) -> list[list]:
        made = {}
        for replica in order:
            made[replica] = self.replicas.train_slice(self.standing, number, replica, self.shards[::-1])
            check_records(self.records)
        return [made[replica] for replica in sorted(made)]

    def merge(self, number: int, made: list[list]) -> list:
        merged = [self.replicas.merge(self.standing, number, 0, [parts[0] for parts in made])]
        check_records(self.records)
        return merged

    def commit(self, number: int, merged: list):
        self.standing = self.replicas.commit(self.standing, number, merged)
        check_records(self.records)


@pytest.fixture
def blocks(monkeypatch) -> list[int]:
    """Rows of every block of steps that is trained, as they come."""
    trained = []
    train_block = CpuBackend.train

    def counted(self, batch, bounds, rates):
        trained.append(len(bounds) - 1)
        return train_block(self, batch, bounds, rates)

    monkeypatch.setattr(CpuBackend, "train", counted)
    return trained


def test_what_is_made_is_not_made_again_and_what_is_lost_alone_is(blocks):
    wanted = train()
    run = Rehearsal()
    for number in range(4):
        made = run.train_slices(number, order=(2, 0, 1))
        before = sum(blocks)
        assert run.train_slices(number) == made
        assert sum(blocks) == before
        run.records.storage.delete(made[1][0].artifact.path)
        assert run.train_slices(number, order=(1,)) == [made[1]]
        first, end = Rounds.of(OPTIONS, POSITIONS).steps(run.replicas.slice_index(run.standing, number, 1))
        assert sum(blocks) == before + end - first
        merged = run.merge(number, made[::-1])
        run.records.storage.put(merged[0].artifact.path, b"half")
        assert run.replicas.merge(run.standing, number, 0, [parts[0] for parts in made]) == merged[0]
        standing = run.standing
        run.commit(number, merged)
        over, run.standing = run.standing, standing
        run.commit(number, merged)  # a worker that died before it could tell
        assert run.standing.checkpoint == over.checkpoint
        assert run.records.storage.list(STAGE) == []
        ended = {"training"} if number == 3 else set()
        assert {record.stage for _, record in run.records.scan()} == {"checkpoints", "metrics"} | ended
    assert run.standing.checkpoint.digest == wanted.digest


def test_a_run_goes_on_after_its_last_round_and_cleans_up_what_a_dead_worker_left(blocks):
    run = Rehearsal()
    for number in range(2):
        run.commit(number, run.merge(number, run.train_slices(number)))
    run.train_slices(2)
    late = run.records.write_artifact(
        f"slices/{KEY[:8]}/round=00001/replica=0009/part-000000-of-000001.parquet", b"late"
    )
    unfinished = f"checkpoints/{KEY[:8]}/step=000000000060/part-000000-of-000001.parquet"
    run.records.storage.put(unfinished, b"unfinished")
    done = sum(blocks)
    assert run.standing.checkpoint.step == 47
    last = run.replicas.train(WORDS, COUNTS, run.shards)
    assert sum(blocks) == done + 94 - Rounds.of(OPTIONS, POSITIONS).end(2)  # round 3 alone
    assert run.records.storage.find(late.path) is None
    assert run.records.storage.find(unfinished) is None
    assert last.digest == train().digest


def test_slices_of_other_weights_are_trained_again(blocks):
    """A checkpoint found damaged sends the run back; what was made from it does not count."""
    run = Rehearsal()
    made = run.train_slices(0)
    model = read_checkpoint(run.records, run.standing.checkpoint)
    moved = dataclasses.replace(model, input=model.input + np.float32(1))
    other = write_checkpoint(commits_of(run.records), 0, moved, {}, run.standing.checkpoint.steps, 0)
    before = sum(blocks)
    run.standing = dataclasses.replace(run.standing, checkpoint=other)
    run.train_slices(0, order=(0,))
    assert sum(blocks) > before
    assert made


def test_a_damaged_checkpoint_sends_the_run_one_round_back():
    records = new_records()
    wanted = train(records=records)
    newest = checkpoints(records, KEY)[-1]
    records.storage.put(newest.parts[0].path, b"damaged")
    before = latest_checkpoint(records, KEY)
    assert before.step < newest.step
    assert train(records=records) == wanted


def test_keeps_the_newest_checkpoints_which_are_where_rounds_end():
    records = new_records()
    said = []
    train(options_of(keep_checkpoints=2, checkpoint_every=5), records, warn=said.append)
    assert [ref.step for ref in checkpoints(records, KEY)] == [70, 94]
    assert any("--checkpoint_every=5 is ignored: with --replicas" in line for line in said)


def test_loss_curve_is_the_mean_of_the_replicas_by_position():
    records = new_records()
    train(options_of(epochs=6, learning_rate=0.2, holdout=0.05), records)
    curve = read_metrics(records, KEY)
    steps = curve["step"].to_pylist()
    assert steps == sorted(set(steps))
    assert steps[-1] == 6 * 47
    assert curve["position"].to_pylist()[-1] == POSITIONS
    loss = curve["loss"].to_numpy()
    assert loss[-20:].mean() < loss[:20].mean() - 0.1
    seconds = curve["seconds"].to_numpy()
    assert (np.diff(seconds) >= 0).all()
    assert seconds[-1] > 0
    kept_back = [value for value in curve["holdout_loss"].to_pylist() if value is not None]
    assert len(kept_back) == 12
    assert kept_back[-1] < kept_back[0]


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_loss_on_sentences_kept_back_needs_only_the_vectors_asked_for(monkeypatch, model):
    for module in ("pipeline.model.checkpoints", "pipeline.model.model"):
        monkeypatch.setattr(f"{module}.BLOCK_ROWS", 64)
    options = options_of(replicas=1, rounds=1, holdout=0.05, model=model)
    records = new_records()
    shards = shards_of(records, options, CUTS)
    ref = Trainer(options, commits_of(records)).train(WORDS, COUNTS, shards)
    rows, found = kept_back_rows(shards, records), read_checkpoint(records, ref)
    wanted = mean_loss(rows, found.input, found.output, model)
    assert mean_loss_of(rows, read_blocks(records, ref), model) == wanted


def test_a_replica_that_diverges_stops_the_run_and_leaves_the_round_before():
    records = new_records()
    with pytest.raises(NonFiniteError, match="lower --damping or --learning_rate"):
        train(options_of(learning_rate=10.0, damping=1e6, epochs=5), records)
    assert np.isfinite(read_checkpoint(records, latest_checkpoint(records, KEY)).input).all()


@pytest.mark.parametrize(("lost", "number", "replica"), [(0, 0, 0), (1, 0, 0), (2, 0, 1), (4, 1, 2)])
def test_a_lost_shard_is_noticed(lost, number, replica):
    run = Rehearsal()
    del run.shards[lost]
    with pytest.raises(ArtifactError, match="a shard was lost"):
        run.replicas.train_slice(run.standing, number, replica, run.shards)


def test_few_rows_are_told_with_the_first_epoch_and_by_each_later_command():
    options, records = options_of(subsample=3e-7, batch_size=64), new_records()
    for _ in range(2):
        told: list[str] = []
        train(options, records, warn=told.append)
        (line,) = [line for line in told if "are trained on" in line]
        assert re.match(r"only \d+ words are trained on in an epoch: of 6,000 words of the text, --subsample=", line)
    (ref,) = checkpoints(records, KEY)[-1:]
    wanted = sum(
        to_numpy(batch)[1].size for shard in shards_of(records, options) for batch in shard.batches(records, 0)
    )
    assert ref.first_epoch_rows == wanted > 0
