"""jobs.evaluate: gensim's numbers from a run, near words for mistyped ones, errors on one line."""

from __future__ import annotations

import json
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from beam2vec import Run
from jobs.evaluate import lines_of
from tests.helpers.commands import ALONE, finish, run, start, train, write_corpus


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    outcome = train(f"--input={write_corpus(folder / 'corpus.txt')}", f"--output={folder / 'run'}", *ALONE)
    assert outcome.status == 0, outcome.stderr
    return str(folder / "run")


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory):
    """Word pairs and analogies about the run's own words, some of them unknown."""
    folder, draw, words = tmp_path_factory.mktemp("judged"), random.Random(1), Run.open(trained).words()
    pick = lambda: draw.choice([*words[:60], "unknown"])  # noqa: E731
    pairs, analogies = folder / "pairs.csv", folder / "analogies.txt"
    pairs.write_text("\ufeffone,two,score\n" + "".join(f"{pick()},{pick()},{draw.random():.2f}\n" for _ in range(80)))
    lines = [" ".join(draw.sample([*words[:60], "unknown"], 4)) for _ in range(400)]
    analogies.write_text(": first\n" + "\n".join(lines[:250]) + "\n: second\n" + "\n".join(lines[250:]) + "\n")
    return pairs, analogies


def test_numbers_are_gensims(trained, files, tmp_path):
    pytest.importorskip("gensim")
    pairs, analogies = files
    outcome = run(
        "jobs.evaluate",
        f"--run={trained}",
        "--pairs",
        str(pairs),
        "--analogies",
        str(analogies),
        f"--json={tmp_path / 'out' / 'result.json'}",
    )
    assert outcome.status == 0, outcome.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    keyed = Run.open(trained).keyed_vectors()
    pearson, spearman, unknown = keyed.evaluate_word_pairs(str(pairs), delimiter=",")
    ours = result["pairs"][0]
    assert ours["spearman"] == pytest.approx(spearman[0], abs=1e-6)
    assert ours["pearson"] == pytest.approx(pearson[0], abs=1e-6)
    assert ours["unknown"] / (ours["unknown"] + ours["pairs"]) == pytest.approx(unknown / 100, abs=0.02)
    accuracy, sections = keyed.evaluate_word_analogies(str(analogies))
    assert result["analogies"][0]["total"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    for mine, theirs in zip(result["analogies"][0]["sections"], sections):
        assert mine["correct"] == len(theirs["correct"])
        assert mine["questions"] == len(theirs["correct"]) + len(theirs["incorrect"])
    assert f"Spearman {spearman[0]:.4f}" in outcome.stdout
    assert "first" in outcome.stdout


def test_nearest_words_are_gensims_and_json_alone_goes_to_stdout(trained):
    pytest.importorskip("gensim")
    opened = Run.open(trained)
    word = opened.words()[3]
    outcome = run("jobs.evaluate", f"--run={trained}", f"--neighbors={word}", "--count=5", "--json=-")
    found = json.loads(outcome.stdout)["neighbors"][word]
    wanted = opened.keyed_vectors().most_similar(word, topn=5)
    assert [one for one, _ in found] == [one for one, _ in wanted]
    assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in wanted], abs=1e-6)


