"""Rows made by the CUDA kernels, run on the CPU, are those of the CPU's generator: every number, in order."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import sys
import types

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.backends.cpu import CpuBackend
from pipeline.backends.cuda import generation
from pipeline.backends.cuda import token_ranges as cutting
from pipeline.backends.cuda.backend import CudaBackend
from pipeline.backends.cuda.generation import Generator
from pipeline.backends.cuda.launcher import FOLDER
from pipeline.backends.cuda.token_ranges import Stretch, stretches
from pipeline.batches import steps
from pipeline.batches.rows import TokenPiece, generate_rows
from pipeline.batches.sampling import Sampling, Tables, without_kept_back
from pipeline.errors import InputError, InterruptedRunError
from pipeline.kernels import philox
from pipeline.training import trainer
from pipeline.words import unigram
from tests.backends.cuda.cases import Case
from tests.training import test_replicas
from tests.training.test_trainer import POSITIONS, new_records, options_of
from tests.training.test_trainer import train as train_model
from tools.cuda.emulator.emulation import COMPILER, EmulationError
from tools.cuda.emulator.stand_in_cupy import POLICIES, Device, installed

pytestmark = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")

WAYS = [(0, "late", 256), (1, "early", 64), (2, "random", 32), (3, "eager-3", 96)]
"""schedule, policy of the streams, threads of a block"""


tested = {"generation.py": generation, "stretches.py": cutting}
"""The host code: itself, or a copy with a defect."""


@contextlib.contextmanager
def positions_at_once(number):
    module = tested["stretches.py"]
    before, module.POSITIONS_AT_ONCE = module.POSITIONS_AT_ONCE, number
    try:
        yield
    finally:
        module.POSITIONS_AT_ONCE = before


@contextlib.contextmanager
def using(file, module):
    before, tested[file] = tested[file], module
    try:
        yield
    finally:
        tested[file] = before


def piece(lengths, vocabulary, position, seed=0):
    """Sentences of frequent and rare words."""
    rng = np.random.default_rng(seed)
    tokens = np.floor(rng.random(int(sum(lengths))) ** 3 * vocabulary).astype(np.int32)
    return TokenPiece(tokens, np.append(0, np.cumsum(np.array(lengths, np.int64))), position)


def pieces_of(cuts, vocabulary, position, seed=0):
    made = []
    for i, lengths in enumerate(cuts):
        made.append(piece(lengths, vocabulary, position, seed + i))
        position += len(made[-1].tokens)
    return made


def tables_of(vocabulary, subsample=0.0, power=0.75):
    return Tables.of(unigram.build(1_000_000 // np.arange(1, vocabulary + 1) ** 2 + 1, power, subsample))


def on_the_cpu(pieces, tables, sampling, epoch, batch_size, first, end):
    def batches():
        for tokens, sentences, position in pieces:
            rows = generate_rows(tokens, sentences, position, tables, sampling, epoch)
            yield without_kept_back(rows, sentences, position, sampling.holdout) if sampling.holdout else rows

    return steps.blocks_of_steps(batches(), batch_size, first, end, sampling.negatives)


def steps_of(blocks):
    """The rows of each step."""
    found = {}
    for block in blocks:
        rows = block.batch
        for i, (begin, end) in enumerate(zip(block.bounds[:-1], block.bounds[1:])):
            offset = rows.offset[begin : end + 1]
            context = rows.context[offset[0] : offset[-1]].tolist()
            target, negatives = rows.target[begin:end].tolist(), rows.negatives[begin:end].tolist()
            found[block.first + i] = (target, (offset - offset[0]).tolist(), context, negatives)
    return found


def unpacked(block):
    """The rows of each step, read as the kernels of the training step read them; and those of the sampled tiles."""
    import cupy

    made, found = block.batch, {}
    for i, (begin, end) in enumerate(zip(block.bounds[:-1], block.bounds[1:])):
        if begin == end:
            found[block.first + i] = ([], [0], [], [])
            continue
        tiles, count = -(-(end - begin) // 1024), made.negatives.shape[1]
        contexts = int(np.diff(made.offset_at(block.bounds[i : i + 2]))[0])
        numbers = np.full(8 + tiles + int(end - begin) * (2 + count) + 1 + contexts, -1, np.int32)
        size = made.pack_header(numbers, int(begin), int(end), np.float32(0.1), np.arange(tiles))
        packed = cupy.empty(len(numbers), "int32")
        packed.set(numbers)
        made.copy_step(packed, int(begin))
        packed[size:].get(out=numbers[size:])
        rows, at = numbers[0], numbers[3:8]
        assert numbers[1] == contexts
        assert numbers[at[4] : at[4] + tiles].tolist() == list(range(tiles))
        offset = numbers[at[1] : at[1] + rows + 1]
        assert offset[-1] == contexts
        found[block.first + i] = (
            numbers[at[0] : at[0] + rows].tolist(),
            offset.tolist(),
            numbers[at[2] : at[2] + contexts].tolist(),
            numbers[at[3] : at[3] + rows * count].reshape(rows, count).tolist(),
        )
        check_sample(made, begin, end, found[block.first + i])
    return found


def check_sample(made, begin, end, step):
    target, offset, _, negatives = step
    for number, tile in enumerate(range(0, int(end - begin), 1024)):
        last = min(tile + 16, int(end - begin))
        rows, low, high = made.sampled(np.array([begin + tile]), np.array([begin + last]), np.array([number]))
        low, high = int(low[0]), int(high[0])
        assert rows.target[low:high].tolist() == target[tile:last]
        assert np.diff(rows.offset[low : high + 1]).tolist() == np.diff(offset[tile : last + 1]).tolist()
        assert rows.negatives[low:high].tolist() == negatives[tile:last]


def on_the_device(pieces, tables, sampling, epoch, batch_size, first, end, block=64):
    """On whatever CuPy is."""
    import cupy
    import cupyx

    cut = tested["stretches.py"].stretches
    make = tested["generation.py"].Generator
    generator = make(cupy, cupyx.empty_pinned, tables, sampling, lambda size, what: None, block)
    found = {}
    for made in generator.blocks(cut(pieces, batch_size, first, end, sampling.window), epoch):
        found |= unpacked(made)
    return found


def assert_equal(pieces, tables, sampling, epoch=0, batch_size=64, first=None, end=None, block=64):
    position = pieces[0].position
    tokens = sum(len(piece.tokens) for piece in pieces)
    first = position // batch_size if first is None else first
    end = -(-(position + tokens) // batch_size) if end is None else end
    wanted = steps_of(on_the_cpu(pieces, tables, sampling, epoch, batch_size, first, end))
    found = on_the_device(pieces, tables, sampling, epoch, batch_size, first, end, block)
    assert list(found) == list(range(first, end))
    assert found == wanted
    return wanted


# ---- cases that together notice what can go wrong


def several_shards(policy="distinct", negatives=5, window=5, holdout=0.0):
    """Shards that meet within a step, several blocks, empty sentences, long ones, steps that begin within sentences."""
    pieces = pieces_of([[30, 0, 1, 2, 300, 7] * 2, [1] * 20 + [400, 0, 0, 40], [5, 0]], 80, (1 << 33) - 500)
    with positions_at_once(300):
        sampling = Sampling(window, negatives, policy, (77 << 32) + 5, holdout)
        rows = assert_equal(pieces, tables_of(80, 1e-2), sampling, epoch=3, batch_size=100)
    assert sum(len(step[0]) for step in rows.values()) > 200


def draws_at_the_threshold():
    """Tokens whose draw is their threshold are kept, those one above it are not; the alias table is the other way."""
    n, position, seed = 300, (5 << 32) + 11, 3
    drawn = random_words(np.arange(n) + position, philox.KEEP_AND_RADIUS, seed)
    keep = np.where(np.arange(n) % 3 == 2, drawn[0] - np.uint32(1), drawn[0]).astype(np.uint32)
    x, y = random_words(np.array([position]), philox.NEGATIVES, seed)[:2, 0].tolist()
    table = tables_of(n)
    table.packed[x * n >> 32] = np.uint64((7 << 32) + y)
    corpus = TokenPiece(np.arange(n, dtype=np.int32), np.array([0, 50, n]), position)
    rows = assert_equal([corpus], dataclasses.replace(table, keep=keep), Sampling(2, 3, "any", seed))
    (first,) = (step for step in rows.values() if step[0][:1] == [0])
    assert first[3][0][0] == 7
    assert sum(len(step[0]) for step in rows.values()) == 200


def random_words(positions, purpose, seed):
    low, high = (positions & 0xFFFFFFFF).astype(np.uint32), (positions >> 32).astype(np.uint32)
    same = np.zeros(len(positions), np.uint32)
    return philox.words(low, high, same + np.uint32(purpose), same, *philox.key_of(seed))


def exact_draws():
    """After 64 redraws, one over what is still allowed: of equal weights, so that each is met at its bound."""
    vocabulary = 9
    made = Tables.of(unigram.build(np.append(10**13, 10 ** np.arange(9, 1, -1)), 1.0, 0.0))
    pieces = [piece([40] * 4, vocabulary, 0)]
    results = []
    for weights in (np.ones(vocabulary, np.int64), np.arange(1, vocabulary + 1)):
        for policy, negatives in (("distinct", vocabulary - 1), ("exclude_target", 3)):
            tables = dataclasses.replace(made, weights=weights)
            results.append(assert_equal(pieces, tables, Sampling(2, negatives, policy, 1)))
    assert results[0] != results[2]
    assert results[1] != results[3], "no draw was exact"
    half = Tables.of(unigram.build(np.append(63 * 8 * 100, np.full(8, 100)), 1.0, 0.0))  # so that some take all 64
    assert_equal(pieces, half, Sampling(2, 6, "exclude_target", 1))


def several_tiles():
    """Steps of more than one tile whose loss is taken; a window without bound; every token of a block has a row."""
    with positions_at_once(2500):
        assert_equal([piece([60, 40] * 33, 500, 30)], tables_of(500), Sampling(0, 1, "any", 1), batch_size=2500)


def many_shares():
    """More warps' shares of tokens than a warp adds up at a time."""
    assert_equal([piece([90] * 100, 500, 0)], tables_of(500), Sampling(1, 1, "any", 1), batch_size=9000)


