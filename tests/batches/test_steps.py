"""Steps as blocks of rows."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from pipeline.batches.rows import generate_rows, to_numpy
from pipeline.batches.sampling import Sampling, Tables
from pipeline.batches.steps import step_ranges
from pipeline.words import unigram
from tests.helpers.trainings import COUNTS, SENTENCE, TOKENS, options_of


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
    for block in step_ranges(batches, batch_size, first, end, options.negatives):
        assert block.first == expected
        for s in range(block.steps):
            step = expected + s
            mine = np.flatnonzero(position // batch_size == step)
            begin, stop = block.bounds[s], block.bounds[s + 1]
            np.testing.assert_array_equal(block.rows.target[begin:stop], rows.target[mine])
            np.testing.assert_array_equal(block.rows.negatives[begin:stop], rows.negatives[mine])
            ours = [block.rows.context[block.rows.offset[i] : block.rows.offset[i + 1]] for i in range(begin, stop)]
            theirs = [rows.context[rows.offset[i] : rows.offset[i + 1]] for i in mine]
            assert [c.tolist() for c in ours] == [c.tolist() for c in theirs]
        expected += block.steps
    assert expected == end
