"""Records of a run that takes its corpus side from another run."""

from __future__ import annotations

from pipeline.runs.preprocessed_records import CorpusRecords
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Artifact, Record, Records


def test_the_corpus_side_alone_is_looked_for_in_the_other_run():
    """Of a run of the same options the rest has the same keys."""
    corpus = Records(open_storage("memory://preprocessed-records/corpus"))
    for stage in ("tokens", "checkpoints", "training"):
        corpus.commit(Record(stage, "one", "key", (Artifact("path", "digest", 1),)))
    records = CorpusRecords(open_storage("memory://preprocessed-records/own"), corpus)
    assert records.load("tokens", "one", "key").artifacts[0].root == corpus.storage.root
    assert records.names("tokens") == ["one"]
    for stage in ("checkpoints", "training"):
        assert records.load(stage, "one", "key") is None
        assert records.names(stage) == []
        assert records.all(stage) == []