def test_mistyped_word_suggests_near_ones(trained):
    word = next(word for word in Run.open(trained).words() if len(word) > 5)
    outcome = run("jobs.evaluate", f"--run={trained}", f"--neighbors={word[:-1]}q")
    assert outcome.status == 2
    assert "is not in the vocabulary of" in outcome.error
    assert "did you mean" in outcome.error
    assert repr(word) in outcome.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to evaluate"),
        (["--pairs=/nowhere/pairs.tsv"], "/nowhere/pairs.tsv does not exist"),
        (["--neighbors=x", "--step=1"], "--step=1: .* there are: "),
        (["--neighbors=x", "--step=one"], "'one' is not a whole number of at least 0"),
        (["--neighbors=x", "--vectors=both"], "invalid choice: 'both'"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(trained, arguments, message):
    outcome = run("jobs.evaluate", f"--run={trained}", *arguments)
    assert outcome.status == 2
    assert re.search(message, outcome.error)


def test_files_of_one_column_or_of_no_known_word(trained, tmp_path):
    (tmp_path / "one.txt").write_text("word\nother\n")
    (tmp_path / "strange.txt").write_text("qqqq zzzz 1.0\n")
    for name, message in [("one.txt", "holds no word pairs"), ("strange.txt", "of 1 pair none has")]:
        outcome = run("jobs.evaluate", f"--run={trained}", f"--pairs={tmp_path / name}")
        assert outcome.status == 2
        assert message in outcome.error


def test_a_file_of_comments_is_not_said_to_be_empty(trained, tmp_path):
    (tmp_path / "pairs.txt").write_text("\n# word pairs\n")
    outcome = run("jobs.evaluate", f"--run={trained}", f"--pairs={tmp_path / 'pairs.txt'}")
    assert outcome.error.endswith("two words and a number; it has no line, or only blank ones and comments")


def test_what_has_no_score_and_no_section_is_said_so(trained, tmp_path):
    words = Run.open(trained).words()
    (tmp_path / "pairs.txt").write_text("".join(f"{words[0]}\t{words[i]}\t1\n" for i in (1, 2, 3)))
    (tmp_path / "analogies.txt").write_text(" ".join(words[:4]) + "\n")
    files = (f"--pairs={tmp_path / 'pairs.txt'}", f"--analogies={tmp_path / 'analogies.txt'}")
    outcome = run("jobs.evaluate", f"--run={trained}", *files)
    _, pairs, analogies = outcome.stdout.splitlines()
    assert "Spearman undefined (all scores or all cosines are equal) on 3 pairs" in pairs
    assert "of 1 analogies right" in analogies


def test_one_long_word_does_not_widen_the_lines_of_others():
    result = {"run": "r", "step": 1, "steps": 1, "vectors": "input", "pairs": [], "analogies": []}
    near = [("tea", 0.5), ("x" * 300, 0.25)]
    assert lines_of({**result, "neighbors": {"cup": near}})[2] == f"  {'tea':40}  0.5000"


def test_no_run(tmp_path):
    outcome = run("jobs.evaluate", f"--run={tmp_path}", "--neighbors=x")
    assert outcome.status == 2
    assert "is not the output of a run" in outcome.error


def test_an_index_is_no_score_and_lines_left_out_are_told(trained, tmp_path):
    words = Run.open(trained).words()
    scores = [7.5, 1.25, 4.0, 9.0, 2.5]
    plain, indexed = tmp_path / "plain.txt", tmp_path / "in,dexed.csv"
    rows = [(words[i], words[2 * i + 3], score) for i, score in enumerate(scores)]
    plain.write_text("".join(f"{one}\t{other}\t{score}\n" for one, other, score in rows))
    lines = [f"{i},{one},{other},{score}\n" for i, (one, other, score) in enumerate(rows)]
    indexed.write_text(",word1,word2,similarity\n" + "".join(lines) + "5,a,b,\n")
    wanted = run("jobs.evaluate", f"--run={trained}", f"--pairs={plain}")
    spearman = re.search(r"Spearman \S+ on 5 pairs", wanted.stdout)[0]
    assert "left out" not in wanted.stdout
    outcome = run("jobs.evaluate", f"--run={trained}", f"--pairs={indexed}")
    assert (
        f"{spearman} (columns 2, 3, 4), 0 out of vocabulary, 1 line left out (the first: line 7, '5,a,b,')"
        in outcome.stdout
    )
    indexed.write_text("".join(lines))
    outcome = run("jobs.evaluate", f"--run={trained}", f"--pairs={indexed}")
    assert (outcome.status, "--pairs_columns=2,3,4" in outcome.error) == (2, True)
    outcome = run("jobs.evaluate", f"--run={trained}", f"--pairs={indexed}", "--pairs_columns=2,3,4", "--json=-")
    entry = json.loads(outcome.stdout)["pairs"][0]
    assert f"Spearman {entry['spearman']:.4f} on 5 pairs" == spearman
    assert (entry["columns"], entry["invalid_lines"], entry["first_invalid_line"]) == ([2, 3, 4], 0, "")


@pytest.mark.parametrize("word", [*map(os.fsdecode, (b"\xff", b"caf\xe9", b"\xed\xa0\x80")), chr(0xD800)])
def test_a_word_that_is_not_utf8_is_not_in_the_vocabulary(trained, word):
    outcome = run("jobs.evaluate", f"--run={trained}", f"--neighbors={word}")
    assert (outcome.status, "is not in the vocabulary of" in outcome.error) == (2, True)


@pytest.mark.parametrize("columns", ["1,2", "0,1,2", "1,1,2", "a,b,c", "1,2,3,4", "", "2;3;4"])
def test_columns_that_are_none(trained, columns):
    outcome = run("jobs.evaluate", f"--run={trained}", "--pairs=x", f"--pairs_columns={columns}")
    assert (outcome.status, "is not the numbers of three columns" in outcome.error) == (2, True)


def test_analogies_by_multiplication_are_gensims(trained, files, tmp_path):
    pytest.importorskip("gensim")
    (tmp_path / "analogies.txt").write_text(files[1].read_text() + "one two three\n")
    outcome = run("jobs.evaluate", f"--run={trained}", f"--analogies={tmp_path / 'analogies.txt'}", "--analogy=3cosmul")
    keyed = Run.open(trained).keyed_vectors()
    keyed.most_similar = keyed.most_similar_cosmul
    accuracy, _ = keyed.evaluate_word_analogies(str(files[1]))
    assert f"analogies.txt: {accuracy:.1%} of " in outcome.stdout
    assert "1 line left out (the first: line 403, 'one two three')" in outcome.stdout


def test_json_goes_into_a_pipe_as_onto_the_screen(trained, tmp_path):
    word = Run.open(trained).words()[3]
    os.mkfifo(tmp_path / "pipe")
    arguments = ["jobs.evaluate", f"--run={trained}", f"--neighbors={word}"]
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        said = run(*arguments, f"--json={tmp_path / 'pipe'}").stdout
    assert f"near '{word}'" in said
    exact = finish(start(*arguments, "--json=/dev/stdout"))
    assert (exact.status, exact.stdout) == (0, read.result())
    assert run(*arguments, "--json=-").stdout == exact.stdout


def test_the_result_is_kept_when_whoever_reads_the_screen_has_left(trained, tmp_path):
    arguments = [f"--run={trained}", f"--neighbors={','.join(Run.open(trained).words()[:60])}", "--count=50"]
    process = start("jobs.evaluate", *arguments, f"--json={tmp_path / 'r.json'}")
    process.stdout.close()
    assert process.wait(60) in (0, 141)
    assert len(json.loads((tmp_path / "r.json").read_text())["neighbors"]) == 60
    assert "Traceback" not in process.stderr.read()
