"""jobs.report: the page opens in a real browser, with nothing from the network, and shows what the run has."""

from __future__ import annotations

import gzip
import json
import pathlib
import re
import time

import pytest

from beam2vec import Run
from pipeline.analysis.report.comparison import neighborhoods
from pipeline.analysis.report.page import render
from pipeline.corpus.dead_letters import BROKEN_OFF
from pipeline.model.checkpoints import checkpoints
from pipeline.model.vectors import Vectors
from pipeline.runs.timings import read_warnings
from tests.helpers.browser import browser, open_page
from tests.helpers.commands import ALONE, run, train, write_corpus

ODD_WORD = "</script><b>&\"'ünïcode"

B_OPTIONS = ("--dims=8", "--window=2", "--batches=stored")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs, `a` and `b`, on a text with a bad line and with a word that looks like HTML."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = write_corpus(folder / "corpus.txt")
    with corpus.open("ab") as file:
        file.write(f"{ODD_WORD} again {ODD_WORD} again\n".encode() * 20 + b"bad \xff line\n")
    for name, more in [("a", []), ("b", B_OPTIONS)]:
        outcome = train(f"--input={corpus}", f"--output={folder / name}", *ALONE, *more)
        assert outcome.status == 0, outcome.stderr
    words = Run.open(str(folder / "a")).words()
    (folder / "pairs.tsv").write_text("".join(f"{words[i]}\t{words[2 * i + 1]}\t{i}\n" for i in range(12)), "utf-8")
    return folder


@pytest.fixture(scope="module")
def one(folder):
    outcome = run("jobs.report", f"--run={folder / 'a'}", f"--pairs={folder / 'pairs.tsv'}")
    assert outcome.status == 0, outcome.stderr
    place = Run.open(str(folder / "a")).checkpoint().place
    assert outcome.stdout.splitlines() == [str(folder / "a" / "report.html"), f"{folder / 'a'}: {place}"]
    return folder / "a" / "report.html"


def test_lines_left_out_of_word_pairs_are_told(folder, tmp_path):
    (tmp_path / "pairs.tsv").write_text((folder / "pairs.tsv").read_text("utf-8") + "nobody\n", "utf-8")
    arguments = [f"--run={folder / 'a'}", f"--pairs={tmp_path / 'pairs.tsv'}"]
    said = run("jobs.report", *arguments, f"--to={tmp_path / 'page.html.gz'}").stdout
    assert f"{tmp_path / 'pairs.tsv'}: 1 line left out (the first: line 13, 'nobody')" in said
    page = run("jobs.report", *arguments, "--to=-")
    assert page.stdout.encode() == gzip.decompress((tmp_path / "page.html.gz").read_bytes())
    assert "1 line left out" in page.stderr


@pytest.fixture(scope="module")
def both(folder):
    to = folder / "pages" / "both.html"
    outcome = run("jobs.report", f"--run={folder / 'a'}", f"--against={folder / 'b'}", f"--to={to}")
    assert outcome.status == 0, outcome.stderr
    return to


@pytest.fixture(scope="module")
def two_checkpoints(folder):
    """A run that kept two checkpoints."""
    output = f"--output={folder / 'two'}"
    outcome = train(f"--input={folder / 'corpus.txt'}", output, *ALONE, "--checkpoint_every=20", "--no_report")
    assert outcome.status == 0, outcome.stderr
    return Run.open(str(folder / "two"))


@pytest.fixture(scope="module")
def opened():
    with browser() as opened:
        yield opened


def data_of(page):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1])


def test_page_names_nothing_outside_itself(one, both):
    for page in (one, both):
        text = page.read_text("utf-8")
        assert not re.search(r"(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest", text)
        assert page.stat().st_size < 6e6


