"""A real browser for tests: pages are opened as a person opens them, and what goes wrong in them is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support import ROOT

SCREENSHOTS = ROOT / "out" / "screenshots"  # kept, so that people can look at them after CI has


@dataclass
class Watched:
    """A page in the browser.

    Attributes:
        page: Playwright's.
        complaints: errors and warnings of its console, and exceptions that nothing caught.
        requests: every address that it asked for.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def screenshot(self, name: str, *, whole: bool = False) -> Path:
        """Keep a picture of the page as it is now, or of all of it."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole)
        return path


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window; a test that needs it is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs a browser: chromium is not on the path")
    with sync_playwright() as playwright:
        # As root, as in containers, Chromium runs only without its sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def watch(
    browser: Browser, width: int = 1280, height: int = 900, scheme: Literal["light", "dark"] = "light"
) -> Watched:
    """A new, empty page that is watched from its first request on."""
    page = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ).new_page()
    watched = Watched(page)
    page.on("console", lambda message: _note(watched, message.type, message.text))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    return watched


def _note(watched: Watched, kind: str, text: str) -> None:
    if kind in {"error", "warning"}:
        watched.complaints.append(f"{kind}: {text}")
