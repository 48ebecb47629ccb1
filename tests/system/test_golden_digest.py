"""Digests kept from the day the definition was frozen: no commit may change what a run makes.

A digest that differs here means that every user's model changes. If that is wanted, raise
`FORMAT_VERSION`, say so in CHANGELOG.md, and put the new digests here.
"""

from __future__ import annotations

import hashlib

import pytest

from tests.helpers.commands import train, write_corpus

CORPUS = "9642e67db37ad63340e8bee5ed10ce1ea9520886f548d4ca6ad9bbb58c7df04a"
"""SHA-256 of the corpus's bytes: where this differs, the test and not the pipeline has changed."""
SKIPGRAM = "1387d570aa15b24919c7967d44af239687989526ec33b5b4746c04b4c1e9e189"
CBOW = "cbe062fc2655431e4a9d658beff00a28069eb7e009fb93079e1da251af9fae6c"
DEFAULTS = "cca5cf8eea58969b289c9e634d800ae402b314694498302913a4365e731d6120"

EXPLICIT = (
    "--dims=20",
    "--window=4",
    "--negatives=3",
    "--power=0.75",
    "--subsample=0.01",
    "--min_count=2",
    "--max_vocabulary=300",
    "--epochs=2",
    "--learning_rate=0.05",
    "--damping=6.4",
    "--batch_size=512",
    "--seed=42",
    "--tokenizer=whitespace",
    "--no-lowercase",
    "--max_sentence=30",
    "--max_line_bytes=100000",
)
"""Every model option, so that other defaults change nothing."""


def check_digest(tmp_path, golden: str, *arguments: str) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt", lines=500, words=350, seed=3)
    found = hashlib.sha256(corpus.read_bytes()).hexdigest()
    assert found == CORPUS
    outcome = train(f"--input={corpus}", f"--output={tmp_path / 'run'}", *arguments)
    assert outcome.status == 0, outcome.stderr
    assert outcome.digest == golden


@pytest.mark.parametrize(
    ("model", "policy", "golden"),
    [("skipgram", "exclude_target", SKIPGRAM), ("cbow", "distinct", CBOW)],
    ids=["skipgram", "cbow"],
)
def test_golden_digest_with_every_model_option_given(tmp_path, model, policy, golden):
    check_digest(tmp_path, golden, f"--model={model}", f"--negative_policy={policy}", *EXPLICIT)


def test_golden_digest_with_all_defaults(tmp_path):
    """This one changes with a default: a change of what users get without asking."""
    check_digest(tmp_path, DEFAULTS)
