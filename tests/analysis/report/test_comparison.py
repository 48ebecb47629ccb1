"""What a reader of a report on two runs, or on a run that has not ended, is told, in a browser."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import beam2vec
from pipeline.analysis.judgements import read_pairs
from pipeline.analysis.report.comparison import neighborhoods
from pipeline.analysis.report.data import frequent_rows
from pipeline.analysis.report.page import report
from pipeline.analysis.scores import Judged
from pipeline.errors import InputError
from pipeline.model.vectors import Vectors
from tests.helpers import maps  # noqa: F401  makes reports fast
from tests.helpers.browser import browser, open_page

LONG = "w1" * 150
FROM_THE_RIGHT = [chr(0x5D0 + number) * 3 for number in range(12)]
WORDS = [LONG, *FROM_THE_RIGHT, *(f"item/{number}" for number in range(25))]
CBOW = {"model": "cbow", "dims": 4, "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def trained(folder, name, **options):
    rows = np.random.default_rng(1).integers(0, len(WORDS), (300, 8))
    sentences = [[WORDS[i] for i in row] for row in rows]
    defaults = {"dims": 8, "batch_size": 64, "epochs": 2, "min_count": 1}
    return beam2vec.train(sentences=sentences, output=folder / name, **(defaults | options))


@pytest.fixture(scope="module")
def first(folder):
    return trained(folder, "first")


@pytest.fixture(scope="module")
def second(folder):
    return trained(folder, "second", **CBOW, checkpoint_every=20, keep_checkpoints=3)


@pytest.fixture(scope="module")
def judged(folder):
    (folder / "pairs.tsv").write_text("".join(f"item/{i}\titem/{2 * i + 1}\t{i}\n" for i in range(12)), "utf-8")
    return Judged([read_pairs(str(folder / "pairs.tsv"))])


@pytest.fixture(scope="module")
def opened():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def two(first, second, judged, folder):
    return page(folder / "two.html", [(first, None), (second, None)], judged)


def page(path, runs, judged=None):
    path.write_bytes(report([(run, run.checkpoint(step)) for run, step in runs], judged))
    return path


def section(opened, title):
    for one in opened.find_elements("css selector", "section"):
        if one.find_element("css selector", "h2").text == title:
            return one
    raise AssertionError(f"there is no section {title}")


def test_each_option_that_differs_is_in_the_table(two, opened):
    open_page(opened, two, 1300, 900, False)
    table = section(opened, "What was run").find_element("css selector", "table").text.splitlines()
    assert {"model skipgram cbow", "learning_rate 0.05 0.12", "dims 8 4", "seed 1 3"} <= set(table)


def test_a_model_that_is_not_the_usual_one_is_an_option_that_was_chosen(second, folder, opened):
    open_page(opened, page(folder / "cbow.html", [(second, None)]), 1300, 900, False)
    table = section(opened, "What was run").find_element("css selector", "table").text.splitlines()
    assert "model cbow" in table
    assert not [line for line in table if line.startswith("learning_rate")]


def test_times_of_two_runs_are_on_one_scale(two, opened):
    open_page(opened, two, 1300, 900, False)
    time = section(opened, "Time")
    seconds = [float(span.text.split()[0]) for span in time.find_elements("css selector", ".bars .soft")]
    widths = [
        float(bar.get_attribute("style").split(":")[1].strip(" %;")) for bar in time.find_elements("tag name", "i")
    ]
    assert len(widths) == 6
    assert widths.count(100) == 1
    assert seconds[widths.index(100)] == max(seconds)


def test_what_cannot_be_compared_is_said(two, opened):
    open_page(opened, two, 1300, 900, False)
    assert "vectors of 4 and of 8 dims cannot be compared" in section(opened, "What moved").text
    curves = section(opened, "Evaluation, checkpoint by checkpoint").text
    assert "There is no earlier checkpoint" in curves
    assert opened.get_log("browser") == []


def test_the_loss_of_an_earlier_checkpoint_is_not_that_of_the_end(second, folder, opened):
    for step, said in [(None, "loss per pair at the end"), (40, "loss per pair at this step")]:
        open_page(opened, page(folder / "step.html", [(second, step)]), 1300, 900, False)
        assert said in opened.find_element("css selector", ".tiles").text


@pytest.mark.parametrize("width", [390, 1300])
def test_a_long_word_hides_none_beside_it_and_one_written_from_the_right_keeps_its_number(first, folder, opened, width):
    open_page(opened, page(folder / "one.html", [(first, None)]), width, 900, False)
    cut = "return [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert opened.execute_script(cut) == 0
    nearest = section(opened, "Nearest words")
    assert LONG[:20] in nearest.text
    # [left edges of the word and of its cosine, where both are on one line]
    places = opened.execute_script(
        "return [...document.querySelectorAll('td span > bdi')].filter((word) => word.textContent[0] >= 'א')"
        ".map((word) => { const number = document.createRange(); number.selectNode(word.parentNode.lastChild);"
        " return [word, number].map((one) => one.getBoundingClientRect()); })"
        ".filter(([word, number]) => Math.abs(word.top - number.top) < 8).map((both) => both.map((one) => one.left))"
    )
    assert places
    assert all(word < number for word, number in places)


def test_words_that_are_no_letters_are_shown_too():
    words = pa.array([f"item/{number}" for number in range(400)])
    assert len(frequent_rows(words)) == 8
    assert min(frequent_rows(words)) == 100
    mixed = pa.array([f"item/{number}" if number != 120 else "word" for number in range(400)])
    assert frequent_rows(mixed) == [120]


def test_a_file_that_one_of_two_runs_knows_nothing_of_names_the_run(first, folder):
    other = beam2vec.train(sentences=[["a", "b", "c"]] * 60, output=folder / "other", dims=8, batch_size=32)
    (folder / "letters.tsv").write_text("a\tb\t1\na\tc\t2\n", "utf-8")
    letters = Judged([read_pairs(str(folder / "letters.tsv"))])
    with pytest.raises(InputError, match=r"first: .*letters\.tsv: of 2 \w+ none has "):
        page(folder / "no.html", [(other, None), (first, None)], letters)


def test_cosines_that_are_all_equal_have_no_correlation():
    words, counts = pa.array([f"w{number}" for number in range(20)]), np.full(20, 5)
    equal = Vectors(words, np.ones((20, 1), np.float32), counts)
    assert neighborhoods(equal, equal) is None
    varied = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    some = np.where(np.arange(20)[:, None] < 1, np.float32(0), varied)  # a vector of zeros has cosine 0 to all
    found = neighborhoods(Vectors(words, some, counts), Vectors(words, some, counts))
    assert "w0" not in [word for word, _ in found["least"] + found["most"]]