def test_data_is_that_of_the_run(folder, one):
    made = Run.open(str(folder / "a"))
    shown = data_of(one)["runs"][0]
    assert shown["facts"]["digest"] == made.checkpoint().digest
    assert shown["facts"]["words"] == len(made.words())
    assert shown["map"]["words"] == made.words()
    assert shown["config"]["dims"] == 12
    assert shown["evaluation"]["pairs"][0]["pairs"] == 12
    assert shown["dead"]["bad_lines"] == 1
    assert shown["dead"]["rows"][0]["sample"].startswith("bad \\xff")
    assert shown["zipf"]["whole"]
    assert shown["unigram"]["after"][0] == pytest.approx(made.unigram().probability[0], rel=1e-4)
    assert len(shown["curve"]["loss"]) == made.metrics().num_rows


def test_warnings_of_training_are_shown_and_those_of_a_second_command_too(tmp_path, opened):
    corpus, output = write_corpus(tmp_path / "text.txt"), tmp_path / "run"
    first = train(f"--input={corpus}", f"--output={output}", *ALONE, "--batch_size=2048")
    (line,) = (line for line in first.stderr.splitlines() if line.startswith("only 8 training steps: "))
    page = output / "report.html"
    assert data_of(page)["runs"][0]["warnings"] == [line]
    again = train(f"--input={corpus}", f"--output={output}", *ALONE, "--batch_size=2048")
    assert again.status == 0
    run_of_it = Run.open(str(output))
    assert read_warnings(run_of_it.records, run_of_it.key("checkpoints"))[0] == line
    open_page(opened, page, 1280, 900, False)
    assert opened.find_element("css selector", ".warnings").text == f"1 warning\n{line}"


def test_training_ends_with_a_report_unless_told_not_to(folder):
    page = folder / "b" / "report.html"
    stages = data_of(page)["runs"][0]["stages"]
    assert [stage["name"] for stage in stages] == ["Count words", "Encode tokens", "Store batches", "Train"]
    assert all(0 <= stage["seconds"] < 300 for stage in stages)
    page.unlink()
    again = [f"--input={folder / 'corpus.txt'}", f"--output={folder / 'b'}", *ALONE, *B_OPTIONS]
    assert "report.html" not in train(*again, "--no_report").stdout
    assert not page.exists()
    outcome = train(*again)
    assert f"report      {page}" in outcome.stdout
    with open(page, "a") as file:
        file.write("<!-- with evaluations -->")
    assert f"report      {page}" in train(*again).stdout
    assert page.read_text().endswith("<!-- with evaluations -->")  # there is no news of a model that was there


def test_a_report_on_a_model_that_is_replaced_goes(folder, tmp_path):
    corpus, output = write_corpus(tmp_path / "text.txt"), tmp_path / "run"
    assert train(f"--input={corpus}", f"--output={output}", *ALONE).status == 0
    assert (output / "report.html").exists()
    again = train(f"--input={corpus}", f"--output={output}", *ALONE, "--seed=9", "--overwrite", "--no_report")
    assert again.status == 0
    assert not (output / "report.html").exists()


def test_tokens_are_those_of_the_text_where_a_word_list_brings_counts(tmp_path):
    corpus = write_corpus(tmp_path / "text.txt")
    words = sorted(set(corpus.read_text().split()))
    (tmp_path / "words.tsv").write_text("".join(f"{word}\t1000000\n" for word in words))
    outcome = train(
        f"--input={corpus}", f"--output={tmp_path / 'run'}", *ALONE, f"--vocabulary={tmp_path / 'words.tsv'}"
    )
    assert outcome.status == 0, outcome.stderr
    tokens = len(corpus.read_text().split())
    assert f"{len(words):,} words, {tokens:,} tokens" in outcome.stdout
    shown = data_of(tmp_path / "run" / "report.html")["runs"][0]["facts"]
    assert (shown["tokens"], shown["step"]) == (tokens, shown["steps"])


