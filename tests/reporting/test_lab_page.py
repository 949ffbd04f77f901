"""``harness lab`` as a user runs it, and its page in a real browser."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from playwright.sync_api import Browser

from harness.data.digits import OPTDIGITS
from harness.network.softmax import my_softmax
from tests import warm
from tests.browser import Watched, watch
from tests.conftest import MNIST
from tests.shared import Shared

pytestmark = pytest.mark.slow

LOSSES = {1: "1.7094", 2: "0.7480", 3: "0.4428", 38: "0.0344", 39: "0.0312", 40: "0.0294"}


@dataclass(frozen=True)
class Run:
    """What the command left behind."""

    folder: Path
    printed: str
    json: dict[str, Any]

    @property
    def page(self) -> str:
        return (self.folder / "out" / "lab" / "lab.html").as_uri()


@pytest.fixture(scope="session")
def run(shared: Shared) -> Run:
    """The command, run once for all tests."""

    def make(folder: Path) -> None:
        data = os.environ.get(MNIST)
        command = ["lab", "--data", str(Path(data).resolve()) if data else OPTDIGITS, "--json", "lab.json"]
        done = warm.run(command, folder, os.environ, folder)
        assert done.returncode == 0, done.stderr

    folder = shared.folder("lab", make)
    return Run(folder, (folder / "stdout").read_text(), json.loads((folder / "lab.json").read_text()))


@pytest.fixture
def opened(browser: Browser, run: Run) -> Iterator[Watched]:
    """The page, opened from disk; nothing may go wrong in it, and it asks for nothing but itself."""
    watched = watch(browser)
    watched.page.goto(run.page)
    yield watched
    assert watched.complaints == []
    assert watched.requests == [run.page]


def test_the_command_says_what_came_out_and_where_the_page_is(run: Run) -> None:
    lines = run.printed.splitlines()
    assert sum(line.startswith("157/157 ") for line in lines) == 100
    for state in run.json["states"]:
        assert f"{state['errors']} errors out of 5000 images after {state['epochs']} epochs" in lines
    assert lines[-1] == f"page: {run.folder / 'out' / 'lab' / 'lab.html'}"
    assert run.json["schema"] == 1
    assert len(list((run.folder / "out" / "lab" / "figures").glob("*.png"))) == 9
    assert (run.folder / "out" / "lab" / "lab.html").stat().st_size < 400_000  # 194 KB were seen


@pytest.mark.usefixtures("mnist")
def test_the_labs_six_losses_are_ticked(run: Run, opened: Watched) -> None:
    assert "6 of the 6 losses of the lab's log are the same" in run.printed
    for epoch, loss in LOSSES.items():
        row = opened.page.locator(".beside tr", has=opened.page.get_by_text(f"loss of epoch {epoch}", exact=True))
        assert row.inner_text().split("\t") == [f"loss of epoch {epoch}", "✓ the same", loss, loss]
    assert opened.page.locator(".lead + p").inner_text().startswith("Numbers that the lab's page prints")


@pytest.mark.usefixtures("mnist")
def test_the_errors_after_the_labs_epochs_and_after_more_are_both_shown(opened: Watched) -> None:
    words = opened.page.inner_text("body")
    assert "This training has 15 errors after 40 epochs and no error after 100." in words
    assert "of two moments of training" in words
    assert opened.page.locator("#errors-40").get_by_text("15 errors out of 5000 images").count() == 1
    assert opened.page.locator("#errors-100").get_by_text("no errors found").count() == 1


def shown(watched: Watched) -> list[float]:
    """The probabilities as a person reads them."""
    return [float(text) for text in watched.page.locator(".entry output").all_inner_texts()]


def widths(watched: Watched) -> list[float]:
    """How wide the bars are, of the whole."""
    width = "getBoundingClientRect().width"
    script = f"bars => bars.map(bar => bar.{width} / bar.parentElement.{width})"
    found: list[float] = watched.page.locator(".bar span").evaluate_all(script)
    return found


def test_before_anything_is_moved_the_softmax_is_that_of_the_labs_vector(opened: Watched) -> None:
    # To all that is shown, 12 digits behind the point.
    assert np.abs(shown(opened) - my_softmax(np.array([1.0, 2, 3, 4]))).max() < 1e-12


def test_sliders_move_the_bars_and_the_numbers(opened: Watched) -> None:
    before = shown(opened), widths(opened)
    slider = opened.page.locator("#range-0")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowRight")
    z = np.array([1.5, 2, 3, 4])
    assert opened.page.locator("#number-0").input_value() == "1.5"
    assert np.abs(shown(opened) - my_softmax(z)).max() < 1e-12
    assert np.abs(widths(opened) - my_softmax(z)).max() < 1e-3  # a pixel of a thousand
    assert shown(opened)[0] > before[0][0]
    assert widths(opened)[0] > before[1][0]
    slider.press("End")
    assert np.abs(shown(opened) - my_softmax(np.array([10.0, 2, 3, 4]))).max() < 1e-12
    opened.screenshot("lab-softmax")


def test_numbers_are_those_of_my_softmax(opened: Watched) -> None:
    random = np.random.default_rng(0)
    vectors = [random.normal(0, scale, 4) for scale in (1, 10, 100) for _ in range(6)]
    vectors += [np.array(z) for z in ([0.0, 0, 0, 0], [709, 0, 1, -700], [-700.0, -701, -702, -703])]
    for z in vectors:
        for place, value in enumerate(z):
            opened.page.locator(f"#number-{place}").fill(repr(float(value)))
        values = opened.page.locator(".entry output").evaluate_all("all => all.map(one => one.dataset.value)")
        exact = np.array(values, float)
        # Both compute in float64, and an exponential may differ by its last bit.
        assert np.abs(exact - my_softmax(z)).max() < 1e-12
        assert np.abs(shown(opened) - my_softmax(z)).max() < 1e-12
        assert opened.page.locator("#overflow").is_hidden()
    opened.page.locator("#number-0").fill("")
    assert np.abs(shown(opened) - my_softmax(vectors[-1])).max() < 1e-12  # what is no number changes nothing


@pytest.mark.parametrize(
    "z",
    [
        (1000, 1001, 1002, 1003),  # infinity by infinity
        (710, 0, 0, 0),  # one of them, the others by infinity
        (709.7, 709.7, 0, 0),  # finite ones, by their sum, which is infinite
        (-800, -801, -802, -803),  # zero by zero
    ],
)
def test_what_overflows_my_softmax_overflows_here_and_the_page_says_so(opened: Watched, z: tuple[float, ...]) -> None:
    for place, value in enumerate(z):
        opened.page.locator(f"#number-{place}").fill(str(value))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = my_softmax(np.array(z, float))
    assert np.array_equal(shown(opened), expected, equal_nan=True)
    assert opened.page.locator("#overflow").is_visible()
    assert "With the largest entry taken off first it is " in opened.page.locator("#overflow").inner_text()


def test_a_button_sets_all_of_z(opened: Watched) -> None:
    opened.page.get_by_role("button", name="too large").click()
    assert np.isnan(shown(opened)).all()
    assert "0.03206, 0.08714, 0.2369, 0.6439" in opened.page.locator("#overflow").inner_text()
    opened.screenshot("lab-overflow")
    opened.page.get_by_role("button", name="all equal").click()
    assert shown(opened) == [0.25] * 4
    assert opened.page.locator("#overflow").is_hidden()


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("lab-desktop", 1280, 900, "light"),
        ("lab-phone", 390, 844, "light"),
        ("lab-dark", 1280, 900, "dark"),
    ],
)
def test_the_page_fits_and_follows_the_scheme(
    browser: Browser, run: Run, name: str, width: int, height: int, scheme: Literal["light", "dark"]
) -> None:
    watched = watch(browser, width, height, scheme)
    watched.page.goto(run.page)
    assert watched.page.evaluate("document.documentElement.scrollWidth") == width
    ink = watched.page.evaluate("getComputedStyle(document.querySelector('#loss svg text')).fill")
    assert ink == watched.page.evaluate("getComputedStyle(document.body).color")
    watched.screenshot(name, whole=True)
    assert watched.complaints == []
    assert watched.requests == [run.page]


def test_on_paper_no_table_is_cut_off_and_the_whole_log_is_there(browser: Browser, run: Run) -> None:
    watched = watch(browser, 680, 900, "dark")  # what A4 leaves between its margins
    watched.page.goto(run.page)
    watched.page.emulate_media(media="print")
    wider = "all => all.filter(one => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight).length"
    assert watched.page.locator(".scroll, .tall").evaluate_all(wider) == 0
    assert watched.page.evaluate("getComputedStyle(document.querySelector('.entry input')).colorScheme") == "light"
