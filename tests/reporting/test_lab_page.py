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

from harness.data import digits as digits_module
from harness.data.digits import OPTDIGITS
from harness.data.imresize import imresize
from harness.engines import registry
from harness.network.forward import forward
from harness.network.softmax import my_softmax, my_softmax_stable
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
    assert (run.folder / "out" / "lab" / "lab.html").stat().st_size < 3_000_000  # 547 KB were seen


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
    assert "With the largest entry subtracted first it is " in opened.page.locator("#overflow").inner_text()


def test_a_button_sets_all_of_z(opened: Watched) -> None:
    opened.page.get_by_role("button", name="too large").click()
    assert np.isnan(shown(opened)).all()
    assert "0.03206, 0.08714, 0.2369, 0.6439" in opened.page.locator("#overflow").inner_text()
    opened.screenshot("lab-overflow")
    opened.page.get_by_role("button", name="all equal").click()
    assert shown(opened) == [0.25] * 4
    assert opened.page.locator("#overflow").is_hidden()


def test_at_1000_the_naive_bars_break_beside_working_ones_and_the_switch_shows_them(opened: Watched) -> None:
    page = opened.page
    assert page.locator(".working:visible").count() == 0
    page.get_by_role("button", name="too large").click()
    assert page.locator(".bar.broken").count() == 4
    expected = my_softmax(np.array([1.0, 2, 3, 4]))
    width = "getBoundingClientRect().width"
    script = f"bars => bars.map(bar => bar.{width} / bar.parentElement.{width})"
    assert np.abs(np.array(page.locator(".working span").evaluate_all(script)) - expected).max() < 2e-3
    # The slider agrees with the number field beyond 10.
    assert page.locator("#range-3").input_value() == page.locator("#number-3").input_value() == "1003"
    for name in ("stable", "TensorFlow's"):
        page.get_by_label(name, exact=True).check()
        assert np.abs(shown(opened) - expected).max() < 1e-12
        assert page.locator(".bar.broken").count() == 0
    page.get_by_label("my_softmax", exact=True).check()
    assert np.isnan(shown(opened)).all()


def reading(watched: Watched) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that the network reads, and the probabilities that it gives."""
    place = watched.page.locator("#reading")
    found = [json.loads(place.get_attribute(f"data-{name}") or "[]") for name in ("features", "probabilities")]
    return np.array(found[0], np.float32), np.array(found[1])


@pytest.fixture
def network(run: Run) -> list[np.ndarray]:
    """The weights of the same training, trained again."""
    data = os.environ.get(MNIST)
    digits = digits_module.load(str(Path(data).resolve()) if data else OPTDIGITS)
    engine = registry.make("graph", digits)
    [history] = engine.train([registry.baseline("graph")])
    assert history.errors.tolist() == run.json["errors"]
    return [weight.copy() for weight in history.final.weights]


def test_a_drawing_is_read_as_the_model_reads_it(opened: Watched, network: list[np.ndarray]) -> None:
    pad = opened.page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    points = [(90, 70), (140, 50), (190, 80), (180, 120), (120, 190), (90, 220), (150, 215), (200, 220)]
    mouse = opened.page.mouse
    mouse.move(box["x"] + points[0][0], box["y"] + points[0][1])
    mouse.down()
    for x, y in points[1:]:
        mouse.move(box["x"] + x, box["y"] + y, steps=5)
    mouse.up()
    features, probabilities = reading(opened)
    image = np.array(json.loads(pad.get_attribute("data-image") or "")).reshape(1, 28, 28)
    assert np.abs(imresize(image)[0].T.ravel() - features).max() < 1e-6
    expected = my_softmax_stable(forward(network, features[None])[-1])[0]
    assert np.abs(probabilities - expected).max() < 1e-5
    # Scaled and centred like MNIST's images: 20 pixels of 28, with the centre of mass in the middle.
    filled = np.argwhere(image[0] > 0.1)
    assert 19 <= np.ptp(filled, axis=0).max() + 1 <= 22
    centre = (image[0][..., None] * (np.indices((28, 28)).transpose(1, 2, 0) + 0.5)).sum((0, 1)) / image[0].sum()
    assert np.abs(centre - 14).max() < 0.6
    opened.page.get_by_role("button", name="Clear").click()
    assert opened.page.locator("#reading .one").count() == 0
    opened.screenshot("lab-drawing")


def test_a_drawing_can_be_made_by_keyboard(opened: Watched) -> None:
    pad = opened.page.locator("#pad")
    pad.focus()
    for key in ("ArrowUp",) * 8 + (" ",) + ("ArrowDown",) * 16:
        pad.press(key)
    _, probabilities = reading(opened)
    assert probabilities.argmax() == 1
    assert opened.page.locator("#reading .one.best span").first.inner_text() == "1"


def test_a_click_on_any_digit_shows_the_models_probabilities(opened: Watched, network: list[np.ndarray]) -> None:
    for number in (0, 17, 63):
        opened.page.locator("#samples button").nth(number).click()
        features, probabilities = reading(opened)
        expected = my_softmax_stable(forward(network, features[None])[-1])[0]
        assert np.abs(probabilities - expected).max() < 1e-5
    opened.page.locator("#samples button").nth(5).focus()
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#reading .one").count() == 10


def test_the_epoch_slider_drives_loss_errors_and_the_lab_s_image(opened: Watched, run: Run) -> None:
    slider = opened.page.locator("#epoch")
    slider.focus()
    slider.press("Home")
    for epoch in (1, 2, 3):
        said = opened.page.locator("#at").inner_text()
        assert (
            said == f"{epoch} of 100: loss {run.json['losses'][epoch - 1]:.4f}, {run.json['errors'][epoch - 1]} errors"
        )
        slider.press("ArrowRight")
    assert opened.page.locator("#gallery canvas").count() == 24
    slider.press("End")
    late = run.json["states"][1]
    assert opened.page.locator("#gallery canvas").count() == min(24, late["errors"])
    texts = opened.page.locator("#two-logits .one span:last-child").all_inner_texts()
    assert np.abs(np.array(texts, float) - np.array(late["logits_1015"])).max() <= 0.0051


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
