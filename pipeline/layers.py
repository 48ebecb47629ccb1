"""Negative sampling as five classic layers, forward and backward, written to be read.

Source: Mikolov et al. 2013, Distributed representations of words and phrases and their compositionality, section 2.2.

A layer has `params` (its arrays), `grads` (arrays of the same shapes, overwritten by each `backward`), `forward` and
`backward`. Arrays are NumPy's or CuPy's, of any float type. n is the number of examples, K of negatives, V of words.

`pipeline.backends.oracles.reference` is made of these layers; `pipeline.backends.cpu` does real training.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.words import unigram

Array = Any
"""A NumPy or CuPy array."""

SAMPLING_LAWS = ("distinct", "any")
_SAMPLER_BLOCK = 1 << 22
"""Random numbers drawn at a time: 32 MiB."""


class Embedding:
    """Looks up rows of a table.

    Examples:
      >>> layer = Embedding(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
      >>> layer.forward([0, 2, 2])
      array([[1., 2.],
             [5., 6.],
             [5., 6.]])
      >>> layer.backward([[1, 2], [10, 20], [3, 4]])
      >>> layer.grads[0]  # row 2 was looked up twice
      array([[ 1.,  2.],
             [ 0.,  0.],
             [13., 24.]])
    """

    def __init__(self, W: Array):
        """Looks up rows of a table.

        Args:
          W: [V, dims], the table; kept, not copied.
        """
        xp = array_module(W)
        self.params = [W]
        self.grads = [xp.zeros(W.shape, xp.result_type(W.dtype, xp.float32))]
        self.index: Array = None

    def forward(self, index: Array) -> Array:
        """Rows [..., dims] of the words `index` [...]."""
        (W,) = self.params
        self.index = array_module(W).asarray(index)
        return W[self.index]

    def backward(self, dout: Array) -> None:
        """Computes the gradient of the table from `dout` [..., dims], that of the rows; repeated rows add up."""
        (dW,) = self.grads
        dW[...] = 0
        add_rows(dW, self.index, array_module(dW).asarray(dout, dW.dtype))


class EmbeddingDot:
    """Scores vectors against rows of a table by their inner products.

    Examples:
      >>> layer = EmbeddingDot(np.repeat(np.arange(7.0), 3).reshape(7, 3))  # row i is [i, i, i]
      >>> layer.forward(np.array([[3, 4, 5], [6, 7, 8]]), np.array([1, 2]))
      array([12., 42.])
      >>> layer.backward(np.array([3.0, 4.0]))
      array([[3., 3., 3.],
             [8., 8., 8.]])
    """

    def __init__(self, W: Array):
        """Scores rows of a hidden matrix against rows of a table.

        Args:
          W: [V, dims], the table; kept, not copied.
        """
        self.embedding = Embedding(W)
        self.params = self.embedding.params
        self.grads = self.embedding.grads
        self.h: Array = None
        self.rows: Array = None

    def forward(self, h: Array, index: Array) -> Array:
        """Scores of h [n, dims] against the words `index`, [n] or [n, K], in the shape of `index`."""
        self.rows = self.embedding.forward(index)
        self.h = array_module(self.rows).asarray(h)
        self.h = self.h.reshape(len(self.h), *[1] * (self.rows.ndim - 2), -1)
        return (self.h * self.rows).sum(axis=-1)

    def backward(self, dout: Array) -> Array:
        """The gradient of h, [n, dims], from that of the scores; that of the table is left in `grads`."""
        dout = array_module(self.rows).asarray(dout)[..., None]
        self.embedding.backward(dout * self.h)
        dh = dout * self.rows
        return dh.reshape(len(dh), -1, dh.shape[-1]).sum(axis=1)


class SigmoidWithLoss:
    """Sigmoid and mean cross-entropy in one layer, which stays exact for large scores.

    loss(s, 1) = -log sigmoid(s),  loss(s, 0) = -log sigmoid(-s)

    After `forward`, `losses` holds the float64 loss of each score, 0 where it does not count.

    Examples:
      >>> layer = SigmoidWithLoss()
      >>> round(layer.forward(np.array([0.0, 2.0]), np.array([1, 0])), 6)  # (log 2 + log(1 + e^2)) / 2
      1.410038
      >>> layer.backward().round(4)
      array([-0.25  ,  0.4404])
    """

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.losses: Array = None
        self.count = 0
        self._dscores: Array = None

    def forward(self, scores: Array, labels: Array, counted: Array | None = None) -> float:
        """Mean cross-entropy of scores and labels of any one shape.

        Args:
          scores: floats, however large.
          labels: 1 where the answer is yes, 0 where it is no.
          counted: bool, False for scores that are left out of the mean and get no gradient; None counts all.

        Returns:
          The mean over the scores that count; 0 if none does.
        """
        xp = array_module(scores)
        scores = xp.asarray(scores)
        if scores.dtype.kind != "f":
            scores = scores.astype(xp.float64)
        labels = xp.asarray(labels)
        x = scores.astype(xp.float64)
        small = xp.exp(-xp.abs(x))  # the one exponential that cannot overflow, whatever the sign
        sigmoid = xp.where(x >= 0, 1.0, small) / (1.0 + small)
        losses = xp.maximum(x, 0.0) - x * labels + xp.log1p(small)
        dscores = sigmoid - labels
        self.count = scores.size
        if counted is not None:
            counted = xp.asarray(counted)
            losses = xp.where(counted, losses, 0.0)
            dscores = xp.where(counted, dscores, 0.0)
            self.count = int(xp.count_nonzero(counted))
        self.losses = losses
        self._dscores = dscores.astype(scores.dtype)
        return float(losses.sum()) / max(self.count, 1)

    def backward(self, dout: float = 1.0) -> Array:
        """The gradient of the scores."""
        return self._dscores * (dout / max(self.count, 1))


class UnigramSampler:
    """Draws negatives from the powered unigram distribution of a corpus, by one of two laws.

    - `distinct`: K words for each target, never the target and none twice. They are successive draws, as by
      `numpy.random.choice(V, K, replace=False, p=p)` with the target's p set to 0.
    - `any`: K independent draws, which may repeat and may hit the target.

    The laws are those of `pipeline.batches.rows`; the random numbers are others.

    Examples:
      >>> sampler = UnigramSampler(np.array([0, 1, 2, 3, 4, 1, 2, 3, 1, 1, 2]), power=0.75, sample_size=2, seed=0)
      >>> sampler.word_p.round(8)
      array([0.11376918, 0.32178782, 0.25933764, 0.19133618, 0.11376918])
      >>> sampler.get_negative_sample(np.array([1, 3, 0])).shape
      (3, 2)
    """

    def __init__(self, corpus: Array, power: float, sample_size: int, law: str = "distinct", seed: int | None = None):
        """Draws from the unigram distribution of a corpus.

        Args:
          corpus: ids of words [n]. V is the largest plus 1; ids that do not occur are never drawn.
          power: exponent of the distribution.
          sample_size: K.
          law: "distinct" or "any".
          seed: makes the draws repeatable.

        Raises:
          InputError: the corpus is empty, or has too few words for K distinct negatives.
        """
        if law not in SAMPLING_LAWS:
            raise ValueError(f"law={law!r}: allowed are {', '.join(SAMPLING_LAWS)}")
        xp = self._xp = array_module(corpus)
        counts = np.bincount(to_host(corpus).ravel())
        occurs = counts > 0
        word_p, mean_wait = np.zeros(counts.size), np.full(counts.size, np.inf)
        word_p[occurs] = unigram.powered_distribution(counts[occurs], power)
        mean_wait[occurs] = 1.0 / word_p[occurs]
        running = np.cumsum(word_p)
        self.word_p = xp.asarray(word_p)
        self.sample_size = sample_size
        self.law = law
        self._random = xp.random.default_rng(seed)
        self._running = xp.asarray(running / running[-1])  # the last is exactly 1, and random numbers are below 1
        self._mean_wait = xp.asarray(mean_wait)
        words = int(occurs.sum())
        if law == "distinct" and words <= sample_size:
            raise InputError(
                f"{sample_size} distinct negatives need more than {sample_size} words, the corpus has {words}"
            )

    def get_negative_sample(self, target: Array) -> Array:
        """Negatives int [n, K] for the targets [n]."""
        target = self._xp.asarray(target)
        if self.law == "any":
            return self._independent(len(target))
        rows = max(1, _SAMPLER_BLOCK // self.word_p.size)
        blocks = [self._successive(target[i : i + rows]) for i in range(0, len(target), rows)]
        return self._xp.concatenate(blocks) if blocks else self._independent(0)

    def _independent(self, n: int) -> Array:
        point = self._random.random((n, self.sample_size))
        return self._xp.searchsorted(self._running, point, side="right")

    def _successive(self, target: Array) -> Array:
        """Successive draws without replacement, as a race (Efraimidis and Spirakis 2006).

        Word i arrives after an exponential time of mean 1 / p_i; the first K to arrive are drawn. Exponential times
        have no memory: whatever happened before, the next to arrive is word i with probability p_i / (the sum of p
        over the words still on their way). So no loop over draws is needed.
        """
        xp, n, k = self._xp, len(target), self.sample_size
        arrival = self._random.standard_exponential((n, self.word_p.size)) * self._mean_wait
        arrival[xp.arange(n), target] = xp.inf
        first = xp.argpartition(arrival, k - 1, axis=1)[:, :k]
        order = xp.argsort(xp.take_along_axis(arrival, first, axis=1), axis=1)
        return xp.take_along_axis(first, order, axis=1)


class NegativeSamplingLoss:
    """The loss of telling each target from K negatives: 1 + K sigmoid heads over one output table.

    Head 0 scores the target (label 1), the others score the negatives (label 0). So a negative that equals its target
    is trained under both labels, unless `zero_hits` is set.

    Examples:
      >>> layer = NegativeSamplingLoss(np.zeros((3, 2)))
      >>> loss = layer.forward(np.ones((1, 2)), target=np.array([0]), negatives=np.array([[1, 2]]))
      >>> bool(np.isclose(loss, 3 * np.log(2)))  # all scores are 0, so each of the three heads has loss log 2
      True
    """

    def __init__(
        self,
        W: Array,
        corpus: Array | None = None,
        power: float = 0.75,
        sample_size: int = 5,
        law: str = "distinct",
        seed: int | None = None,
    ):
        """Makes the layers that score targets and negatives.

        Args:
          W: [V, dims], the output table; kept, not copied.
          corpus: ids of words, whose distribution negatives are drawn from; None if `forward` always gets negatives.
          power: as for UnigramSampler.
          sample_size: as for UnigramSampler.
          law: as for UnigramSampler.
          seed: as for UnigramSampler.
        """
        self.sampler = None if corpus is None else UnigramSampler(corpus, power, sample_size, law, seed)
        self.score = EmbeddingDot(W)
        self.loss = SigmoidWithLoss()
        self.params = self.score.params
        self.grads = self.score.grads
        self.index: Array = None
        self.counted: Array = None

    def forward(self, h: Array, target: Array, negatives: Array | None = None, zero_hits: bool = False) -> float:
        """The sum over the heads of their mean losses over n examples.

        Args:
          h: [n, dims], one vector for each example.
          target: int [n].
          negatives: int [n, K]; None draws them.
          zero_hits: leave out negatives that equal their target: no loss, no gradient.

        Raises:
          ValueError: negatives are needed, since there is no corpus to draw them from.
        """
        xp = array_module(*self.params)
        target = xp.asarray(target)
        if negatives is None:
            if self.sampler is None:
                raise ValueError("without a corpus to draw them from, negatives are needed")
            negatives = self.sampler.get_negative_sample(target)
        negatives = xp.asarray(negatives)
        self.index = xp.concatenate([target[:, None], negatives], axis=1)
        labels = xp.zeros(self.index.shape)
        labels[:, 0] = 1
        self.counted = xp.ones(self.index.shape, bool)
        if zero_hits:
            self.counted[:, 1:] = negatives != target[:, None]
        mean = self.loss.forward(self.score.forward(h, self.index), labels, self.counted)
        return mean * self.loss.count / max(len(target), 1)

    def backward(self, dout: float = 1.0) -> Array:
        """The gradient of h, [n, dims]; that of the table is left in `grads`."""
        heads = dout * self.loss.count / max(len(self.index), 1)
        return self.score.backward(self.loss.backward(heads))


def array_module(*arrays: Any) -> ModuleType:
    """CuPy if one of `arrays` is on a GPU, else NumPy."""
    for array in arrays:
        if type(array).__module__.partition(".")[0] == "cupy":
            import cupy

            return cupy
    return np


def to_host(array: Any) -> np.ndarray:
    """The array in the memory of the CPU; a NumPy array is returned itself."""
    return np.asarray(array) if array_module(array) is np else array.get()


def add_rows(table: Any, index: Any, rows: Any) -> None:
    """table[index[i]] += rows[i] for every i. Rows with the same index add up, which `+=` on arrays would not do."""
    if array_module(table) is np:
        np.add.at(table, index, rows)
    else:
        import cupyx

        cupyx.scatter_add(table, index, rows)
