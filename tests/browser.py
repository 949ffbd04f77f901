"""A real browser for tests: pages are opened as a person opens them, and what goes wrong in them is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Frame, Page, sync_playwright

from tests.support import ROOT

VIEWER = "http://viewer.invalid/"  # answered by the test
SCREENSHOTS = ROOT / "out" / "screenshots"  # kept, so that people can look at them after CI has


@dataclass
class Watched:
    """A page in the browser.

    Attributes:
        page: Playwright's.
        complaints: errors and warnings of its console, and exceptions that nothing caught.
        requests: every address that it asked for.
        view: The frame that holds the document: the page's own, or a frame of a viewer.
    """

    page: Page
    view: Frame
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
    watched = Watched(page, page.main_frame)
    page.on("console", lambda message: _note(watched, message.type, message.text))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    return watched


def open_in_viewer(watched: Watched, document: str) -> None:
    """Open a document as MLflow's artifact viewer does: from a blob, in a frame that may run scripts, nothing else."""
    frame = "<iframe sandbox=allow-scripts style='border:0;width:100%;height:95vh'></iframe>"
    viewer = f"<!doctype html><link rel=icon href='data:,'>{frame}"
    watched.page.route(VIEWER, lambda route: route.fulfill(body=viewer, content_type="text/html"))
    watched.page.goto(VIEWER)
    blob = "new Blob([text], {type: 'text/html'})"
    show = f"text => {{ document.querySelector('iframe').src = URL.createObjectURL({blob}) }}"
    watched.page.evaluate(show, document)
    watched.page.frame_locator("iframe").locator("h1").wait_for()
    watched.view = watched.page.frames[1]


def _note(watched: Watched, kind: str, text: str) -> None:
    if kind in {"error", "warning"}:
        watched.complaints.append(f"{kind}: {text}")
