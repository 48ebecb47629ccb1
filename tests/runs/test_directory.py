from __future__ import annotations

import dataclasses
import os
import secrets

import pytest

from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError
from pipeline.options import Options
from pipeline.runs import directory as run_directory
from pipeline.runs.differences import differences
from pipeline.runs.directory import RunDirectory, make_identity, open_or_create, open_run
from pipeline.runs.stage_keys import option_names, stage_keys
from pipeline.storage.commits import Commits
from pipeline.storage.lock import Lock
from pipeline.storage.open_storage import open_storage
from pipeline.storage.records import Record, Records, sealed_json
from pipeline.storage.storage import ObjectInfo
from tests.helpers.identities import FILES, TOKENIZER, File, identity

OTHER_KEY = "0123456789abcdef" * 2
"""Of a stage of another run."""


@pytest.fixture(params=["folder", "memory"])
def output(request: pytest.FixtureRequest, tmp_path) -> str:
    return str(tmp_path / "a run") if request.param == "folder" else f"memory://{secrets.token_hex(8)}/run"


def fill(output: str, keys: dict[str, str]) -> None:
    records = Records(open_storage(output))
    for stage, key in keys.items():
        commits = Commits(records, stage, key)
        commits.commit("part", [commits.put("part.bin", stage.encode())])


def recorded(run: RunDirectory) -> list[Record]:
    """Every record; a damaged one fails."""
    found = [record for _, record in run.records.scan()]
    assert None not in found
    return found


def made(output: str, identity: dict, *stages: str) -> RunDirectory:
    """A run that has something of every stage, or of those named."""
    run = open_or_create(output, identity)
    fill(output, {stage: run.keys[stage] for stage in stages or run.keys})
    return run


def test_a_new_run_is_found_again(output):
    run = open_or_create(output, identity(dims=50))
    assert run.notes == ()
    again = open_or_create(output, identity(dims=50))
    assert again.identity == run.identity == open_run(output).identity
    assert again.keys == stage_keys(run.identity, Options(dims=50))
    assert again.identity["versions"]["numpy"]


def test_a_lock_is_no_foreign_file(output):
    with Lock(open_storage(output)):
        open_or_create(output, identity())


def test_other_model_options_are_refused_one_by_one(output):
    made(output, identity(dims=100, max_vocabulary=1000))
    with pytest.raises(InputError) as raised:
        open_or_create(output, identity(dims=50, lowercase=True))
    message = str(raised.value)
    assert "--dims is 50, the run has 100" in message
    assert "--lowercase is True, the run has False" in message
    assert "--max_vocabulary is not set, the run has 1000" in message
    assert "choose another --output, or --overwrite" in message
    assert "--epochs" not in message


def test_other_input_is_refused_file_by_file(output):
    made(output, identity([File("a"), File("b"), File("c"), File("e")]))
    with pytest.raises(InputError) as raised:
        open_or_create(output, identity([File("a", size=12), File("b", version="2"), File("d"), File("e")]))
    assert (
        "input changed: a (size 10 -> 12); input changed: b (same size, version 1 -> version 2);"
        " input added: d; input gone: c." in str(raised.value)
    )


def test_a_long_list_of_inputs_is_cut(output):
    made(output, identity([]))
    with pytest.raises(InputError, match="input added: f9; and 90 more inputs"):
        open_or_create(output, identity([File(f"f{i}") for i in range(100)]))


def test_another_tokenizer_is_refused(output):
    made(output, identity())
    with pytest.raises(InputError, match=r"the tokenizer's unicode is 15\.0\.0, the run has 14\.0\.0"):
        open_or_create(output, identity(tokenizer=TOKENIZER | {"unicode": "15.0.0"}))


def test_an_edited_file_of_stop_words_is_refused(output, tmp_path):
    def edited(name: str, words: str) -> dict:
        (tmp_path / name).write_text(words)
        tokenizer = open_tokenizer("whitespace", stopwords=str(tmp_path / name)).identity()
        return identity(tokenizer=tokenizer, stopwords=str(tmp_path / name))

    made(output, edited("stop", "the\n"))
    open_or_create(output, edited("stop", "the\n"))
    with pytest.raises(InputError, match=r"differs: the words of --stopwords=.*stop have changed\. "):
        open_or_create(output, edited("stop", "a\n"))
    with pytest.raises(InputError, match=r"differs: --stopwords is .*other, the run has .*stop\. "):
        open_or_create(output, edited("other", "a\n"))


def test_a_preprocessed_corpus_becomes_a_training_run(output):
    without_model = make_identity(Options(), FILES, TOKENIZER, names=option_names())
    made(output, without_model, "text", "counts")
    begins = "the preprocessed corpus becomes a training run: its words and tokens are used as they are"
    assert open_or_create(output, identity()).notes[0] == begins


