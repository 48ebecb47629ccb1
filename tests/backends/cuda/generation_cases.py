"""Rows made on the emulated device, and on the CPU."""

from __future__ import annotations

import contextlib

import numpy as np

from pipeline.backends.cuda import generation
from pipeline.backends.cuda import token_ranges as cutting
from pipeline.batches import steps
from pipeline.batches.rows import TokenPiece, generate_rows
from pipeline.batches.sampling import Sampling, Tables
from pipeline.kernels import philox
from pipeline.words import unigram
from tests.helpers.philox_words import philox_words

tested = {"generation.py": generation, "token_ranges.py": cutting}
"""The host code: itself, or a copy with a defect."""


@contextlib.contextmanager
def positions_at_once(number):
    module = tested["token_ranges.py"]
    before, module.POSITIONS_AT_ONCE = module.POSITIONS_AT_ONCE, number
    try:
        yield
    finally:
        module.POSITIONS_AT_ONCE = before


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
            yield generate_rows(tokens, sentences, position, tables, sampling, epoch)

    return steps.step_ranges(batches(), batch_size, first, end, sampling.negatives)


def steps_of(blocks):
    """The rows of each step."""
    found = {}
    for block in blocks:
        rows = block.rows
        for i, (begin, end) in enumerate(zip(block.bounds[:-1], block.bounds[1:])):
            offset = rows.offset[begin : end + 1]
            context = rows.context[offset[0] : offset[-1]].tolist()
            target, negatives = rows.target[begin:end].tolist(), rows.negatives[begin:end].tolist()
            found[block.first + i] = (target, (offset - offset[0]).tolist(), context, negatives)
    return found


def unpacked(block):
    """The rows of each step, read as the kernels of the training step read them; and those of the sampled tiles."""
    import cupy

    made, found = block.rows, {}
    bounds = block.bounds
    tile_step, tile_number = np.nonzero(np.arange(made.tiles) < -(-np.diff(bounds) // 1024)[:, None])
    listed = made.listed(bounds, np.full(block.steps, 0.1, np.float32), tile_step, tile_number, tile_number)
    steps = cupy.empty(1 + listed.size, "int32")
    steps.set(np.append(0, listed).astype(np.int32))
    number = 0
    for i, (begin, end) in enumerate(zip(bounds[:-1], bounds[1:])):
        if begin == end:
            found[block.first + i] = ([], [0], [], [])
            continue
        tiles, count = -(-(end - begin) // 1024), made.negatives.shape[1]
        contexts = int(np.diff(made.offset_at(bounds[i : i + 2]))[0])
        numbers = np.full(8 + tiles + int(end - begin) * (2 + count) + 1 + contexts, -1, np.int32)
        packed = cupy.empty(len(numbers), "int32")
        made.copy_step(packed, steps, number)
        packed.get(out=numbers)
        number += 1
        assert numbers[2] == np.float32(0.1).view(np.int32)
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

    cut = tested["token_ranges.py"].token_ranges
    make = tested["generation.py"].Generator
    generator = make(cupy, cupyx.empty_pinned, tables, sampling, lambda size, what: None, block)
    found = {}
    for made in generator.step_ranges(cut(pieces, batch_size, first, end, sampling.window), epoch):
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


def several_shards(policy="distinct", negatives=5, window=5):
    """Shards that meet within a step, several blocks, empty sentences, long ones, steps that begin within sentences."""
    pieces = pieces_of([[30, 0, 1, 2, 300, 7] * 2, [1] * 20 + [400, 0, 0, 40], [5, 0]], 80, (1 << 33) - 500)
    with positions_at_once(300):
        sampling = Sampling(window, negatives, policy, (77 << 32) + 5)
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
    rows = assert_equal([corpus], table._replace(keep=keep), Sampling(2, 3, "any", seed))
    (first,) = (step for step in rows.values() if step[0][:1] == [0])
    assert first[3][0][0] == 7
    assert sum(len(step[0]) for step in rows.values()) == 200


def random_words(positions, purpose, seed):
    low, high = (positions & 0xFFFFFFFF).astype(np.uint32), (positions >> 32).astype(np.uint32)
    same = np.zeros(len(positions), np.uint32)
    return philox_words(low, high, same + np.uint32(purpose), same, *philox.key_of(seed))


def exact_draws():
    """After 64 redraws, one over what is still allowed: of equal weights, so that each is met at its bound."""
    vocabulary = 9
    made = Tables.of(unigram.build(np.append(10**13, 10 ** np.arange(9, 1, -1)), 1.0, 0.0))
    pieces = [piece([40] * 4, vocabulary, 0)]
    results = []
    for weights in (np.ones(vocabulary, np.int64), np.arange(1, vocabulary + 1)):
        for policy, negatives in (("distinct", vocabulary - 1), ("exclude_target", 3)):
            tables = made._replace(weights=weights)
            results.append(assert_equal(pieces, tables, Sampling(2, negatives, policy, 1)))
    assert results[0] != results[2]
    assert results[1] != results[3], "no draw was exact"
    absent = Tables.of(unigram.build(np.array([0, 10**13, 0, 10**6, 0, 7, 5, 0]), 1.0, 0.0))  # words of --vocabulary
    present = [TokenPiece(np.tile(np.int32([1, 3, 5, 6]), 40), np.arange(0, 161, 40), 0)]
    assert_equal(present, absent, Sampling(2, 3, "distinct", 1))
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
    draws_at_the_threshold()
    exact_draws()
    several_tiles()
    many_shares()
