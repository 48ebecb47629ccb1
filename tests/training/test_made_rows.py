"""Training on rows that the device makes: the digest, the loss and the memory."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import types

import numpy as np
import pytest

import beam2vec
from pipeline.backends.backend import GeneratingBackend
from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda import backend, generation
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.device_rows import DeviceRows
from pipeline.backends.cuda.generation import Generator
from pipeline.backends.cuda.launcher import FOLDER
from pipeline.backends.cuda.token_ranges import TokenRange, token_ranges
from pipeline.batches.rows import TokenPiece
from pipeline.batches.sampling import Sampling
from pipeline.errors import InputError, InterruptedRunError
from pipeline.model.checkpoints import STAGE as CHECKPOINTS
from pipeline.runs.parent import ParentRef
from pipeline.storage.commits import Commits
from pipeline.training import epochs
from pipeline.training.trainer import Trainer
from pipeline.training.update import trained_update
from pipeline.words.vocabulary import Vocabulary
from tests.backends.cuda.cases import Case
from tests.backends.cuda.generation_cases import on_the_cpu, piece, pieces_of, positions_at_once, tables_of
from tests.helpers.commands import write_corpus
from tests.helpers.trainings import POSITIONS, new_records, options_of
from tests.helpers.trainings import train as train_model
from tests.training.replicas import test_trainer as test_replicas
from tools.cuda import nvrtc
from tools.cuda.emulator.emulation import COMPILER, EmulationError
from tools.cuda.emulator.stand_in_cupy import POLICIES, Device, installed

pytestmark = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")


# ---- training on them


def _started(backend, *given):
    """The next steps are started before those before them are waited for, where the backend can do that."""
    if isinstance(backend, GeneratingBackend):
        return backend.start(*given)
    loss = backend.train(*given)
    return lambda: loss


def pairs_of(loss):
    return list(zip(loss.total.tolist(), loss.pairs.tolist())) if loss else []


def train_on_made_rows(model, made_by=CudaBackend, batch_size=600):
    """Weights and loss are those of the CPU, several ranges of several steps long, trained in two goes each.

    With steps of 600 positions there is more than a tile whose loss is taken; with few, there are graphs of many steps.
    """
    tables, sampling = tables_of(300, 1e-2), Sampling(5, 3, "exclude_target", 1)
    cuts = [[40] * 30, [300, 0, 2] * 6] if batch_size == 600 else [[40] * 50, [40] * 25]  # all ranges need equal room
    pieces = pieces_of(cuts, 300, 1000)
    first, end = -(-1000 // batch_size) - (batch_size == 600), 3600 // batch_size
    case, steps_in = Case(vocabulary=300, dims=16), (batch_size, first, end)
    all_rates = np.linspace(0.5, 0.1, end + 1, dtype=np.float32)
    results = []
    for kind in (CpuBackend, made_by):
        trained = kind(*case.weights(), **case.settings(model))
        source = on_the_cpu(pieces, tables, sampling, 0, *steps_in)
        if kind is made_by:
            source = trained.step_ranges(pieces, tables, sampling, 0, *steps_in)
        loss, finish = [], None
        for block in source:  # the first half ends within a block
            half = (block.steps + 1) // 2
            for part in (slice(0, half), slice(half, block.steps)):
                rates = all_rates[block.first :][: block.steps][part]
                if not len(rates):
                    continue
                started = _started(trained, block.rows, block.bounds[part.start : part.stop + 1], rates)
                loss += pairs_of(finish() if finish else None)
                finish = started
        loss += pairs_of(finish())
        results.append((loss, [w.tobytes() for w in trained.weights()]))
    assert len(results[0][0]) == end - first
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("model", "policy", "batch_size"),
    [("skipgram", "random", 600), ("cbow", "eager-1", 60), ("skipgram", "eager-3", 60)],
)
def test_training_on_made_rows_has_the_loss_of_the_cpu(model, policy, batch_size):
    with installed(Device(schedule=2, policy=policy)), positions_at_once(1300 if batch_size == 600 else 700):
        train_on_made_rows(model, batch_size=batch_size)


HOST_DEFECTS = {
    "no row is copied": ("made_steps.py", 'rows.copy_step(slot["packed"], self._steps, i)', "pass"),
    "a step of another graph": ("made_steps.py", "if done:", "if False:"),
    "planned before the step before is trained": ("made_steps.py", "plan_stream.wait_event(trained)", "pass"),
    "planned before the graph begins": ("made_steps.py", "plan_stream.wait_event(self._begun)", "pass"),
    "trained before it is planned": ("made_steps.py", "train_stream.wait_event(planned)", "pass"),
    "the loss of other rows": ("loss_tiles.py", "begin, end = rows.sampled(begin", "*_ = rows.sampled(begin"),
    "rows made over those that are trained": ("generation.py", "stream.wait_event(slot.trained)", "pass"),
    "rows are given up before they are trained": ("backend.py", "rows.trained.record(self._train_stream)", "pass"),
    "rows of all contexts": ("backend.py", "rows.offset_at(bounds)", "np.zeros(len(bounds))"),
}
"""Of backend.py."""


@pytest.mark.slow
@pytest.mark.parametrize("name", HOST_DEFECTS)
def test_defects_of_training_on_made_rows_are_noticed(monkeypatch, name):
    file, right, wrong = HOST_DEFECTS[name]
    text = (FOLDER / file).read_text()
    assert text.count(right) == 1
    module = sys.modules["planted"] = types.ModuleType("planted")
    exec(compile(text.replace(right, wrong), "planted", "exec"), module.__dict__)
    if file == "backend.py":
        made_by = module.CudaBackend
    else:
        name = {"made_steps.py": "MadeSteps", "loss_tiles.py": "LossTiles", "generation.py": "Generator"}[file]
        monkeypatch.setattr(backend, name, getattr(module, name))
        made_by = CudaBackend
    assert any(_differs(policy, made_by) for policy in ("eager-3", "newest", *POLICIES))


def _differs(policy, made_by):
    try:
        with installed(Device(policy=policy, watched=True)), positions_at_once(700):
            train_on_made_rows("skipgram", made_by, 60)
        with installed(Device(policy=policy, watched=True)), positions_at_once(1300):
            train_on_made_rows("skipgram", made_by)
    except (AssertionError, IndexError, EmulationError):
        return True
    return False


# ---- whole runs


@pytest.mark.parametrize(
    "values",
    [
        {"window": "all", "negatives": 3, "subsample": 1e-2, "holdout": 0.05},
        {"model": "cbow", "negative_policy": "distinct", "batch_size": 2000},
    ],
)
def test_a_run_from_token_shards_has_the_digest_of_the_cpu(values, monkeypatch):
    """Stopped after every few steps, within shards and blocks; shards end within steps."""
    values = {"checkpoint_every": 17, "epochs": 2, "negatives": 5, "dims": 16, **values}
    cuts = [0, 12, 1200, 1212, 3600, POSITIONS]
    wanted = train_model(options_of(device="cpu", **values))
    records, asked, trained = new_records(), 0, []
    listed = DeviceRows.listed
    monkeypatch.setattr(DeviceRows, "listed", lambda made, *given: trained.append(listed(made, *given)) or trained[-1])
    while True:
        stops = itertools.chain([False, False, True], itertools.repeat(True))
        with installed(Device(schedule=1, policy="eager-3")), positions_at_once(1000):
            try:
                found = train_model(
                    options_of(device="gpu", **values), records, cuts=cuts, stop=lambda stops=stops: next(stops)
                )
                break
            except InterruptedRunError:
                asked += 1
    assert asked > 1
    assert found.digest == wanted.digest
    assert sum(map(len, trained)) >= wanted.step


def test_replicas_make_the_rows_of_their_slices():
    values = {"replicas": 2, "rounds": 1, "epochs": 1, "dims": 16, "negatives": 3}
    wanted = test_replicas.train(test_replicas.options_of(device="cpu", **values))
    with installed(Device(policy="random")), positions_at_once(1000):
        found = test_replicas.train(test_replicas.options_of(device="gpu", **values))
    assert found.digest == wanted.digest


def test_stored_rows_are_not_made_again(monkeypatch):
    class Shard:
        first_position, end, sampling, unigram = 0, 100, Sampling(5, 3, "any", 1), None

        def __init__(self, stored):
            self.stored = stored

        def span(self, records, epoch):
            return self.first_position, self.end

        def batches(self, records, epoch, pool, first, end):
            return iter([])

    class Backend:
        def train(self, *given): ...

        def weights(self): ...

        def start(self, *given): ...

        def step_ranges(self, *given):
            return "made"

    monkeypatch.setattr(epochs, "load_tables", lambda records, unigram: None)
    shards = [Shard([1]), Shard([1, 2])]
    for epoch, made in ((0, False), (1, False), (2, True)):
        blocks = epochs.ranges_to_train(Backend(), shards, None, epoch, 10, 0, 1)
        assert (blocks == "made") == made


# ---- memory


def test_memory_is_computed_before_it_is_taken():
    pieces, tables, sampling = [piece([100] * 20, 50, 0)], tables_of(50), Sampling(5, 5, "any", 1)
    asked = []
    device = Device()
    with installed(device):
        import cupy
        import cupyx

        generator = Generator(cupy, cupyx.empty_pinned, tables, sampling, lambda size, what: asked.append((size, what)))
        before = device.allocated
        assert before == asked[0][0] == 50 * (4 + 8 + 8)
        with positions_at_once(500):
            list(generator.step_ranges(token_ranges(pieces, 100, 0, 20, 5), 0))
    assert asked[1][0] == device.allocated - before
    assert asked[1][1] == "rows of 500 positions at a time, vectors"
    with positions_at_once(500):
        assert generation.bytes_of_blocks(100, 5, 5, sentence=100) == asked[1][0]


def test_rows_that_do_not_fit_are_told_with_numbers():
    case = Case(vocabulary=50, dims=100)
    pieces = [piece([100] * 20, 50, 0)]
    with installed(Device(memory=2 * 4 * 50 * 112 + 100_000)):
        backend = CudaBackend(*case.weights(), **case.settings("skipgram"))
        blocks = backend.step_ranges(pieces, tables_of(50), Sampling(5, 5, "any", 1), 0, 100, 0, 20)
        said = r"the GPU has .*MB of .*MB free, rows of 2,000 positions at a time, .* need .*MB: lower --batch_size"
        with pytest.raises(InputError, match=said):
            next(blocks)
    wide = TokenPiece(np.empty(0, np.int32), np.array([0, 1 << 20]), 0)
    with installed(Device()):
        token_range = TokenRange(np.broadcast_to(np.int32(0), 1 << 20), wide.sentences, 0, 0, 1, 1 << 20)
        backend = CudaBackend(*case.weights(), **case.settings("skipgram"))
        assert not list(backend.step_ranges([], tables_of(50), Sampling(0, 5, "any", 1), 0, 100, 0, 0))
        with pytest.raises(InputError, match=r"1,048,576 positions of a training step may have .* too many for a GPU"):
            next(backend._generator.step_ranges([token_range], 0))


def test_an_update_has_the_digest_of_the_cpu(tmp_path):
    """What is replayed stands between the new sentences before the device makes rows of them."""
    lines = write_corpus(tmp_path / "all.txt", lines=180, words=90).read_text().splitlines(keepends=True)
    for day in range(2):
        (tmp_path / f"{day}.txt").write_text("".join(lines[90 * day : 90 * (day + 1)]))
    options = {"dims": 16, "negatives": 3, "epochs": 2, "batch_size": 128, "min_count": 2, "threads": 1}
    parent = beam2vec.train(tmp_path / "0.txt", tmp_path / "parent", device="cpu", **options)
    child = beam2vec.update(parent, tmp_path / "1.txt", tmp_path / "child", device="cpu", epochs=2, block_bytes=2000)
    commits = Commits(child.records, CHECKPOINTS, "f" * 32)
    on_gpu = dataclasses.replace(child.options, device="gpu", threads=1)
    words = Vocabulary.from_table(child.vocabulary())
    with installed(Device(schedule=1, policy="eager-3")), positions_at_once(1000):
        again = Trainer(on_gpu, commits, start=ParentRef.of(parent).start(16))
        found = trained_update(again, words, child.shards())
    assert found.digest == child.checkpoint().digest


@pytest.mark.skipif(nvrtc.library() is None, reason="NVRTC is not installed")
@pytest.mark.slow
@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_a_run_by_what_the_compiler_makes_has_the_digest_of_the_cpu(model):
    values = {"model": model, "epochs": 1, "negatives": 3}
    wanted = train_model(options_of(device="cpu", **values))
    with installed(Device(policy="random", architecture=90)):
        assert train_model(options_of(device="gpu", **values)).digest == wanted.digest