def test_other_options_go_on_where_all_that_is_made_holds_for_them(output):
    run = made(output, identity(min_count=500, block_bytes=4096), "text", "counts")
    before = recorded(run)
    again = open_or_create(output, identity(min_count=5, dims=7, block_bytes=8192))
    assert "valid for them too: --dims is 7, the run has 100; --min_count is 5" in again.notes[0]
    assert "--block_bytes=8192 is ignored" in again.warnings[0]
    assert recorded(again) == before
    options = open_run(output).pinned(Options())
    assert (options.min_count, options.dims, options.block_bytes) == (5, 7, 4096)
    assert open_run(output).identity == again.identity
    assert again.keys == stage_keys(again.identity, options)


@pytest.mark.parametrize(
    ("stages", "no_model"), [(("text", "counts", "tokens"), True), (("text", "counts", "checkpoints"), False)]
)
def test_other_options_are_refused_where_something_would_be_lost(output, stages, no_model):
    made(output, identity(min_count=500), *stages)
    with pytest.raises(InputError) as raised:
        open_or_create(output, identity(min_count=5))
    assert ("(there is no model yet that would be lost)" in str(raised.value)) == no_model
    assert open_run(output).pinned(Options()).min_count == 500


def test_layout_is_pinned_and_execution_is_free(output):
    first = open_or_create(output, identity(block_bytes=4096))
    options = Options(block_bytes=8192, threads=3, batches="stored")
    run = open_or_create(output, make_identity(options, FILES, TOKENIZER))
    assert run.warnings == (
        "--batches=stored is ignored, the run began with stream (no effect on the model)",
        "--block_bytes=8192 is ignored, the run began with 4096 (no effect on the model)",
    )
    pinned = run.pinned(options)
    assert (pinned.block_bytes, pinned.batches, pinned.threads) == (4096, "stream", 3)
    assert run.keys == first.keys == stage_keys(run.identity, pinned)


def test_other_package_versions_are_only_noted(output, monkeypatch):
    open_or_create(output, identity())
    monkeypatch.setattr(run_directory, "package_versions", lambda: {"python": "9.9"})
    assert any("python was" in line and "9.9" in line for line in open_or_create(output, identity()).warnings)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_never_touched(output, overwrite):
    open_storage(output).put("my/thesis.tex", b"years")
    with pytest.raises(InputError, match=r"it has my/thesis.tex and no run\.json"):
        open_or_create(output, identity(), overwrite=overwrite)
    assert [info.path for info in open_storage(output).list()] == ["my/thesis.tex"]


@pytest.mark.parametrize(
    "damage", [lambda t: b"", lambda t: t[:50], lambda t: t.replace(b'"dims": 100', b'"dims": 101')]
)
def test_a_damaged_run_json_is_named(output, damage):
    open_or_create(output, identity())
    storage = open_storage(output)
    storage.put("run.json", damage(storage.read("run.json")))
    for call in (lambda: open_or_create(output, identity()), lambda: open_run(output)):
        with pytest.raises(InputError, match=r"run\.json is damaged"):
            call()
    assert open_or_create(output, identity(), overwrite=True).identity == open_run(output).identity


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_format_is_named_and_not_replaced_either(output, monkeypatch, overwrite):
    monkeypatch.setattr(run_directory, "FORMAT_VERSION", 1)
    open_or_create(output, identity())
    monkeypatch.undo()
    storage = open_storage(output)
    storage.put("counts/unit-00000.parquet", b"where this version looks for nothing")
    before = storage.list()
    with pytest.raises(InputError, match=r"has format 1, this version reads 3: .* or choose another --output$"):
        open_or_create(output, identity(), overwrite=overwrite)
    with pytest.raises(InputError, match="has format 1, this version reads 3"):
        open_run(output)
    assert storage.list() == before


def test_no_run_to_open(output):
    with pytest.raises(InputError, match="is not the output of a run"):
        open_run(output)


def test_overwrite_keeps_what_would_be_made_alike_and_what_is_not_ours(output):
    run = open_or_create(output, identity(min_count=5, window=5))
    fill(output, run.keys)
    storage = open_storage(output)
    storage.put("checkpoints/notes.txt", b"mine")
    storage.put(
        Commits(run.records, "checkpoints", run.keys["checkpoints"]).path("step=9"), b"killed before the record"
    )
    storage.put(f"records/batches/{run.keys['batches'][:8]}/torn.json", b"{")
    again = open_or_create(output, identity(min_count=5, window=6), overwrite=True)
    kept = {record.stage for record in recorded(again)}
    assert kept == {"text", "counts", "totals", "vocabulary", "unigram", "tokens", "reservoir"}
    left = {info.path for info in storage.list() if not info.path.startswith("records/")}
    parts = {f"{stage}/{run.keys[stage][:8]}/part.bin" for stage in kept}
    assert left == parts | {"checkpoints/notes.txt", "run.json"}
    assert open_or_create(output, identity(min_count=5, window=6)).identity == again.identity


