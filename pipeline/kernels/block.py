"""A block: a step range with its rows, rules, weights, and the memory that the threads of a team share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pipeline.kernels.plan import Plan


class StepRules(NamedTuple):
    """What the options decide about a step, and the sizes that fix the order of its sums."""

    tau: np.float32
    """float32: a weight row that more than `tau` (context, output) pairs touch in a step is damped"""
    cbow: bool
    """True: CBOW, one term a row, the mean of its contexts. False: skip-gram, a term for each context"""
    zero_hits: bool
    """whether a negative that is the target itself gets the gradient weight 0, and no loss"""
    tile: int
    """int64: consecutive rows whose context gradients are summed first"""
    chunk: int
    """int64, a multiple of `tile`: consecutive rows whose tile sums, and output gradients, are summed next"""
    loss_tiles: int
    """int64: the loss is taken from every `loss_tiles`-th tile of a step, from the first on"""


class Weights(NamedTuple):
    """Both matrices, flat: row w begins at w * dims."""

    w_in: np.ndarray
    """float32 [V dims]: input vectors"""
    w_out: np.ndarray
    """float32 [V dims]: output vectors"""
    dims: int
    """int64: a multiple of 16; shorter vectors are padded with zeros"""


class Sums(NamedTuple):
    """Chunk sums of a step's gradients, at the places that the plan gives them: place p begins at p * dims."""

    inputs: np.ndarray
    """float32 [places of the input side * dims]"""
    outputs: np.ndarray
    """float32 [places of the output side * dims]"""


class TileLoss(NamedTuple):
    """Cross-entropy of the sampled tiles of S steps, or of a list of tiles."""

    total: np.ndarray
    """float64 [S, tiles] or [tiles]"""
    pairs: np.ndarray
    """int64, same shape: how many (context, output) pairs the total is over"""


class Block(NamedTuple):
    """S consecutive steps, and everything that the threads of a team share while they train them."""

    rows: Any
    """`Rows` (pipeline/batches/rows.py): the rows of all the steps; its arrays are read-only"""
    bounds: np.ndarray
    """int64 [S + 1]: step s is the rows bounds[s]:bounds[s + 1]"""
    learning_rates: np.ndarray
    """float32 [S]"""
    rules: StepRules
    weights: Weights
    """read while a step's gradients are summed, written when they are added"""
    plan: Plan
    """of all the steps; written in turns, see `step.train`"""
    sums: Sums
    """of one step at a time, used again for each"""
    loss: TileLoss
    """written"""