def test_a_report_that_fails_does_not_fail_the_training(folder, monkeypatch):
    (folder / "b" / "report.html").unlink()
    monkeypatch.setattr("jobs.training_job.report", lambda runs: 1 / 0)
    outcome = train(f"--input={folder / 'corpus.txt'}", f"--output={folder / 'b'}", *ALONE, *B_OPTIONS)
    assert outcome.status == 0
    assert "the report is left out (division by zero): beam2vec report --run=" in outcome.stderr
    assert outcome.digest


def test_lines_left_out_of_compressed_files_are_shown_too(tmp_path):
    lines = write_corpus(tmp_path / "whole.txt", lines=150).read_bytes()
    (tmp_path / "cut.gz").write_bytes(gzip.compress(lines)[:-300])
    train(f"--input={tmp_path / 'cut.gz'}", f"--output={tmp_path / 'run'}", *ALONE, "--allow_truncated")
    shown = data_of(tmp_path / "run" / "report.html")["runs"][0]["dead"]
    assert shown["bad_lines"] == 1
    assert [row["reason"] for row in shown["rows"]] == [BROKEN_OFF]


def test_comparison_tells_differences(both):
    found = data_of(both)["comparison"]
    assert {name for name, *_ in found["config"]} == {"dims", "window", "batches"}
    assert not found["same_digest"]
    assert found["same_input"]
    assert -1 <= found["neighborhoods"]["correlation"] <= 1


def test_a_run_is_like_itself(folder):
    made = Run.open(str(folder / "a"))
    known = made.read_vectors()
    found = neighborhoods(known, known)
    assert found["correlation"] == pytest.approx(1)
    assert found["overlap"] == 1
    few = Vectors(known.words[:5], known.vectors[:5], known.counts[:5])
    assert neighborhoods(few, known) is None


