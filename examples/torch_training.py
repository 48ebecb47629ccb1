"""A model of one's own in PyTorch, fed with the batches of a run.

    python examples/torch_training.py runs/topics

A run of beam2vec preprocess will do; with --batches=stored the rows are read, else they are made again.
The pipeline has counted, encoded, subsampled and drawn the negatives; what is left is
the model. This one is plain skip-gram: rows become (context, target, negatives)
pairs, two embeddings, a sigmoid loss. Needs torch, which beam2vec does not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from beam2vec import Run
from pipeline.batches.rows import to_numpy

try:
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info
except ImportError:
    sys.exit("this example needs torch: pip install torch")

BATCH = 8192
MOST_BATCHES = 200


class Pairs(IterableDataset):
    """(context word, target and negatives) as int64 tensors [n] and [n, 1 + K], n pairs at a time.

    Stored batches (--batches=stored) are read, others are made again: the same rows.
    Where DataLoader has several workers, each takes every so-manieth shard.
    """

    def __init__(self, run: Run, epoch: int):
        self.run, self.epoch = run, epoch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _, rows in map(to_numpy, self._record_batches()):
            row = np.repeat(np.arange(len(rows.target)), np.diff(rows.offset))
            outputs = np.column_stack([rows.target, rows.negatives])
            for start in range(0, len(row), BATCH):
                part = slice(start, start + BATCH)
                yield (
                    torch.from_numpy(rows.context[part].astype(np.int64)),
                    torch.from_numpy(outputs[row[part]].astype(np.int64)),
                )

    def _record_batches(self) -> Iterator[pa.RecordBatch]:
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker else (0, 1)
        for shard in self.run.shards()[first::every]:
            yield from shard.batches(self.run.records, self.epoch)


class SkipGram(torch.nn.Module):
    """Mean cross-entropy of telling each target from its negatives, by the context's vector."""

    def __init__(self, words: int, dims: int):
        super().__init__()
        self.input = torch.nn.Embedding(words, dims)
        self.output = torch.nn.Embedding(words, dims)
        torch.nn.init.uniform_(self.input.weight, -0.5 / dims, 0.5 / dims)
        torch.nn.init.zeros_(self.output.weight)

    def forward(self, context: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        scores = torch.einsum("nd,nkd->nk", self.input(context), self.output(outputs))
        wanted = torch.zeros_like(scores)
        wanted[:, 0] = 1.0
        return torch.nn.functional.binary_cross_entropy_with_logits(scores, wanted)


def main(uri: str) -> int:
    run = Run.open(uri)
    torch.manual_seed(1)
    model = SkipGram(run.vocabulary().num_rows, dims=50)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    first = last = 0.0
    for step, (context, outputs) in enumerate(DataLoader(Pairs(run, epoch=0), batch_size=None)):
        if step == MOST_BATCHES:
            break
        loss = model(context, outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = float(loss.detach())
        first = first or last
        if step % 20 == 0:
            print(f"batch {step:4d}  loss {last:.4f}")
    print(f"loss: {first:.4f} at first, {last:.4f} at last")
    return 0 if last < first else 1


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/torch_training.py RUN")
    sys.exit(main(sys.argv[1]))
