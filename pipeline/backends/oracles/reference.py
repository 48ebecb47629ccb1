"""The training step made of the layers: what the other backends compute, in the form in which one would explain it.

It is in float32 and close to the others (1e-6 a step), but has not their bits: the order of the sums is NumPy's.
Gradients are whole tables, so it is for small vocabularies.
"""

from __future__ import annotations

from types import ModuleType
from typing import Protocol

import numpy as np

from pipeline.backends.backend import LOSS_TILES, TILE, StepLoss
from pipeline.batches.rows import Rows
from pipeline.kernels.arithmetic import MOST_MOVE
from pipeline.layers import Array, Embedding, NegativeSamplingLoss, add_rows, array_module, to_host


class Model(Protocol):
    """An embedding of contexts, a loss of targets, and how they are connected."""

    embedding: Embedding
    loss: NegativeSamplingLoss

    def forward(self, context: Array, row: Array, target: Array, negatives: Array, zero_hits: bool) -> Array:
        """Computes the loss of n rows.

        Args:
          context: int [m], the contexts of all rows; row: int [m], the row of each.
          target: int [n]; negatives: int [n, K].

        Returns:
          int [examples], the row of each example of the loss.
        """

    def backward(self) -> None:
        """Leaves the gradients of the summed loss in `embedding` and `loss`."""


class SkipGram:
    """Each context word by itself predicts the target: one example for each (row, context)."""

    def __init__(self, w_in: Array, w_out: Array):
        self.embedding = Embedding(w_in)
        self.loss = NegativeSamplingLoss(w_out)

    def forward(self, context: Array, row: Array, target: Array, negatives: Array, zero_hits: bool) -> Array:
        self.loss.forward(self.embedding.forward(context), target[row], negatives[row], zero_hits)
        return row

    def backward(self) -> None:
        self.embedding.backward(self.loss.backward(len(self.loss.index)))


class Cbow:
    """The mean of a row's contexts predicts the target: one example for each row.

    Each context gets the whole gradient of the mean, as in word2vec.c, and not 1/m of it: with the division, vectors
    were measurably worse at analogies.
    """

    def __init__(self, w_in: Array, w_out: Array):
        self.embedding = Embedding(w_in)
        self.loss = NegativeSamplingLoss(w_out)
        self._row: Array = None

    def forward(self, context: Array, row: Array, target: Array, negatives: Array, zero_hits: bool) -> Array:
        xp = array_module(target)
        self._row = row
        vectors = self.embedding.forward(context)
        mean = xp.zeros((len(target), vectors.shape[1]), vectors.dtype)
        add_rows(mean, row, vectors)
        mean /= xp.bincount(row, minlength=len(target)).astype(vectors.dtype)[:, None]
        self.loss.forward(mean, target, negatives, zero_hits)
        return xp.arange(len(target))

    def backward(self) -> None:
        dmean = self.loss.backward(len(self.loss.index))
        self.embedding.backward(dmean[self._row])


class ReferenceBackend:
    """A backend on NumPy or CuPy; see `pipeline.backends.backend.Backend`."""

    def __init__(
        self, w_in: np.ndarray, w_out: np.ndarray, *, model: str, tau: float, zero_hits: bool, xp: ModuleType = np
    ):
        """Copies the weights into five layers.

        Args:
          w_in, w_out: float32 [V, dims], copied. Float64 stays float64, to be compared with exact sums.
          model: "skipgram" or "cbow".
          tau: pairs that may move a row with their whole weight in one step.
          zero_hits: leave out negatives equal to their target.
          xp: numpy or cupy, where to compute.
        """
        self._xp = xp
        self._tau = tau
        self._zero_hits = zero_hits
        models: dict[str, type[SkipGram] | type[Cbow]] = {"skipgram": SkipGram, "cbow": Cbow}
        self._model: Model = models[model](xp.array(w_in), xp.array(w_out))

    def train(self, rows: Rows, bounds: np.ndarray, learning_rates: np.ndarray) -> StepLoss:
        """See `Backend`."""
        steps = len(learning_rates)
        loss = StepLoss(np.zeros(steps), np.zeros(steps, np.int64))
        for step in range(steps):
            begin, end = int(bounds[step]), int(bounds[step + 1])
            if begin < end:
                loss.total[step], loss.pairs[step] = self._step(rows, begin, end, learning_rates[step])
        return loss

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Input and output vectors, [V, dims] each, copied."""
        (w_in,), (w_out,) = self._model.embedding.params, self._model.loss.params
        return to_host(w_in.copy()), to_host(w_out.copy())

    def _step(self, rows: Rows, begin: int, end: int, learning_rate: float) -> tuple[float, int]:
        """One step on the rows begin:end; gradients are those of the weights before it."""
        xp, model = self._xp, self._model
        offset = rows.offset[begin : end + 1]
        row = xp.asarray(np.repeat(np.arange(end - begin), np.diff(offset)))
        context = xp.asarray(rows.context[offset[0] : offset[-1]])
        target, negatives = xp.asarray(rows.target[begin:end]), xp.asarray(rows.negatives[begin:end])

        example_row = model.forward(context, row, target, negatives, self._zero_hits)
        model.backward()
        heads = model.loss.index.shape[1]
        self._update(model.embedding, xp.repeat(context, heads), learning_rate)
        self._update(model.loss, model.loss.index.ravel(), learning_rate)

        sampled = example_row // TILE % LOSS_TILES == 0
        return float(model.loss.loss.losses[sampled].sum()), int(model.loss.counted[sampled].sum())

    def _update(self, layer: Embedding | NegativeSamplingLoss, touched: Array, learning_rate: float) -> None:
        """W[row] -= lr min(1, tau / pairs) dW[row]; a row with more than tau pairs moves by at most MOST_MOVE.

        Args:
          touched: int, the weight row of each (context, output) pair, also of zeroed hits.
        """
        (W,), (dW,) = layer.params, layer.grads
        xp, number = array_module(W), W.dtype.type
        pairs = xp.bincount(touched, minlength=len(W))
        rows = xp.flatnonzero(pairs)
        pairs = pairs[rows].astype(W.dtype)
        lr, tau = number(learning_rate), number(self._tau)
        scale = xp.where(pairs <= tau, lr, lr * tau / pairs)
        move = scale * xp.sqrt((dW[rows] * dW[rows]).sum(axis=1))
        scale /= xp.where((pairs > tau) & (move > MOST_MOVE), move, number(1))
        W[rows] -= scale[:, None] * dW[rows]
