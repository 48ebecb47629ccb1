"""Runs with --update: the same bytes however they are made, whatever is killed, and what is refused in one line."""

from __future__ import annotations

import pathlib
import re
import shutil

import numpy as np
import pytest

from beam2vec import Run
from pipeline.model.checkpoints import checkpoints
from pipeline.runs.verify import verify_run
from pipeline.storage.open_storage import open_storage
from tests.helpers import programs
from tests.helpers.commands import ALONE, TINY, preprocess, run, train, write_corpus
from tests.helpers.crashing import Moment, interrupt, kill, run_until

PHRASES = ("--phrases=2", "--phrase_threshold=2", "--phrase_discount=1", "--holdout=0.05")
PRISM = programs.found("prism")
KILLS = {
    "before the first counts": Moment("put", "records/counts/", 1),
    "before the totals": Moment("put", "records/totals/", 1),
    "before the vocabulary": Moment("put", "records/vocabulary/", 1),
    "before the reservoir": Moment("put", "records/reservoir/", 3),
    "while parts of the reservoir are removed": Moment("delete", "records/reservoir/", 1, "after"),
    "before what is replayed": Moment("put", "records/replay/", 1),
    "before the first vectors": Moment("put", "records/trained/", 1),
    "the first vectors, half written": Moment("put", "trained/", 1, "inside"),
    "in training": Moment("train", nth=3),
    "before the average": Moment("put", "records/checkpoints/", 1),
    "after the average": Moment("put", "records/checkpoints/", 1, "after"),
    "before the end": Moment("put", "records/training/", 1),
    "while the trained vectors are removed": Moment("delete", "records/trained/", 1, "after"),
    "while their files are removed": Moment("delete", "trained/", 1),
}
FAST_KILLS = {
    "while parts of the reservoir are removed",
    "in training",
    "before the average",
    "while their files are removed",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Texts of three days, and the runs of the first: with words alone, and with phrases and sentences kept back."""
    folder = tmp_path_factory.mktemp("days")
    lines = write_corpus(folder / "all", lines=270, words=150).read_text().splitlines(keepends=True)
    for day in range(3):
        (folder / f"{day}.txt").write_text("".join(lines[90 * day : 90 * (day + 1)]))
    assert (
        begun(
            folder,
            "plain",
        ).status
        == 0
    )
    assert begun(folder, "joined", *PHRASES).status == 0
    return folder


def begun(folder, name, *options):
    return train(f"--input={folder}/0.txt", f"--output={folder / name}", *TINY, "--no_report", *options)


def update(folder, output, *options, parent="plain", text="1.txt"):
    arguments = [f"--input={folder}/{text}", f"--output={output}", f"--update={folder / parent}", "--epochs=2"]
    return train(*arguments, "--threads=2", "--no_report", *options)


@pytest.fixture(scope="module")
def digests(folder) -> dict[str, str]:
    return {parent: update(folder, folder / f"{parent}-1", parent=parent).digest for parent in ("plain", "joined")}


def check_sound(output):
    report = verify_run(open_storage(str(output)))
    assert (report.problems, report.state) == ([], "finished")
    paths = [info.path for info in open_storage(str(output)).list()]
    assert not any(path.startswith(("trained/", "records/trained/")) for path in paths)
    assert len(checkpoints(Run(output).records, Run(output).key("checkpoints"))) == 1


LAYOUTS = {
    "cut": ("--block_bytes=3000", "--threads=1"),
    "stored": ("--batches=stored", "--block_bytes=9000"),
    "workers": ("--block_bytes=3000", "--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    "many checkpoints": ("--checkpoint_every=3", "--keep_checkpoints=1"),
}


@pytest.mark.parametrize(
    ("parent", "name"),
    [
        ("joined", "cut"),
        ("plain", "stored"),
        pytest.param("plain", "workers", marks=pytest.mark.slow),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("plain", "many checkpoints"), ("joined", "stored"))
        ),
    ],
)
def test_digest_does_not_depend_on_the_layout(folder, digests, tmp_path, parent, name):
    assert update(folder, tmp_path / "run", *LAYOUTS[name], parent=parent).digest == digests[parent]
    check_sound(tmp_path / "run")


@pytest.mark.skipif(PRISM is None, reason="no Prism here: python -m tests.helpers.programs prism")
def test_digest_on_prism(folder, digests, tmp_path):
    on_prism = ("--runner=PrismRunner", f"--prism_location={PRISM}", "--block_bytes=5000")
    assert update(folder, tmp_path / "run", *on_prism, parent="joined").digest == digests["joined"]
    check_sound(tmp_path / "run")


def test_digest_does_not_depend_on_where_the_parent_was_made_or_lies(folder, digests, tmp_path):
    """A parent from a preprocessed corpus, in another place."""
    assert (
        preprocess(
            f"--input={folder}/0.txt", f"--output={tmp_path}/corpus", *TINY[3:4], "--window=3", "--seed=7"
        ).status
        == 0
    )
    made = train(f"--corpus={tmp_path}/corpus", f"--output={tmp_path}/parent", *TINY, "--no_report")
    assert made.status == 0, made.stderr
    shutil.copytree(folder, tmp_path / "texts", ignore=shutil.ignore_patterns("plain*", "joined*"))
    found = update(tmp_path / "texts", tmp_path / "child", parent=str(tmp_path / "parent"))
    assert found.digest == digests["plain"]


def test_replicas_have_a_digest_of_their_own_that_holds(folder, tmp_path):
    several = ("--replicas=2", "--rounds=2", "--batch_size=100")
    one = update(folder, tmp_path / "one", *several)
    assert one.status == 0, one.stderr
    two = update(folder, tmp_path / "two", *several, "--block_bytes=3000", "--threads=1", "--direct_num_workers=3")
    assert one.digest == two.digest
    check_sound(tmp_path / "two")


def test_a_word_that_is_absent_from_the_new_text_keeps_its_bytes(tmp_path):
    """With `distinct`, few words and as many negatives as there can be, each word is drawn in each row."""
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("a b c d e f\nf e d c b a\n" * 40)
    new.write_text("a b c\nc b a b\n" * 40)
    options = ("--negative_policy=distinct", "--negatives=5", "--subsample=0", *ALONE, "--no_report")
    assert train(f"--input={old}", f"--output={tmp_path}/old", *options).status == 0
    arguments = f"--input={new}", f"--output={tmp_path}/new", f"--update={tmp_path}/old"
    assert train(*arguments, "--no_report").status == 0
    before, after = Run(tmp_path / "old"), Run(tmp_path / "new")
    for word in "def":
        for side in ("input", "output"):
            assert after.vector(word, side).tobytes() == before.vector(word, side).tobytes()
    assert not np.array_equal(after.vector("a"), before.vector("a"))
    assert after.vocabulary().to_pylist()[-1] == {"word": "f", "count": 80, "new": 0}


def test_a_chain_goes_on(folder, digests, tmp_path):
    assert digests["joined"]
    second = update(folder, tmp_path / "two", parent="joined-1", text="2.txt")
    assert second.status == 0, second.stderr
    first, last = Run(folder / "joined"), Run(tmp_path / "two")
    assert last.options.phrases == 2
    assert last.options.holdout == 0.05
    assert any("_" in word for word in last.words())
    counts = {row["word"]: row["count"] for row in last.vocabulary().to_pylist()}
    for row in first.vocabulary().to_pylist():
        assert counts[row["word"]] >= row["count"]
    other = update(folder, tmp_path / "other", "--seed=8", parent="joined-1", text="2.txt")
    assert other.digest != second.digest


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST_KILLS else [pytest.mark.slow]) for name in KILLS]
)
def test_a_kill_and_the_same_command_again_give_the_digest(folder, digests, tmp_path, name):
    output = tmp_path / "run"
    arguments = [f"--input={folder}/1.txt", f"--output={output}", f"--update={folder}/joined", "--epochs=2"]
    more = ["--threads=2", "--no_report", "--block_bytes=3000", "--checkpoint_every=4"]
    assert run_until(KILLS[name], kill, arguments + more, tmp_path / "log") == -9
    run_before = Run(output)
    known = checkpoints(run_before.records, run_before.key("checkpoints"))
    assert all(ref.step == ref.steps and ref.digest == digests["joined"] for ref in known)  # never an unmerged state
    again = train(*arguments, *more)
    assert (again.status, again.digest) == (0, digests["joined"]), again.stderr
    check_sound(output)


def test_the_parent_may_go_once_training_has_begun(folder, digests, tmp_path):
    parent, output = tmp_path / "parent", tmp_path / "run"
    shutil.copytree(folder / "plain", parent)
    arguments = [f"--input={folder}/1.txt", f"--output={output}", f"--update={parent}", "--epochs=2", "--no_report"]
    assert run_until(Moment("train", nth=2), interrupt, arguments, tmp_path / "log") == 130
    assert checkpoints(Run(output).records, Run(output).key("checkpoints")) == []
    shutil.rmtree(parent)
    again = train(*arguments)
    assert (again.status, again.digest) == (0, digests["plain"]), again.stderr
    assert train(*arguments).digest == digests["plain"]
    check_sound(output)


def test_damage_to_the_first_vectors_is_mended_from_the_parent(folder, digests, tmp_path):
    output = tmp_path / "run"
    arguments = [
        f"--input={folder}/1.txt",
        f"--output={output}",
        f"--update={folder}/plain",
        "--epochs=2",
        "--no_report",
    ]
    assert run_until(Moment("train", nth=2), interrupt, arguments, tmp_path / "log") == 130
    (part,) = output.glob("trained/*/step=000000000000/*.parquet")
    part.write_bytes(part.read_bytes()[:-9] + b"damage" + part.read_bytes()[-3:])
    assert train(*arguments).digest == digests["plain"]
    check_sound(output)


REFUSED = {
    "other dims": (("--dims=13",), "--dims is 13, it has 12"),
    "another model": (("--model=cbow",), "with --start_from="),
    "another tokeniser": (("--tokenizer=characters",), "--tokenizer is characters, it has whitespace"),
    "phrases": (("--phrases=1",), "--phrases is 1, it has 0"),
    "start_from": (("--start_from=somewhere",), "leave --start_from out"),
    "a corpus": (("--corpus=somewhere",), "--update reads new text"),
    "no parent": (("--update=nowhere",), "is not the output of a run"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused_in_one_line(folder, tmp_path, name):
    options, said = REFUSED[name]
    arguments = [f"--output={tmp_path}/run", f"--update={folder}/plain", *options]
    if name != "a corpus":
        arguments.append(f"--input={folder}/1.txt")
    arguments = [a for a in arguments if not (name == "no parent" and a == f"--update={folder}/plain")]
    outcome = train(*arguments)
    assert outcome.status == 2
    assert said in outcome.error
    assert not (tmp_path / "run").exists()


def test_an_empty_day_is_refused_and_so_is_one_of_unknown_words(folder, tmp_path):
    for text, said in (
        ("\n \n", "holds no words"),
        ("unheard of\n", "nothing to train on|no token to train on|no context"),
    ):
        (tmp_path / "text").write_text(text)
        outcome = train(
            f"--input={tmp_path}/text", f"--output={tmp_path}/run", f"--update={folder}/plain", "--overwrite"
        )
        assert outcome.status == 2
        assert re.search(said, outcome.error), outcome.error


def test_a_parent_has_to_have_ended_and_be_sound(folder, tmp_path):
    arguments = [f"--input={folder}/0.txt", f"--output={tmp_path}/half", *TINY, "--no_report"]
    assert run_until(Moment("train", nth=2), interrupt, arguments, tmp_path / "log") == 130
    outcome = update(folder, tmp_path / "run", parent=str(tmp_path / "half"))
    assert outcome.status == 2
    assert "has not ended" in outcome.error
    shutil.copytree(folder / "plain", tmp_path / "damaged")
    (part,) = (tmp_path / "damaged").glob("checkpoints/*/*/*.parquet")
    part.write_bytes(part.read_bytes()[:-9] + b"damage" + part.read_bytes()[-3:])
    outcome = update(folder, tmp_path / "run", parent=str(tmp_path / "damaged"))
    assert outcome.status != 0
    assert str(part) in outcome.error
    assert not checkpoints(Run(tmp_path / "run").records, Run(tmp_path / "run").key("checkpoints"))
    for gone in ("checkpoints", "reservoir", "totals"):
        shutil.copytree(folder / "plain", tmp_path / gone)
        shutil.rmtree(tmp_path / gone / gone)
        outcome = update(folder, tmp_path / "none", parent=str(tmp_path / gone))
        assert outcome.status == 2
        assert f"is missing: start the run in {tmp_path / gone} again" in outcome.error
        assert not (tmp_path / "none").exists()


def test_text_that_was_taken_is_refused_or_left_out(folder, digests, tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    shutil.copyfile(folder / "0.txt", texts / "copy.txt")  # the same content under another name
    arguments = [
        f"--input={texts}/*",
        f"--output={tmp_path}/run",
        f"--update={folder}/plain",
        "--epochs=2",
        "--no_report",
    ]
    outcome = train(*arguments)
    assert outcome.status == 2
    assert f"have taken 1 of 1 file of --input already ({texts}/copy.txt)" in outcome.error
    assert "there is nothing new" in train(*arguments, "--skip_taken").error
    shutil.copyfile(folder / "1.txt", texts / "new.txt")
    assert train(*arguments, "--skip_taken").digest == digests["plain"]
    taken = update(folder, tmp_path / "two", parent=str(tmp_path / "run"), text="[012].txt")
    assert "have taken 2 of 3 files" in taken.error


def test_without_text_of_the_parent_nothing_is_replayed(folder, digests, tmp_path):
    assert begun(folder, "forgetful", "--replay_words=0").status == 0
    assert not list((folder / "forgetful").glob("reservoir/**/*.parquet"))
    outcome = update(folder, tmp_path / "run", parent="forgetful")
    none = update(folder, tmp_path / "none", "--replay=0")
    assert outcome.digest == none.digest != digests["plain"]
    check_sound(tmp_path / "run")


def test_words_at_the_edge_of_a_vocabulary_stay_a_little_longer(folder, tmp_path):
    assert begun(folder, "small", "--max_vocabulary=40").status == 0
    outcome = update(folder, tmp_path / "run", parent="small")
    assert outcome.status == 0, outcome.stderr
    before, after = Run(folder / "small").words(), Run(tmp_path / "run").words()
    alone = train(f"--input={folder}/[01].txt", f"--output={tmp_path}/all", *TINY, "--no_report")
    assert alone.status == 0
    ranks = {word: rank for rank, word in enumerate(Run(tmp_path / "all").words())}
    wanted = [word for word in ranks if ranks[word] < 40 or (ranks[word] < 44 and word in before)]
    assert after == wanted


def test_a_listed_vocabulary_keeps_its_words_and_counts(folder, tmp_path):
    words = Run(folder / "plain").words()[:30]
    (tmp_path / "words").write_text("".join(f"{word}\t{100 - i}\n" for i, word in enumerate(["never", *words])))
    assert begun(folder, "listed", f"--vocabulary={tmp_path}/words").status == 0
    outcome = update(folder, tmp_path / "run", parent="listed")
    assert outcome.status == 0, outcome.stderr
    table = Run(tmp_path / "run").vocabulary().to_pylist()
    assert [row["word"] for row in table] == ["never", *words]
    assert table[0] == {"word": "never", "count": 100, "occurrences": 0, "new": 0}
    assert Run(tmp_path / "run").absent().tolist() == [True] + [False] * 30
    check_sound(tmp_path / "run")


def test_verify_misses_what_an_update_needs(folder, tmp_path):
    shutil.copytree(folder / "plain", tmp_path / "run")
    for stage in ("totals", "reservoir"):
        (record,) = (tmp_path / "run").glob(f"records/{stage}/*/*.json")
        record.unlink()
        found = run("jobs.verify", f"--run={tmp_path}/run")
        assert found.status == 1
        assert f"records/{stage}/" in found.stdout + found.stderr
        assert begun_again(folder, tmp_path / "run").status == 0
        assert run("jobs.verify", f"--run={tmp_path}/run").status == 0


def begun_again(folder, output):
    return train(f"--input={folder}/0.txt", f"--output={output}", *TINY, "--no_report")