def test_words_cannot_end_the_script():
    page = render({"runs": [{"words": ["</script>", "\ud800"[:0] + "<!--"]}], "comparison": None}).decode()
    assert page.count("</script>") == 2
    assert '"\\u003c/script>"' in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step=1"], "--step=1: "),
        (["--against=/nowhere"], "is not the output of a run"),
        (["--against={a}", "--against_step=1"], "--against_step=1: {a} has no such checkpoint; there are: "),
        (["--against_step=1"], "--against_step needs --against"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(folder, arguments, message):
    run_a = str(folder / "a")
    outcome = run("jobs.report", f"--run={run_a}", *(argument.format(a=run_a) for argument in arguments))
    assert outcome.status == 2
    assert message.format(a=run_a) in outcome.error


def test_where_the_run_takes_no_report_the_way_out_is_named(two_checkpoints):
    (place := pathlib.Path(two_checkpoints.uri, "report.html")).mkdir()
    outcome = run("jobs.report", f"--run={two_checkpoints.uri}")
    assert (outcome.status, outcome.error) == (2, f"--to={place} is a folder: name a file")
    place.rmdir()


def test_two_checkpoints_of_one_run_side_by_side(two_checkpoints, both, opened, tmp_path):
    steps = [ref.step for ref in checkpoints(two_checkpoints.records, two_checkpoints.key("checkpoints"))]
    to, uri = tmp_path / "page.html", two_checkpoints.uri
    outcome = run("jobs.report", f"--run={uri}", f"--against={uri}", f"--against_step={steps[0]}", f"--to={to}")
    assert outcome.status == 0, outcome.stderr
    assert [one["facts"]["step"] for one in data_of(to)["runs"]] == [steps[-1], steps[0]]
    assert data_of(to)["runs"][0]["facts"]["loss"] < data_of(to)["runs"][1]["facts"]["loss"]
    assert not data_of(to)["comparison"]["same_digest"]
    assert data_of(to)["comparison"]["config"] == []
    moved = data_of(to)["comparison"]["movement"]
    assert moved["shared"] == sum(band["last"] - band["first"] + 1 for band in moved["bands"])
    assert "vectors of 8 and of 12 dims" in data_of(both)["comparison"]["movement"]["problem"]
    open_page(opened, to, 1300, 900, dark=False)
    cards = [card.text for card in opened.find_elements("css selector", ".card")]
    (most,) = [text for text in cards if text.startswith("Moved most\n")]
    assert f"{moved['moved_most'][0]['word']} {moved['moved_most'][0]['cosine']:.3f}" in most
    (bands,) = [text for text in cards if text.startswith("By frequency\n")]
    assert f"1 to 100 {moved['bands'][0]['cosine']:.3f}" in bands
    assert "New\n0 words" in cards


def test_evaluations_of_checkpoints_are_a_curve(two_checkpoints, folder, opened, tmp_path):
    to, uri = tmp_path / "page.html", two_checkpoints.uri
    words = two_checkpoints.words()
    (tmp_path / "analogies.txt").write_text(f": one\n{' '.join(words[:4])}\n{' '.join(words[4:8])}\n", "utf-8")
    judged = [f"--pairs={folder / 'pairs.tsv'}", f"--analogies={tmp_path / 'analogies.txt'}"]
    outcome = run("jobs.report", f"--run={uri}", *judged, f"--to={to}")
    assert outcome.status == 0, outcome.stderr
    steps = [ref.step for ref in checkpoints(two_checkpoints.records, two_checkpoints.key("checkpoints"))]
    shown = data_of(to)["runs"][0]
    assert [(one["file"].rpartition("/")[2], one["kind"]) for one in shown["evaluations"]] == [
        ("pairs.tsv", "pairs"),
        ("analogies.txt", "analogies"),
    ]
    for one in shown["evaluations"]:
        assert one["steps"] == steps
        assert len(one["scores"]) == len(steps)
    pairs = shown["evaluations"][0]["scores"]
    assert pairs[-1] == pytest.approx(shown["evaluation"]["pairs"][0]["spearman"], abs=1e-4)
    first = run("jobs.report", f"--run={uri}", *judged, f"--step={steps[0]}", f"--to={tmp_path / 'first.html'}")
    assert first.status == 0, first.stderr
    earlier = data_of(tmp_path / "first.html")["runs"][0]
    assert earlier["evaluations"] == []
    assert pairs[0] == pytest.approx(earlier["evaluation"]["pairs"][0]["spearman"], abs=1e-4)
    open_page(opened, to, 1300, 900, dark=False)
    headings = [heading.text for heading in opened.find_elements("css selector", "h2")]
    assert "Evaluation, checkpoint by checkpoint" in headings
    assert opened.get_log("browser") == []


def test_reading_a_run_is_told(folder, monkeypatch):
    told = {}
    monkeypatch.setattr(
        "jobs.report.shown_progress", lambda name, unit: lambda done, total: told.update({name: (done, total)})
    )
    outcome = run("jobs.report", f"--run={folder / 'a'}", f"--against={folder / 'b'}", f"--to={folder / 'x.html'}")
    assert outcome.status == 0, outcome.stderr
    words = len(Run.open(str(folder / "a")).words())
    assert told == {"Read vectors of first": (words, words), "Read vectors of second": (words, words)}


def test_all_is_drawn_when_the_script_ends(one, opened):
    never = "window.ResizeObserver = class { observe() {} }; window.requestAnimationFrame = () => 0;"
    added = opened.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": never})
    try:
        open_page(opened, one, 1280, 900, False)
    finally:
        opened.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    drawn = "return [...document.querySelectorAll('.chart')].map(e => e.querySelectorAll('path.series').length)"
    assert all(opened.execute_script(drawn))
    assert len(opened.execute_script(drawn)) >= 6
    assert opened.execute_script("return document.querySelectorAll('.map text').length") > 10
    assert opened.get_log("browser") == []


def test_opens_in_a_browser_and_finds_a_word(one, both, folder, opened):
    words = Run.open(str(folder / "a")).words()
    folded = [word.lower() for word in words]
    alone = next(word for word in words[4:] if folded.count(word.lower()) == 1)  # without a variant of case
    for page, width, height, dark in [
        (one, 1280, 900, False),
        (one, 390, 844, True),
        (both, 1280, 900, True),
        (both, 390, 844, False),
    ]:
        open_page(opened, page, width, height, dark)
        sections = [heading.text for heading in opened.find_elements("css selector", "h2")]
        assert {"Training", f"Map of the {len(words)} most frequent words", "Nearest words", "What was run"} <= set(
            sections
        )
        assert ("Same or not" in sections) == (page is both)
        if page is both:
            differ = "Options that differ: dims (12, 8); window (3, 2); batches (stream, stored)."
            assert differ in opened.find_element("css selector", "main").text
        place = Run.open(str(folder / "a")).checkpoint().place
        assert step_tile(place) in opened.find_element("css selector", ".tiles").text
        maps = 2 if page is both else 1
        assert shown(opened) == (0, [])
        for word in (alone, ODD_WORD):
            search_for(opened, word)
            wait_until(shown, opened, (maps, [word] * maps))
        search_for(opened, "zzzz")
        wait_until(shown, opened, (0, []))
        assert opened.find_element("id", "matches").text == "not on the map"
        broken = "return [...document.querySelectorAll('td b')].filter((word) => word.getClientRects().length > 1)"
        assert opened.execute_script(broken + ".map((word) => word.textContent)") == []
        sideways = opened.execute_script("return document.documentElement.scrollWidth > innerWidth")
        assert not sideways
        ground = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == dark
        assert opened.get_log("browser") == []


def test_a_curve_of_one_point_is_seen(one, opened):
    open_page(opened, one, 1280, 900, False)
    opened.execute_script(
        "document.querySelector('main').prepend(chart({ label: 'alone', xlabel: 'x', ylabel: 'y',"
        " series: [{ name: 'a', style: 'first', x: [1600], y: [0.7] }] }))"
    )
    wait_until(lambda page: len(page.find_elements("css selector", "main > .chart circle")), opened, 1)
    ticks = [text.text for text in opened.find_elements("css selector", "main > .chart text:not(.name)")]
    assert len(set(ticks)) == len(ticks) > 4


def test_a_model_of_one_word_has_axes_with_numbers_and_one_title(tmp_path, opened):
    text, long = tmp_path / "text.txt", "w" * 300
    text.write_text(f"{long} {long} {long}\n" * 37)
    options = ("--dims=4", "--negative_policy=any", "--subsample=0")
    assert train(f"--input={text}", f"--output={tmp_path / 'run'}", *options).status == 0
    open_page(opened, tmp_path / "run" / "report.html", 390, 844, False)
    assert "Map of the most frequent word" in [heading.text for heading in opened.find_elements("css selector", "h2")]
    for label in ("occurrences by rank", "probability by rank before and after the power"):
        texts = opened.find_elements("css selector", f".chart[aria-label^='{label}'] text[text-anchor=end]:not(.name)")
        assert [text for text in texts if text.text], label
    assert not opened.execute_script("return document.documentElement.scrollWidth > innerWidth")
    assert not opened.execute_script(
        "return [...document.querySelectorAll('.scroll')].some((table) => table.scrollWidth > table.clientWidth)"
    )
    assert opened.get_log("browser") == []


def step_tile(place):
    """'step 240 of 284' as the page says it."""
    _, step, _, steps = place.split()
    return f"{step}\nof {steps} training steps"


def search_for(opened, word):
    search = opened.find_element("id", "search")
    search.clear()
    search.send_keys(word)


def shown(opened):
    """(how many dots are marked as found, the words written beside them)"""
    dots, labels = opened.execute_script(  # in one go: the page may draw itself anew between two questions
        """
        const dots = document.querySelectorAll("circle.found");
        const labels = document.querySelectorAll("svg text.found");
        return [dots.length, Array.from(labels, label => label.textContent)];
        """
    )
    return dots, labels


def wait_until(ask, opened, wanted, seconds=60):
    end = time.monotonic() + seconds
    while (found := ask(opened)) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.05)
