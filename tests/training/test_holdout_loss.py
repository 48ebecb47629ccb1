"""The loss on text kept back."""

from __future__ import annotations

import numpy as np
import pytest

from beam2vec import Run
from pipeline.batches.rows import Rows
from pipeline.training.holdout_loss import kept_back_rows, mean_loss
from tests.helpers.commands import ALONE, train, write_corpus

SHARE = "--holdout=0.2"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


def finished(corpus, output, *arguments):
    outcome = train(f"--input={corpus}", f"--output={output}", *ALONE, "--no_report", *arguments)
    assert outcome.status == 0, outcome.stderr
    return Run.open(str(output)), outcome.digest


@pytest.mark.parametrize("model", ["skipgram", "cbow"])
def test_loss_on_text_kept_back_falls_and_stands_in_the_metrics(corpus, tmp_path, model):
    run, _ = finished(corpus, tmp_path / "run", SHARE, f"--model={model}", "--learning_rate=0.05", "--epochs=8")
    table = run.metrics()
    losses = [loss for loss in table["holdout_loss"].to_pylist() if loss is not None]
    assert 2 <= len(losses) <= 45
    assert losses[-1] < losses[0] <= np.log(2) + 0.01
    rows = kept_back_rows(run.shards(), run.records)
    assert mean_loss(rows, run.vectors("input"), run.vectors("output"), model) == pytest.approx(losses[-1], abs=1e-6)


def test_mean_loss_is_that_of_the_definition():
    draw = np.random.default_rng(0)
    w_in, w_out = draw.normal(size=(2, 9, 4)).astype(np.float32)
    rows = Rows(np.int32([1, 2]), np.int32([0, 2, 3]), np.int32([3, 4, 5]), np.int32([[6, 7], [8, 0]]))
    terms = {"skipgram": [], "cbow": []}
    for t in range(2):
        contexts = rows.context[rows.offset[t] : rows.offset[t + 1]]
        hiddens = {"skipgram": list(w_in[contexts]), "cbow": [w_in[contexts].mean(axis=0)]}
        for model, hidden in hiddens.items():
            for h in hidden:
                terms[model].append(np.log1p(np.exp(-h @ w_out[rows.target[t]])))
                terms[model] += [np.log1p(np.exp(h @ w_out[k])) for k in rows.negatives[t]]
    for model, values in terms.items():
        assert mean_loss(rows, w_in, w_out, model) == pytest.approx(np.mean(values), rel=1e-5)
