"""A run as a notebook sees it: what went in, how training went, what came out.

    python examples/look_at_a_run.py runs/topics

The cells (`# %%`) run one by one in editors that know them, such as VS Code and
Spyder, and jupytext turns the file into a notebook.
"""

# %% Open a run: a folder, or a uri such as s3://bucket/runs/first
from __future__ import annotations

import sys

import numpy as np
import pyarrow.compute as pc

from beam2vec import Run
from pipeline.batches.rows import to_numpy

if sys.argv[1:2] in (["--help"], ["-h"]):
    sys.exit(print(__doc__))
run = Run.open(sys.argv[1] if len(sys.argv) > 1 else "runs/topics")
checkpoint = run.checkpoint()
print(f"{checkpoint.words:,} words, {checkpoint.dims} dims, {checkpoint.place}, digest {checkpoint.digest[:16]}…")

# %% What was asked for
print({name: value for name, value in run.identity["options"]["model"].items() if value is not None})

# %% The vocabulary is an Arrow table: word, count, most frequent first
vocabulary = run.vocabulary()
print("most frequent:", ", ".join(vocabulary["word"][:10].to_pylist()))
half = int(np.searchsorted(np.cumsum(vocabulary["count"]), pc.sum(vocabulary["count"]).as_py() / 2)) + 1
print(f"half of all tokens are the {half:,} most frequent words")

# %% The loss curve; .to_pandas().plot(x="step", y="loss") draws it
metrics = run.metrics()
for row in np.unique(np.linspace(0, metrics.num_rows - 1, 6).astype(int)).tolist():
    point = metrics.slice(row, 1).to_pylist()[0]
    print(f"step {point['step']:>8,}  loss {point['loss']:.4f}  learning rate {point['learning_rate']:.5f}")

# %% Vectors are a NumPy matrix, a row a word: all that nearest words need
words, vectors = run.words(), run.vectors()
unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
for row in range(min(100, len(words) // 4), min(len(words), 103 + len(words) // 4))[:3]:
    near = np.argsort(-(unit @ unit[row]))[1:6]
    print(f"near {words[row]!r}: " + ", ".join(words[i] for i in near))

# %% What a training step saw: context words, a target, and words drawn as noise
batch = next(run.batches(epoch=0))
_, rows = to_numpy(batch)
for row in range(min(3, len(rows.target))):
    context = rows.context[rows.offset[row] : rows.offset[row + 1]]
    print(
        f"target {words[rows.target[row]]!r} among "
        + " ".join(words[i] for i in context)
        + "; noise: "
        + " ".join(words[i] for i in rows.negatives[row])
    )

# %% gensim, where it is installed, takes it from here
try:
    keyed = run.keyed_vectors()
except ImportError:
    print("gensim is not installed: pip install 'beam2vec[gensim]'")
else:
    print("gensim:", keyed.most_similar(words[min(100, len(words) - 1)], topn=3))
