"""The trainer without Beam: whole steps from any cut, resume, stop, and numbers that run away."""

import threading

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from pipeline.backends.cpu import CpuBackend
from pipeline.batches.rows import generate_rows, to_numpy
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.schedule import Schedule
from pipeline.batches.shards import BatchShard
from pipeline.batches.steps import blocks_of_steps
from pipeline.batches.tokens import SCHEMA, tokens_to_parquet
from pipeline.errors import ArtifactError, InputError, InterruptedRunError, NonFiniteError
from pipeline.model.checkpoints import checkpoints
from pipeline.model.initial_vectors import initial_vectors
from pipeline.model.loss_curve import final_loss, read_metrics, training_rate
from pipeline.options import Options
from pipeline.runtime.process import one_ahead
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import to_parquet
from pipeline.storage.records import Record, Records
from pipeline.training.trainer import Trainer
from pipeline.words import unigram

VOCABULARY, POSITIONS, SENTENCE = 300, 6000, 12
TOKENS = np.random.default_rng(0).zipf(1.3, POSITIONS).astype(np.int64) % VOCABULARY
COUNTS = np.bincount(TOKENS, minlength=VOCABULARY) + 1
WORDS = pa.array([f"word{i}" for i in range(VOCABULARY)])
KEY = "key"


def shards_of(records, options, cuts=(0, POSITIONS)):
    distribution = unigram.build(COUNTS, options.power, options.subsample)
    stored = records.write_artifact("unigram/unigram.parquet", to_parquet(distribution.to_table()))
    made = []
    for i, (begin, end) in enumerate(zip(cuts[:-1], cuts[1:])):
        offset = np.append(np.arange(0, end - begin, SENTENCE), end - begin).astype(np.int32)
        lists = pa.ListArray.from_arrays(
            pa.array(offset), pa.array(TOKENS[begin:end].astype(np.int32)), type=SCHEMA.field(0).type
        )
        tokens = records.write_artifact(f"tokens/{i}.parquet", tokens_to_parquet(pa.table([lists], schema=SCHEMA)))
        made.append(BatchShard(i, begin, end - begin, Sampling.of(options), tokens, stored))
    return made


def new_records():
    records = Records(open_storage("memory://test"))
    for info in records.storage.list():
        records.storage.delete(info.path)
    return records


def options_of(**values):
    return Options.checked({"dims": 20, "batch_size": 256, "epochs": 2, "threads": 1, **values})


def train(options, records=None, cuts=(0, POSITIONS), **hooks):
    records = records or new_records()
    return Trainer(options, records, KEY, **hooks).train(WORDS, COUNTS, shards_of(records, options, cuts)[::-1])


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


def test_parts_of_a_killed_writer_do_not_outlive_the_training_that_goes_on():
    records = new_records()
    last = train(options_of(), records)
    paths = {info.path for info in records.storage.list("checkpoints")}
    for _ in range(2):  # with nothing left to do, and begun anew
        records.storage.put("checkpoints/step=00000090/part-00000-of-00001.parquet", b"old vectors")
        assert train(options_of(), records).digest == last.digest
        assert {info.path for info in records.storage.list("checkpoints")} == paths
        records.remove(*records.all("checkpoints"))


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
    kept = [record.name for record in records.all("metrics")]
    assert len(kept) == len(set(kept))
    on_disk = {info.path for info in records.storage.list("metrics")}
    assert on_disk == {artifact.path for record in records.all("metrics") for artifact in record.artifacts}


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
        Trainer(options, records, KEY).train(WORDS, COUNTS, [shards[0], shards[2]])
    with pytest.raises(ArtifactError, match="the token shards hold 2,400 of the 6,000 tokens that were counted"):
        Trainer(options, records, KEY).train(WORDS, COUNTS, shards[:2], POSITIONS)


def test_vocabulary_too_small_for_distinct_negatives():
    with pytest.raises(InputError, match="--negatives=300"):
        train(options_of(negative_policy="distinct", negatives=300))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 250), max_size=12), st.sampled_from([1, 7, 100, 1000, 6000]), st.data())
def test_blocks_are_the_same_steps_however_batches_are_cut(cuts, batch_size, data):
    options = options_of(subsample=1e-2)
    tables = Tables.of(unigram.build(COUNTS, 0.75, 1e-2))
    tokens = TOKENS[:3000].astype(np.int32)
    sentences = np.arange(0, 3001, SENTENCE)
    whole = generate_rows(tokens, sentences, 0, tables, Sampling.of(options), 0)
    position, rows = to_numpy(whole)
    edges = [0, *sorted(cut for cut in cuts if cut <= whole.num_rows), whole.num_rows]
    batches = [whole.slice(a, b - a) for a, b in zip(edges[:-1], edges[1:])]
    first = data.draw(st.integers(0, -(-3000 // batch_size) - 1))
    end = data.draw(st.integers(first + 1, -(-3000 // batch_size)))
    expected = first
    for block in blocks_of_steps(batches, batch_size, first, end, options.negatives):
        assert block.first == expected
        for s in range(block.steps):
            step = expected + s
            mine = np.flatnonzero(position // batch_size == step)
            begin, stop = block.bounds[s], block.bounds[s + 1]
            np.testing.assert_array_equal(block.batch.target[begin:stop], rows.target[mine])
            np.testing.assert_array_equal(block.batch.negatives[begin:stop], rows.negatives[mine])
            ours = [block.batch.context[block.batch.offset[i] : block.batch.offset[i + 1]] for i in range(begin, stop)]
            theirs = [rows.context[rows.offset[i] : rows.offset[i + 1]] for i in mine]
            assert [c.tolist() for c in ours] == [c.tolist() for c in theirs]
        expected += block.steps
    assert expected == end


def test_learning_rate_falls_in_a_line():
    schedule = Schedule(positions=1000, batch_size=100, epochs=3, learning_rate=0.05, damping=6.4)
    assert (schedule.steps_per_epoch, schedule.steps) == (10, 30)
    rates = schedule.learning_rates(0, 31)
    assert rates.dtype == np.float32
    assert rates[0] == np.float32(0.05)
    assert rates[30] == pytest.approx(0.05e-4)
    np.testing.assert_allclose(np.diff(rates), rates[1] - rates[0], rtol=1e-3)
    np.testing.assert_array_equal(schedule.learning_rates(7, 5), rates[7:12])
    assert schedule.tau == np.float32(128)
    assert [schedule.first_position(step) for step in (0, 9, 10, 30)] == [0, 900, 1000, 3000]


def test_initial_vectors_depend_on_word_and_seed_alone():
    vectors = initial_vectors(["of", "the", "naïve"], 7, seed=1)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(initial_vectors(["the"], 7, 1)[0], vectors[1])
    assert not np.array_equal(initial_vectors(["the"], 7, 2)[0], vectors[1])
    many = initial_vectors([f"w{i}" for i in range(2000)], 10, 1)
    assert 0.0999 < np.abs(many).max() <= 0.1
    assert abs(many.mean()) < 1e-3
    assert many.var() == pytest.approx(0.01 / 3, rel=0.02)
    short = initial_vectors(["the"], 3, 1)[0]  # dims only scale what is drawn
    np.testing.assert_allclose(short * 3, vectors[1][:3] * 7, rtol=1e-6)


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