def everything():
    several_shards("any", negatives=4)
    several_shards("exclude_target", negatives=3, window=1)
    several_shards("distinct", negatives=6, window=0)
    several_shards(holdout=0.3)
    draws_at_the_threshold()
    exact_draws()
    several_tiles()
    many_shares()


@pytest.mark.parametrize(("schedule", "policy", "block"), WAYS)
def test_rows_are_those_of_the_cpu(schedule, policy, block):
    with installed(Device(schedule=schedule, policy=policy)):
        if schedule == 0:
            everything()
        several_shards(holdout=0.1)
        exact_draws()


@pytest.mark.slow
@pytest.mark.parametrize("block", [32, 96, 256])
def test_no_schedule_changes_a_row(block):
    for schedule, policy in itertools.product(range(4), [*POLICIES, "eager-3"]):
        with installed(Device(schedule=schedule, policy=policy, seed=block)):
            everything()


def test_no_race_and_no_access_outside_of_arrays():
    with installed(Device(schedule=3, policy="random", watched=True)):
        several_shards(holdout=0.1)
        several_tiles()


@st.composite
def corpora(draw):
    vocabulary = draw(st.integers(2, 60))
    lengths = st.lists(st.sampled_from([0, 1, 2, 3, 10, 33, 64, 200]), min_size=0, max_size=8)
    cuts = draw(st.lists(lengths, min_size=1, max_size=4).filter(lambda cuts: any(map(any, cuts))))
    position = draw(st.sampled_from([0, 5, 77, (1 << 32) - 60, (1 << 48) - 5000]))
    policy = draw(st.sampled_from(["any", "exclude_target", "distinct"]))
    negatives = draw(st.integers(1, 8 if policy != "distinct" else min(8, vocabulary - 1)))
    window = draw(st.sampled_from([0, *range(1, 11)]))
    sampling = Sampling(
        window, negatives, policy, draw(st.integers(0, 2**64 - 1)), draw(st.sampled_from([0.0, 0.0, 0.3]))
    )
    subsample = draw(st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))
    return pieces_of(cuts, vocabulary, position, draw(st.integers(0, 99))), tables_of(vocabulary, subsample), sampling


