"""What a run keeps for updates, of a whole graph: text that repeats itself is read again."""

from __future__ import annotations

import pytest

from pipeline.runs.parent import ParentRef
from pipeline.runs.run import Run
from tests.helpers.commands import train
from tests.helpers.days import OPTIONS, lines_of


@pytest.mark.parametrize("more", [(), ("--phrases=1", "--phrase_threshold=1", "--holdout=0.2")])
def test_of_text_that_repeats_itself_the_same_is_kept_as_of_the_text_said_once(tmp_path, more):
    lines = lines_of(3, 150)
    (tmp_path / "once.txt").write_text("\n".join(lines))
    (tmp_path / "often.txt").write_text("\n".join(lines * 12))
    kept = {}
    for name, words in (("once", 10**6), ("often", 400)):
        options = [f"--input={tmp_path}/{name}.txt", f"--output={tmp_path}/{name}-run", f"--replay_words={words}"]
        outcome = train(*options, *OPTIONS, "--block_bytes=4096", "--no_report", *more)
        assert (outcome.status, "kept for updates" in outcome.stderr) == (0, False)
        kept[name] = ParentRef.of(Run(tmp_path / f"{name}-run")).open_reservoir().sentences()
    assert sum(map(len, kept["often"][:-1])) < 400 <= sum(map(len, kept["often"]))
    assert kept["often"] == kept["once"][: len(kept["often"])]
