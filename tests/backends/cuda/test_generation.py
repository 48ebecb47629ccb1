"""Rows made by the CUDA kernels, run on the CPU, are those of the CPU's generator: every number, in order."""

from __future__ import annotations

import itertools

import pytest

from pipeline.batches.sampling import Sampling
from tests.backends.cuda.generation_cases import (
    assert_equal,
    everything,
    exact_draws,
    pieces_of,
    positions_at_once,
    several_shards,
    several_tiles,
    tables_of,
)
from tools.cuda.emulator.emulation import COMPILER
from tools.cuda.emulator.stand_in_cupy import POLICIES, Device, installed

hypothesis = pytest.importorskip("hypothesis")  # a machine with a GPU may be bare
st = pytest.importorskip("hypothesis.strategies")
pytestmark = pytest.mark.skipif(not COMPILER, reason="the emulator needs g++")

WAYS = [(0, "late", 256), (1, "early", 64), (2, "random", 32), (3, "eager-3", 96)]
"""schedule, policy of the streams, threads of a block"""


@pytest.mark.parametrize(("schedule", "policy", "block"), WAYS)
def test_rows_are_those_of_the_cpu(schedule, policy, block):
    with installed(Device(schedule=schedule, policy=policy)):
        if schedule == 0:
            everything()
        several_shards()
        exact_draws()


@pytest.mark.slow
@pytest.mark.parametrize("block", [32, 96, 256])
def test_no_schedule_changes_a_row(block):
    for schedule, policy in itertools.product(range(4), [*POLICIES, "eager-3"]):
        with installed(Device(schedule=schedule, policy=policy, seed=block)):
            everything()


def test_no_race_and_no_access_outside_of_arrays():
    with installed(Device(schedule=3, policy="random", watched=True)):
        several_shards()
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
    sampling = Sampling(window, negatives, policy, draw(st.integers(0, 2**64 - 1)))
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


anything = hypothesis.given(
    corpora(),
    st.integers(0, 65535),
    st.sampled_from([1, 7, 64, 100, 1000]),
    st.sampled_from([1, 100, 1 << 18]),
    st.sampled_from(WAYS),
    st.data(),
)


@hypothesis.settings(max_examples=25)
@anything
def test_rows_of_any_corpus_are_those_of_the_cpu(corpus, epoch, batch_size, at_once, way, data):
    check_any(corpus, epoch, batch_size, at_once, way, data)


@pytest.mark.slow
@hypothesis.settings(max_examples=1000)
@anything
def test_rows_of_many_corpora_are_those_of_the_cpu(corpus, epoch, batch_size, at_once, way, data):
    check_any(corpus, epoch, batch_size, at_once, way, data)