def check_any(corpus, epoch, batch_size, at_once, way, data):
    pieces, tables, sampling = corpus
    position, tokens = pieces[0].position, sum(len(piece.tokens) for piece in pieces)
    low, high = position // batch_size, -(-(position + tokens) // batch_size)
    first = data.draw(st.integers(low, high - 1))
    end = data.draw(st.integers(first + 1, high + 2))  # steps may be without tokens
    pieces = [piece for piece in pieces if piece.position + len(piece.tokens) > first * batch_size]
    schedule, policy, block = way
    with installed(Device(schedule=schedule, policy=policy)), positions_at_once(at_once):
        assert_equal(pieces, tables, sampling, epoch, batch_size, first, end, block)


anything = given(
    corpora(),
    st.integers(0, 65535),
    st.sampled_from([1, 7, 64, 100, 1000]),
    st.sampled_from([1, 100, 1 << 18]),
    st.sampled_from(WAYS),
    st.data(),
)


@settings(max_examples=25)
@anything
def test_rows_of_any_corpus_are_those_of_the_cpu(corpus, epoch, batch_size, at_once, way, data):
    check_any(corpus, epoch, batch_size, at_once, way, data)


@pytest.mark.slow
@settings(max_examples=1000)
@anything
def test_rows_of_many_corpora_are_those_of_the_cpu(corpus, epoch, batch_size, at_once, way, data):
    check_any(corpus, epoch, batch_size, at_once, way, data)


