"""The site of `make docs`: every page is in its menu, and it opens from a folder, with nothing from the network."""

from __future__ import annotations

import pathlib
import re
import time

import pytest
import yaml

from tests.helpers.browser import browser, open_page
from tools.site_pages import PAGES, site_links

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

SEARCH = """
    const box = document.querySelector("input.md-search__input");
    box.focus();
    box.value = arguments[0];
    box.dispatchEvent(new Event("keyup"));
    return [...document.querySelectorAll("a.md-search-result__link")].map((link) => link.href);
"""
"""Types a word into the search box, and returns where the results lead that are shown by now."""


def leaves(node):
    if isinstance(node, str):
        return [node]
    return [leaf for child in (node.values() if isinstance(node, dict) else node) for leaf in leaves(child)]


def test_every_page_is_in_the_menu_once():
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(leaves(CONFIG["nav"])) == sorted([*pages, *PAGES])


def test_the_first_page_leads_to_all_others():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {link.removeprefix("../") for link in re.findall(r"\]\(([^)#]+)\)", index)}
    assert linked == set(leaves(CONFIG["nav"])) - {"index.md"}


@pytest.mark.parametrize(
    ("markdown", "in_root", "wanted"),
    [
        ("[units](docs/index.md#glossary)", True, "[units](index.md#glossary)"),
        ("[code](CONTRIBUTING.md)", True, "[code](CONTRIBUTING.md)"),
        (
            "[ports](../SECURITY.md), [more](../SECURITY.md#ports)",
            False,
            "[ports](SECURITY.md), [more](SECURITY.md#ports)",
        ),
        ("[options](options.md)", False, "[options](options.md)"),
        ("[no page of the site](../LICENSE)", False, "[no page of the site](../LICENSE)"),
    ],
)
def test_links_are_right_in_both_places(markdown, in_root, wanted):
    assert site_links(markdown, in_root) == wanted


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it: a warning is an error."""
    load_config = pytest.importorskip("mkdocs.config", reason="mkdocs is not installed: make docs").load_config
    pytest.importorskip("material", reason="mkdocs-material is not installed: make docs")
    from mkdocs.commands.build import build
    from mkdocs.exceptions import Abort

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    try:
        build(config)
    except Abort as error:
        pytest.fail(f"{error}: see the log above, or run: make docs")
    return folder


def test_pages_take_nothing_from_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(leaves(CONFIG["nav"]))
    for page in pages:
        taken = re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"?([^\s\">]+)", page.read_text("utf-8")
        )
        assert taken
        assert not [address for address in taken if re.match(r"(?:\w+:)?//", address)]
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:\w+:)?//|@import", style.read_text("utf-8"))


def test_search_works_on_a_page_from_a_folder(site):
    with browser() as opened:
        open_page(opened, site / "index.html", 1300, 900, False)
        end = time.monotonic() + 60
        while not (found := opened.execute_script(SEARCH, "glossary")):
            assert time.monotonic() < end, opened.get_log("browser")
            time.sleep(0.1)
        assert any("/index.html" in link and "#glossary" in link for link in found)
        assert opened.get_log("browser") == []
