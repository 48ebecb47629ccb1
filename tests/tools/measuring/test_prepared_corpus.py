"""One corpus trains many models: each from the start, as if it were the first."""

from __future__ import annotations

import logging

from pipeline.options import Options
from tests.helpers.commands import write_corpus
from tools.measuring.prepared_corpus import prepare


def test_a_second_model_is_trained_from_the_start_and_nothing_is_said_of_the_first(tmp_path, capfd, caplog):
    text = write_corpus(tmp_path / "text.txt", lines=60)
    options = Options.checked({"dims": 8, "epochs": 1, "min_count": 2, "threads": 1})
    corpus = prepare(str(text), options, "test-prepared-corpus")
    first = corpus.fit(options)
    with caplog.at_level(logging.INFO):
        assert corpus.fit(options).digest == first.digest
    assert corpus.fit(Options.checked({**options.of_kind("model"), "seed": 2, "threads": 1})).digest != first.digest
    assert "passed over" not in capfd.readouterr().err + caplog.text
