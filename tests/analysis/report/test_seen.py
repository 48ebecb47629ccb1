"""What a person sees of the page: measured in a browser, on the run of the quick start and on one with 2,000 words.

With SCREENSHOTS=FOLDER its pictures are kept.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys

from beam2vec import Run
from examples import python_topics
from pipeline.analysis.projection import principal_plane
from pipeline.analysis.report.page import render, report
from tests.helpers.browser import browser, keep_picture, open_page
from tests.helpers.commands import ROOT, train
from tests.helpers.maps import maps_of_neighbors

QUICK_START = re.search(r"^TOPICS_OPTIONS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
RUNS = {
    "quick_start": QUICK_START,
    "2000_words": [*QUICK_START, "--min_count=2", "--epochs=20", "--holdout=0.02"],
}
VIEWS = [(1300, 900, False), (1300, 900, True), (390, 844, False), (390, 844, True)]
SEEN = """
const boxes = (query, root = document) => [...root.querySelectorAll(query)].map((one) => {
  const { left, top, right, bottom } = one.getBoundingClientRect();
  return { left, top, right, bottom, text: one.textContent };
});
return {
  plot: boxes(".map svg")[0], dots: boxes(".map circle[data-i]"), labels: boxes(".map text[data-i]"),
  charts: [...document.querySelectorAll(".chart svg")].map((one) => ({
    box: one.getBoundingClientRect().toJSON(), texts: boxes("text", one),
    x: boxes(".name.x", one), y: boxes(".name.y", one) })),
  map: [boxes(".map .name.x"), boxes(".map .name.y")],
  wide: document.documentElement.scrollWidth - innerWidth,
};
"""
BOX = ("left", "top", "right", "bottom")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The two runs, with reports as users have them."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    folder = tmp_path_factory.mktemp("seen")
    python_topics.main(str(folder / "topics.txt"))
    with maps_of_neighbors():
        for name, options in RUNS.items():
            outcome = train(f"--input={folder / 'topics.txt'}", f"--output={folder / name}", *options)
            assert outcome.status == 0, outcome.stderr
    return folder


@pytest.fixture(scope="module")
def opened():
    with browser() as opened:
        yield opened


def vectors_of(folder, name):
    return Run(folder / name).vectors()[:2000]


def seen(opened):
    return opened.execute_script(SEEN)


def middles(boxes):
    return np.array([[(box["left"] + box["right"]) / 2, (box["top"] + box["bottom"]) / 2] for box in boxes])


def crossing(boxes):
    """Pairs of texts whose boxes share more than a hairline."""
    sides = np.array([[box[side] for side in BOX] for box in boxes]).reshape(-1, 4)
    low, high = sides[:, :2], sides[:, 2:]
    shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    pairs = np.argwhere(np.triu((shared > 0.5).all(axis=-1), 1))
    return [(boxes[a]["text"], boxes[b]["text"]) for a, b in pairs]


def outside(boxes, of):
    return [
        box["text"]
        for box in boxes
        if box["left"] < of["left"] - 1
        or box["top"] < of["top"] - 1
        or box["right"] > of["right"] + 1
        or box["bottom"] > of["bottom"] + 1
    ]


def faults_of_map(page, vectors):
    """What a person would not like about the map."""
    plot, labels = page["plot"], page["labels"]
    size = np.array([plot["right"] - plot["left"], plot["bottom"] - plot["top"]])
    points = (middles(page["dots"]) - [plot["left"], plot["top"]]) / size
    faults = [] if len(points) == len(vectors) else ["not all words"]
    low, high = np.quantile(points, [0.025, 0.975], axis=0)
    if (high - low < 0.5).any():
        faults.append("narrow")
    if np.histogram2d(*points.T, bins=20, range=[(0, 1), (0, 1)])[0].max() > 0.1 * len(points):
        faults.append("crowded")
    if points.min() < 0 or points.max() > 1:
        faults.append("words outside")
    from sklearn import manifold  # takes two seconds, which each worker would spend as it collects tests

    trust, of_components = (
        manifold.trustworthiness(vectors, places, n_neighbors=10, metric="cosine")
        for places in (points * size, principal_plane(vectors))
    )
    if trust < of_components + 0.05:
        faults.append("no neighbours")
    if size.min() < 280:
        faults.append("small")
    if len(labels) < 10:
        faults.append("few labels")
    if crossing(labels):
        faults.append("labels on labels")
    if outside(labels, plot):
        faults.append("labels outside")
    return faults


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("width", "height", "dark"), VIEWS)
def test_what_is_seen(folder, opened, name, width, height, dark):
    open_page(opened, folder / name / "report.html", width, height, dark)
    keep_picture(opened, f"report-{name}-{width}-{'dark' if dark else 'light'}")
    page, vectors = seen(opened), vectors_of(folder, name)
    assert len(vectors) == 2000 or (name == "quick_start" and len(vectors) > 500)
    assert faults_of_map(page, vectors) == []
    assert page["wide"] <= 0, "it scrolls sideways"
    assert len(page["charts"]) >= 6
    for chart in page["charts"]:
        (x,), (y,) = chart["x"], chart["y"]
        assert len(x["text"]) > 3
        assert len(y["text"]) > 3
        assert outside([x, y], chart["box"]) == []
        assert crossing(chart["texts"]) == []
    assert [len(names) for names in page["map"]] == [1, 1]
    assert crossing([*page["map"][0], *page["map"][1], *page["labels"]]) == []
    ground, text = (
        opened.execute_script(f"return getComputedStyle(document.body).{what}") for what in ("backgroundColor", "color")
    )
    assert (brightness(ground) < 60, brightness(text) > 200) == (dark, dark)
    assert opened.get_log("browser") == []


def brightness(color):
    return np.mean([int(part) for part in re.findall(r"\d+", color)[:3]])


def test_the_page_of_the_quick_start_is_small(folder):
    assert (folder / "quick_start" / "report.html").stat().st_size < 300_000


def test_printed_it_is_on_white_and_without_buttons(folder, opened):
    open_page(opened, folder / "2000_words" / "report.html", 720, 1000, True, "print")
    keep_picture(opened, "report-2000_words-print")
    assert brightness(opened.execute_script("return getComputedStyle(document.body).backgroundColor")) > 240
    assert not opened.find_element("css selector", ".tools").is_displayed()
    assert faults_of_map(seen(opened), vectors_of(folder, "2000_words")) == []
    assert seen(opened)["wide"] <= 0
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert all(one.get_attribute("open") for one in opened.find_elements("css selector", "details"))
    assert opened.get_log("browser") == []


def test_pointing_tells_of_words_and_curves(folder, opened):
    open_page(opened, folder / "quick_start" / "report.html", 1300, 900, False)
    told = opened.find_element("css selector", ".map .about")
    opened.execute_script("document.querySelector('.map').scrollIntoView()")
    ActionChains(opened).move_to_element(opened.find_element("css selector", ".map circle[data-i='40']")).perform()
    word, _, rest = told.text.partition(", ")
    assert word in Run(folder / "quick_start").words()
    assert re.fullmatch(r"[\d,]+ times; nearest: (\S+, ){4}\S+", rest)
    chart = opened.find_element("css selector", ".chart")
    ActionChains(opened).move_to_element(chart).perform()
    tip = chart.find_element("css selector", ".tip")
    assert re.fullmatch(r"tokens passed over, all epochs: [\d.]+M\ntraining: 0\.\d+", tip.text)
    ActionChains(opened).move_to_element(opened.find_element("css selector", "h1")).perform()
    assert not tip.is_displayed()


def test_a_search_shows_what_begins_so(folder, opened):
    open_page(opened, folder / "2000_words" / "report.html", 390, 844, False)
    words = Run(folder / "2000_words").words()[:2000]
    opened.find_element("id", "search").send_keys("s")
    page = settled(opened)
    wanted = {word for word in words if word.startswith("s")}
    shown = opened.execute_script("return [...document.querySelectorAll('.map text.found')].map((l) => l.textContent)")
    assert 3 < len(shown) <= len(wanted)
    assert set(shown) <= wanted
    assert len(opened.find_elements("css selector", ".map circle.found")) == len(wanted)
    assert opened.find_element("id", "matches").text == f"{len(wanted)} found"
    assert crossing(page["labels"]) == []
    opened.find_element("id", "search").send_keys("tring")
    settled(opened)
    assert opened.find_element("css selector", ".map .about").text.startswith("string, ")


def test_keys_go_from_word_to_word_and_along_a_curve(folder, opened):
    open_page(opened, folder / "quick_start" / "report.html", 1300, 900, True)
    told = opened.find_element("css selector", ".map .about")
    opened.execute_script("document.querySelector('.map svg').focus()")
    visited = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_LEFT):
        ActionChains(opened).send_keys(key).perform()
        visited.append(told.text.partition(",")[0])
    assert visited[0] == Run(folder / "quick_start").words()[0]
    assert len(set(visited)) == 3
    before = middles(settled(opened)["dots"]).std()
    ActionChains(opened).send_keys("+").send_keys("+").perform()
    page = settled(opened)
    assert middles(page["dots"]).std() > 1.5 * before
    assert crossing(page["labels"]) == []
    ActionChains(opened).send_keys(Keys.ESCAPE).perform()
    assert middles(settled(opened)["dots"]).std() == pytest.approx(before)
    chart = opened.find_element("css selector", ".chart")
    opened.execute_script("arguments[0].focus()", chart)
    texts = []
    for _ in range(2):
        ActionChains(opened).send_keys(Keys.ARROW_RIGHT).perform()
        texts.append(chart.find_element("css selector", ".tip").text)
    assert all("training: 0." in text for text in texts)
    assert texts[0] != texts[1]
    assert opened.get_log("browser") == []


def settled(opened):
    """What is seen when what was asked for is drawn."""
    opened.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))")
    return seen(opened)


def one_place(data):
    data["x"] = data["y"] = [0.5] * len(data["x"])


def one_place_but_for_few(data):
    for axis in "xy":
        data[axis] = [value if i % 100 == 0 else 0.01 * value for i, value in enumerate(data[axis])]


def other_places(data):
    order = np.random.default_rng(1).permutation(len(data["x"]))
    for axis in "xy":
        data[axis] = [data[axis][i] for i in order]


def long_labels(data):
    """Which are measured by the page: nothing is wrong with it."""
    data["words"] = [f"{word} {'mw' * 9}" for word in data["words"]]


@pytest.mark.parametrize(
    ("plant", "seen_faults"),
    [
        (one_place, ["narrow", "crowded", "no neighbours"]),
        (one_place_but_for_few, ["narrow", "crowded"]),
        (other_places, ["no neighbours"]),
        (long_labels, []),
    ],
)
def test_the_measures_see_a_map_that_is_wrong(folder, opened, tmp_path, plant, seen_faults):
    text = (folder / "quick_start" / "report.html").read_text("utf-8")
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.DOTALL)[1])
    plant(data["runs"][0]["map"])
    (tmp_path / "page.html").write_bytes(render(data))
    open_page(opened, tmp_path / "page.html", 1300, 900, False)
    faults = faults_of_map(seen(opened), vectors_of(folder, "quick_start"))
    assert set(seen_faults) <= set(faults)
    assert faults == [] or seen_faults


def test_the_measures_see_labels_that_lie_on_each_other(folder, opened):
    open_page(opened, folder / "quick_start" / "report.html", 1300, 900, False)
    opened.execute_script(
        "const [a, b] = document.querySelectorAll('.map text[data-i]'); a.setAttribute('x', b.getAttribute('x'));"
        "a.setAttribute('y', +b.getAttribute('y') + 3);"
    )
    assert faults_of_map(seen(opened), vectors_of(folder, "quick_start")) == ["labels on labels"]


def test_without_the_library_the_page_is_whole_and_says_how_to_get_the_better_map(folder, opened, tmp_path):
    run = Run(folder / "2000_words")
    (tmp_path / "page.html").write_bytes(report([(run, run.checkpoint())]))  # without maps_of_neighbors
    open_page(opened, tmp_path / "page.html", 1300, 900, False)
    text = opened.find_element("css selector", "main").text
    assert "needs scikit-learn: pip install 'beam2vec[report]', then beam2vec report." in text
    assert "first component →" in [names[0]["text"] for names in seen(opened)["map"]]
    assert set(faults_of_map(seen(opened), vectors_of(folder, "2000_words"))) <= {"no neighbours"}
    assert opened.get_log("browser") == []
