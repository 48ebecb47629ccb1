"""Records of a run that takes its corpus side from another run."""

from __future__ import annotations

from pipeline.runs.preprocessed_records import CorpusRecords
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