# ---- training on them


def train_on_made_rows(model, made_by=CudaBackend):
    """Weights and loss are those of the CPU, several blocks of several steps long, trained in two goes each."""
    tables, sampling = tables_of(300, 1e-2), Sampling(5, 3, "exclude_target", 1)
    pieces = pieces_of([[40] * 30, [300, 0, 2] * 6], 300, 1000)
    case, steps_in = Case(vocabulary=300, dims=16), (600, 1, 6)  # more than a tile whose loss is taken, and short ends
    results = []
    for backend in (CpuBackend, made_by):
        trained = backend(*case.weights(), **case.settings(model))
        source = on_the_cpu(pieces, tables, sampling, 0, *steps_in)
        if backend is made_by:
            source = trained.blocks(pieces, tables, sampling, 0, *steps_in)
        loss = []
        for block in source:
            half = (block.steps + 1) // 2
            for part in (slice(0, half), slice(half, block.steps)):
                rates = np.linspace(0.5, 0.1, 7, dtype=np.float32)[block.first :][: block.steps][part]
                if len(rates):
                    given = trained.train(block.batch, block.bounds[part.start : part.stop + 1], rates)
                    loss += list(zip(given.total.tolist(), given.pairs.tolist()))
        results.append((loss, [w.tobytes() for w in trained.weights()]))
    assert len(results[0][0]) == 5
    assert results[0] == results[1]


@pytest.mark.parametrize(("model", "policy"), [("skipgram", "random"), ("cbow", "eager-1")])
def test_training_on_made_rows_has_the_loss_of_the_cpu(model, policy):
    with installed(Device(schedule=2, policy=policy)), positions_at_once(1300):
        train_on_made_rows(model)


HOST_DEFECTS = {
    "no row is copied": ('batch.copy_step(slot["packed"], begin)', "pass"),
    "a step of another block": ('batch.copy_step(slot["packed"], begin)', 'batch.copy_step(slot["packed"], 0)'),
    "the loss of other rows": ("batch, begin, end = batch.sampled(begin, end, number)", "batch = batch.sample"),
    "rows of all contexts": ("batch.offset_at(bounds)", "np.zeros(len(bounds))"),
}
"""Of backend.py."""


