"""The history of a series as a page."""

from __future__ import annotations

import html.parser
import re

from pipeline.series.entries import Figure, Refused
from pipeline.series.page import page
from pipeline.series.state import State
from tests.helpers.browser import browser, open_page
from tests.series.logs import Series


def shown(series: Series, name: str = "models/topics") -> str:
    text = page(name, series.state).decode()
    html.parser.HTMLParser().feed(text)
    return text


def test_each_gate_has_a_curve_with_a_point_for_each_generation():
    series = Series()
    for day in range(1, 6):
        series.day(f"2026-11-{day:02}", words=1000.0 + day, seen=0.1)
    text = shown(series)
    assert len(re.findall("<svg", text)) == 2
    assert len(re.findall("<circle", text)) == 10
    assert "<h2>words</h2>" in text
    assert "Current is <b>2026-11-05</b>; 5 generations have ended" in text


def test_what_was_refused_is_marked_and_says_why():
    series = Series()
    series.day("2026-11-01", seen=0.1)
    series.files["2026-11-02"] = {"x"}
    series.decide()
    figure = Figure("seen", 1.0, None, 1.0, "refused", "the same text again")
    series.add(Refused(name="2026-11-02", folder="generations/2026-11-02", why="seen: again", figures=(figure,)))
    text = shown(series)
    assert '<tr class="refused"><td>2026-11-02' in text
    assert "2026-11-02: 1, the same text again" in text
    assert text.count('fill="#c0302b"') == 1


def test_nothing_of_a_log_becomes_markup():
    series = Series()
    series.files["x"] = {"x"}
    series.decide()
    wrong = '<script>alert("1")</script>'
    figures = (Figure(f"pairs:{wrong}", 0.5, why=wrong),)
    series.add(Refused(name="x", folder="generations/x", why=wrong, figures=figures))
    text = shown(series, wrong)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_series_without_figures_is_a_page_too():
    assert b"nothing yet" in page("s", State())
    series = Series()
    series.day("2026-11-01")
    assert "<svg" not in shown(series)


def test_a_curve_says_its_numbers_its_ends_and_what_is_allowed():
    series = Series()
    for day in range(1, 4):
        series.day(f"2026-11-0{day}", words=1000.0 * day)
    series.files["2026-11-04"] = {"x"}
    series.decide()
    figure = Figure("words", 20.0, 500.0, 9000.0, "refused", "too few")
    series.add(Refused(name="2026-11-04", folder="generations/2026-11-04", why="words: too few", figures=(figure,)))
    text = shown(series)
    assert "last 20, lowest 20, highest 3,000; allowed at least 500; allowed at most 9,000" in text
    assert '<div class="ends"><span>2026-11-01</span><span>2026-11-04</span></div>' in text
    assert 'aria-label="words by generation"' in text


def test_on_a_phone_it_is_as_wide_as_the_screen_and_at_night_it_is_dark(tmp_path):
    series = Series()
    for day in range(1, 4):
        series.day(f"2026-11-0{day}", words=1000.0 * day, seen=0.1)
    (tmp_path / "page.html").write_bytes(page("models/topics", series.state))
    with browser() as opened:
        for width, dark in [(390, True), (1300, False)]:
            open_page(opened, tmp_path / "page.html", width, 844, dark)
            assert opened.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
            ground = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(21, 24, 28)") == dark
            assert opened.get_log("browser") == []
