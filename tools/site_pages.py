"""Pages that lie in the project's folder become pages of the site, and links lead to them from either place.

MkDocs calls the functions here (`hooks` in mkdocs.yml). A code host shows ARCHITECTURE.md in the project's folder and
the other pages in docs/; on the site all of them are in one folder. There is one copy of each.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Of the project's folder, beside those of docs/."""
_TO_DOCS = re.compile(r"\]\(docs/")
_TO_ROOT = re.compile(r"\]\(\.\./(?=(?:" + "|".join(map(re.escape, PAGES)) + r")[)#])")


def on_files(files: Any, config: Any) -> Any:
    """MkDocs' event: the files of the site, with PAGES among them."""
    from mkdocs.structure.files import File

    for name in PAGES:
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs' event: a page's text, with its links as they are on the site."""
    return site_links(markdown, page.file.src_uri in PAGES)


def site_links(markdown: str, in_root: bool) -> str:
    """The text with links for pages that all lie in one folder.

    >>> site_links("[units](docs/index.md#glossary)", in_root=True)
    '[units](index.md#glossary)'
    >>> site_links("[ports](../SECURITY.md)", in_root=False)
    '[ports](SECURITY.md)'
    """
    return _TO_DOCS.sub("](", markdown) if in_root else _TO_ROOT.sub("](", markdown)