@pytest.mark.slow
@pytest.mark.parametrize("name", HOST_DEFECTS)
def test_defects_of_training_on_made_rows_are_noticed(name):
    right, wrong = HOST_DEFECTS[name]
    text = (FOLDER / "backend.py").read_text()
    assert text.count(right) == 1
    module = sys.modules["planted"] = types.ModuleType("planted")
    exec(compile(text.replace(right, wrong), "planted", "exec"), module.__dict__)
    with installed(Device(watched=True)), positions_at_once(1300), pytest.raises((AssertionError, IndexError)):
        train_on_made_rows("skipgram", module.CudaBackend)


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
    records, device, asked, copied = new_records(), Device(schedule=1, policy="eager-3"), 0, []
    copy_step = generation.MadeRows.copy_step
    monkeypatch.setattr(
        generation.MadeRows, "copy_step", lambda made, *given: copied.append(given) or copy_step(made, *given)
    )
    with installed(device), positions_at_once(1000):
        while True:
            stops = itertools.chain([False, True], itertools.repeat(True))
            try:
                found = train_model(
                    options_of(device="gpu", **values), records, cuts=cuts, stop=lambda stops=stops: next(stops)
                )
                break
            except InterruptedRunError:
                asked += 1
    assert asked > 1
    assert found.digest == wanted.digest
    assert len(copied) >= wanted.step


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

        def batches(self, records, epoch, pool, first, end):
            return iter([])

    class Backend:
        def train(self, *given): ...

        def weights(self): ...

        def blocks(self, *given):
            return "made"

    monkeypatch.setattr(trainer, "load_tables", lambda records, unigram: None)
    shards = [Shard([1]), Shard([1, 2])]
    for epoch, made in ((0, False), (1, False), (2, True)):
        blocks = trainer.step_blocks(Backend(), shards, None, epoch, 10, 0, 1)
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
            list(generator.blocks(stretches(pieces, 100, 0, 20, 5), 0))
    assert asked[1][0] == device.allocated - before
    assert asked[1][1] == "rows of 500 positions at a time, vectors"
    with positions_at_once(500):
        assert generation.bytes_of_blocks(100, 5, 5, sentence=100) == asked[1][0]


def test_rows_that_do_not_fit_are_told_with_numbers():
    case = Case(vocabulary=50, dims=100)
    pieces = [piece([100] * 20, 50, 0)]
    with installed(Device(memory=2 * 4 * 50 * 112 + 100_000)):
        backend = CudaBackend(*case.weights(), **case.settings("skipgram"))
        blocks = backend.blocks(pieces, tables_of(50), Sampling(5, 5, "any", 1), 0, 100, 0, 20)
        said = r"the GPU has .*MB of .*MB free, rows of 2,000 positions at a time, .* need .*MB: lower --batch_size"
        with pytest.raises(InputError, match=said):
            next(blocks)
    wide = TokenPiece(np.empty(0, np.int32), np.array([0, 1 << 20]), 0)
    with installed(Device()):
        stretch = Stretch(np.broadcast_to(np.int32(0), 1 << 20), wide.sentences, 0, 0, 1, 1 << 20)
        backend = CudaBackend(*case.weights(), **case.settings("skipgram"))
        backend.blocks([], tables_of(50), Sampling(0, 5, "any", 1), 0, 100, 0, 1)
        with pytest.raises(InputError, match=r"1,048,576 positions of a training step may have .* too many for a GPU"):
            next(backend._generator.blocks([stretch], 0))


# ---- planted defects

