"""The documentation says what the code says."""

from __future__ import annotations

import pathlib
import re

import pytest

from jobs import options_reference

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_options_reference_is_up_to_date():
    written = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert written == options_reference.reference(), "run: make docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_named_files_exist(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!\w+:)([^)#]+)", text)
    files = re.findall(r"`((?:pipeline|transforms|jobs|tests|examples|benchmarks|docs)/[\w/.-]*)`", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [file for file in files if not (ROOT / file).exists()]
    assert not missing
