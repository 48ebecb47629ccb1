"""Records of a run that takes its corpus side from another run."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.runs.preprocessed_records import CorpusRecords, allow_corpus, records_of_corpus
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Record, Records
from tests.helpers.keys import KEY


def test_the_corpus_side_alone_is_looked_for_in_the_other_run():
    """Of a run of the same options the rest has the same keys."""
    corpus = Records(open_storage("memory://preprocessed-records/corpus"))
    for stage in ("tokens", "checkpoints", "training"):
        corpus.commit(Record(stage, "one", KEY, (Artifact("path", "0" * 64, 1),)))
    records = CorpusRecords(open_storage("memory://preprocessed-records/own"), corpus)
    assert records.load("tokens", "one", KEY).artifacts[0].root == corpus.storage.root
    assert records.names("tokens", KEY) == ["one"]
    assert records.has_any("tokens", KEY)
    for stage in ("checkpoints", "training"):
        assert records.load(stage, "one", KEY) is None
        assert records.names(stage, KEY) == []
        assert records.all(stage, KEY) == []
        assert not records.has_any(stage, KEY)


def test_a_corpus_in_another_store_is_read_only_if_the_user_names_it(tmp_path):
    """run.json may come from somebody else."""
    corpus = "memory://another-store/corpus"
    Records(open_storage(corpus)).commit(Record("tokens", "one", KEY))
    assert records_of_corpus("memory://another-store/run", corpus).load("tokens", "one", KEY)
    refused = CorpusRecords(open_storage(str(tmp_path)), records_of_corpus(str(tmp_path), corpus))
    for read in (refused.load, refused.valid):
        with pytest.raises(InputError, match=f"in another store than the run itself: repeat --corpus={corpus} if"):
            read("tokens", "one", KEY)
    with pytest.raises(InputError, match="another store"):
        refused.all("tokens", KEY)
    allow_corpus(corpus)
    assert records_of_corpus(str(tmp_path), corpus).load("tokens", "one", KEY)