DEFECTS = {
    "sums that count the share itself": ("generate.cu", "totals[i] = before + sum - value", "totals[i] = before + sum"),
    "sums that forget the shares before": (
        "generate.cu",
        "before += __shfl_sync(ALL, sum, WARP - 1);\n  }\n  if (lane",
        "before = __shfl_sync(ALL, sum, WARP - 1);\n  }\n  if (lane",
    ),
    "a lane counts itself": ("generate.cu", "__popc(kept & ((1u << lane) - 1))", "__popc(kept & ((2u << lane) - 1))"),
    "a sum over too few lanes": ("generate.cu", "step < WARP; step *= 2", "step < WARP / 2; step *= 2"),
    "rows of the warp's share not carried on": (
        "generate.cu",
        "    before += __shfl_sync(ALL, sum, WARP - 1);\n  }\n}",
        "  }\n}",
    ),
    "the epoch in other bits": ("generate.cu", "(unsigned)epoch << 16", "(unsigned)epoch << 15"),
    "the position's low half alone": ("generate.cu", "(unsigned)(position >> 32) |", "0u |"),
    "a round too few": ("generate.cu", "round < 10", "round < 9"),
    "the key's halves swapped": ("generate.cu", "c0 = high1 ^ c1 ^ k0", "c0 = high1 ^ c1 ^ k1"),
    "the draws of redraws overlap": ("generate.cu", "REDRAWS * k + i)", "k + i)"),
    "the exact draw of another negative": ("generate.cu", "EXACT_DRAW, (unsigned)k", "EXACT_DRAW, 0"),
    "a token kept below its threshold alone": ("generate.cu", "drawn.x <= keep", "drawn.x < keep"),
    "a word up to its threshold": ("generate.cu", "y < (unsigned)entry", "y <= (unsigned)entry"),
    "an exact draw up to its weight": ("generate.cu", "rest < (u64)weights", "rest <= (u64)weights"),
    "the radius from 0": ("generate.cu", "below(drawn.y, window) + 1", "below(drawn.y, window + 1) + (window == 0)"),
    "a context too many": ("generate.cu", "end - j > radius[i]", "end - j >= radius[i]"),
    "the target among its contexts": ("generate.cu", "other < itself ?", "other <= itself ?"),
    "rows of the token before": ("generate.cu", "i >= own_begin", "i + 1 >= own_begin"),
    "rows of the token behind": ("generate.cu", "i < own_end", "i <= own_end"),
    "sentences kept back": ("generate.cu", "kept_back[sentence] ? 0", "0 ? 0"),
    "an edge belongs to the step before": ("generate.cu", "row_place[middle] < edge", "row_place[middle] <= edge"),
    "a negative past an odd number": ("generate.cu", "2 * j + 1 < count", "2 * j + 1 <= count"),
    "distinct from the target alone": ("generate.cu", "if (policy == DISTINCT)", "if (policy > DISTINCT)"),
    "a redraw too few": ("generate.cu", "i < REDRAWS &&", "i < REDRAWS - 1 &&"),
    "a sampled row too few": ("generate.cu", "row < bounds[step + 1]", "row + 1 < bounds[step + 1]"),
    "tiles side by side": ("generate.cu", "(TILE * LOSS_TILES)", "(TILE * LOSS_TILES / 2)"),
    "offsets of the block": ("generate.cu", " - context_begin;", ";"),
    "the last offset left out": ("generate.cu", "i <= rows;", "i < rows;"),
    "nobody waits for the rows": ("generation.py", "slot.made.synchronize()", "pass"),
    "one slot for all blocks": ("generation.py", "number % 2", "0"),
    "rows are ready before they are": (
        "generation.py",
        "            slot.found[:size].get(stream=stream, out=slot.host_found[:size], blocking=False)\n"
        "            slot.made.record(stream)",
        "            slot.made.record(stream)\n"
        "            slot.found[:size].get(stream=stream, out=slot.host_found[:size], blocking=False)",
    ),
    "sentences cut at the step": ("stretches.py", 'offset, side="right")) - 1', 'offset, side="right"))'),
    "the halo of the last step left out": (
        "stretches.py",
        "behind = min(behind, len(sentences) - 1)",
        "behind = max(begin, behind - 1)",
    ),
    "positions of the shard": ("stretches.py", "position + low, step, last", "position, step, last"),
}
"""Name -> file, what stands there, what is put in its place."""
HOST = [name for name, defect in DEFECTS.items() if defect[0] != "generate.cu"]
FAST = ["sums that count the share itself", "the epoch in other bits", "a token kept below its threshold alone"]


def is_noticed(file, right, wrong):
    """Watched, since a defect may touch what is not there."""
    text = (FOLDER / file).read_text()
    assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times in {file}"
    if file == "generate.cu":
        ways, use = ["late"], contextlib.nullcontext
    else:
        ways, module = ["late", "eager-3", "random"], types.ModuleType("planted")
        sys.modules["planted"] = module  # where dataclasses look for types
        exec(compile(text.replace(right, wrong), "planted", "exec"), module.__dict__)
        use = functools.partial(using, file, module)
    for policy in ways:
        edit = (lambda code: code.replace(right, wrong)) if file == "generate.cu" else (lambda code: code)
        with installed(Device(schedule=2, policy=policy, watched=True, edit=edit)), use():
            try:
                everything()
            except (AssertionError, EmulationError, ValueError, IndexError):
                return True
    return False


def test_without_a_defect_nothing_is_noticed():
    assert not is_noticed("generate.cu", "// ---- rows", "// ---- no rows")


@pytest.mark.parametrize("name", FAST)
def test_defects_are_noticed(name):
    assert is_noticed(*DEFECTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_all_defects_are_noticed(name):
    assert is_noticed(*DEFECTS[name])
