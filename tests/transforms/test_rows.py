"""The transforms of Beam YAML, by the file that docs/transforms.md shows."""

from __future__ import annotations

import json
import re

import apache_beam as beam
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.sentence_files import MARKER
from pipeline.errors import InputError, find
from tests.helpers.commands import ROOT
from transforms.rows import CountWords

PAGE = ROOT / "docs" / "transforms.md"


def test_the_file_of_the_page_runs(tmp_path, monkeypatch):
    """Without a network: the provider is this process."""
    pytest.importorskip("jinja2", reason="Beam YAML needs apache-beam[yaml]")
    pytest.importorskip("jsonschema")
    from apache_beam.yaml.main import run

    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "articles.jsonl").write_text(
        "".join(json.dumps({"body": f"a rose is w{i % 2}"}) + "\n" for i in range(9))
    )
    run([f"--yaml_pipeline={text}", "--runner=FnApiRunner"])
    (path,) = tmp_path.glob("words*")
    counts = {row["word"]: row["count"] for row in map(json.loads, path.read_text().splitlines())}
    assert counts == {"a": 9, "rose": 9, "is": 9, "w0": 5, "w1": 4}
    assert json.loads((tmp_path / "texts/dt=2026-11-29" / MARKER).read_text())["rows"] == 9
    parts = sorted((tmp_path / "texts").rglob("*.parquet"))
    assert sorted(row for part in parts for row in pq.read_table(part, partitioning=None)["text"].to_pylist()) == [
        f"a rose is w{i}" for i in (0,) * 5 + (1,) * 4
    ]


def test_a_field_that_is_not_there_is_named_with_those_that_are():
    message = "field=text: the rows have no such field, but body"
    with pytest.raises(Exception, match=message) as raised, beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([beam.Row(body="a rose")]) | CountWords("text")
    assert isinstance(find(raised.value), InputError)
