"""A headless Chromium for tests of pages, driven by Selenium; skipped with a reason where there is none."""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SWITCHES = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A browser of its own profile that keeps what pages write to the console."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no Chromium with chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for switch in (*_SWITCHES, f"user-data-dir={profile}"):
            options.add_argument(f"--{switch}")
        opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield opened
        finally:
            opened.quit()


def open_page(opened: Any, path: pathlib.Path, width: int, height: int, dark: bool, medium: str = "") -> None:
    """Show a local file on a screen of this size and theme, or as the medium "print" has it."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme], "media": medium})
    opened.get(path.as_uri())


def keep_picture(opened: Any, name: str) -> None:
    """Keeps a picture of the whole page as SCREENSHOTS/name.png, where that variable names a folder."""
    if not (folder := os.environ.get("SCREENSHOTS")):
        return
    width, height = opened.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = opened.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    (pathlib.Path(folder) / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))