def test_overwrite_by_the_same_run_removes_nothing(output):
    run = open_or_create(output, identity())
    fill(output, run.keys)
    before = open_storage(output).list()
    assert open_or_create(output, identity(), overwrite=True).notes == ()
    assert open_storage(output).list() == before


def test_an_artefact_that_a_kept_record_names_stays(output):
    run = open_or_create(output, identity())
    commits = Commits(run.records, "counts", run.keys["counts"])
    artifact = commits.put("shared.bin", b"1")
    commits.commit("new", [artifact])
    dataclasses.replace(commits, key=OTHER_KEY).commit("old", [artifact])
    open_or_create(output, identity(), overwrite=True)
    assert [record.name for record in recorded(run)] == ["new"]
    assert run.records.read(artifact) == b"1"


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_overwrite_without_a_run_json_keeps_what_is_of_these_options_and_says_so(output, damage):
    run = made(output, identity(dims=10))
    fill(output, {"checkpoints": OTHER_KEY})
    storage = open_storage(output)
    storage.delete("run.json") if damage == "gone" else storage.put("run.json", b"{")
    with pytest.raises(InputError, match=rf"run\.json is {damage}.* --overwrite"):
        open_or_create(output, identity(dims=10))
    again = open_or_create(output, identity(dims=10), overwrite=True)
    (note,) = again.notes
    assert f"run.json was {damage}: files of these options are kept, and 2 files of other options are re" in note
    assert {record.stage: record.key for record in recorded(again)} == run.keys
    assert open_run(output).identity == run.identity


def test_overwrite_without_a_run_json_says_that_nothing_is_kept(output):
    made(output, identity(dims=10))
    storage = open_storage(output)
    storage.delete("run.json")
    again = open_or_create(output, identity([File("other")]), overwrite=True)
    assert "run.json was gone: it had no files of these options, and 18 files of other" in again.notes[0]
    assert [info.path for info in storage.list()] == ["run.json"]


def test_what_a_command_without_its_lock_has_left_goes_with_the_next_command(output):
    run = made(output, identity())
    before = open_storage(output).list()
    fill(output, {"tokens": OTHER_KEY, "slices": OTHER_KEY})
    open_or_create(output, identity())
    assert open_storage(output).list() == before
    assert len(recorded(run)) == len(run.keys)


@pytest.mark.parametrize("other", [identity([File("other")]), identity(dims=20)], ids=["other text", "other dims"])
def test_a_run_json_of_another_run_loses_nothing(output, other):
    made(output, identity(dims=10))
    storage = open_storage(output)
    storage.put("run.json", sealed_json(other))
    before = storage.list()
    with pytest.raises(
        InputError, match=r"run\.json is of another run than records/ in it: put it back, or choose ano"
    ):
        open_or_create(output, other)
    assert storage.list() == before


@pytest.mark.parametrize("die_at", range(4))
def test_a_crash_while_overwriting_leaves_a_run(output, monkeypatch, die_at):
    run = open_or_create(output, identity(dims=10))
    fill(output, run.keys)
    storage = open_storage(output)
    calls = 0

    def dying(method):
        def call(*args):
            nonlocal calls
            if calls == die_at:
                raise KeyboardInterrupt
            calls += 1
            return method(*args)

        return call

    with monkeypatch.context() as patch:
        for name in ("delete", "put", "swap"):
            patch.setattr(type(storage), name, dying(getattr(type(storage), name)))
        try:
            open_or_create(output, identity(dims=11), overwrite=True)
        except KeyboardInterrupt:
            assert open_run(output).identity == run.identity
    run = open_or_create(output, identity(dims=11), overwrite=True)
    assert run.pinned(Options()).dims == 11
    assert open_run(output).identity == run.identity
    assert not storage.list("checkpoints")


def test_a_run_from_before_an_option_was_there_goes_on(tmp_path):
    run = open_or_create(str(tmp_path), identity())
    for name in ("phrases", "phrase_threshold", "phrase_discount"):
        del run.identity["options"]["model"][name]
    run.storage.put("run.json", sealed_json(run.identity))
    again = open_or_create(str(tmp_path), identity())
    assert again.identity == run.identity
    assert again.keys == open_or_create(str(tmp_path), identity(), True).keys
    assert differences(run.identity, identity(phrases=1)) == ["--phrases is 1, the run has 0"]


def test_looking_for_foreign_files_does_not_list_them_all(tmp_path, monkeypatch):
    storage = open_storage(str(tmp_path))
    seen = []

    def walk(*_):
        for i in range(10):
            seen.append(i)
            yield ObjectInfo(f"{i}", 1, "1")

    monkeypatch.setattr(type(storage), "walk", walk)
    with pytest.raises(InputError):
        open_or_create(str(tmp_path), identity())
    assert seen == [0]
    assert os.listdir(tmp_path) == []
