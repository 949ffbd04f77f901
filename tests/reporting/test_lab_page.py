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
from playwright.sync_api import Browser, Locator

from harness.data import digits as digits_module
from harness.data.digits import OPTDIGITS, Digits
from harness.data.held_out import Images
from harness.data.imresize import imresize
from harness.engines import registry
from harness.engines.history import TrainingHistory, wrong_images
from harness.network.forward import forward
from harness.network.softmax import my_softmax, my_softmax_stable
from harness.reporting import display
from tests import warm
from tests.browser import VIEWER, Watched, open_in_viewer, watch
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
    def path(self) -> Path:
        return self.folder / "out" / "lab" / "lab.html"

    @property
    def page(self) -> str:
        return self.path.as_uri()


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


@pytest.fixture(params=["disk", "viewer"])
def opened(browser: Browser, run: Run, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """The page, from disk and in MLflow's viewer; nothing may go wrong in it, and it asks for nothing but itself."""
    watched = watch(browser)
    if request.param == "disk":
        watched.page.goto(run.page)
    else:
        open_in_viewer(watched, run.path.read_text())
    yield watched
    assert watched.complaints == []
    assert {address.split("#")[0] for address in watched.requests} <= {run.page, VIEWER, watched.view.url.split("#")[0]}


def test_the_command_says_what_came_out_and_where_the_page_is(run: Run) -> None:
    lines = run.printed.splitlines()
    assert sum(line.startswith("157/157 ") for line in lines) == 100
    for state in run.json["states"]:
        assert f"{state['errors']} errors out of 5000 images after {state['epochs']} epochs" in lines
    assert lines[-1] == f"page: {run.folder / 'out' / 'lab' / 'lab.html'}"
    assert run.json["schema"] == 1
    assert len(list((run.folder / "out" / "lab" / "figures").glob("*.png"))) == 8
    assert run.path.stat().st_size < 3_000_000  # 1.0 MB were seen


@pytest.mark.usefixtures("mnist")
def test_the_page_answers_first_and_folds_the_comparison_into_one_line(run: Run, opened: Watched) -> None:
    errors = run.json["states"][1]["held_out_errors"]
    lead = opened.view.locator(".lead").inner_text()
    assert lead.startswith("After 100 epochs, the network has 0 errors on the 5000 images that it learns from.")
    assert f"On 10,000 images that it has not seen, it has {errors} errors" in lead
    details = opened.view.locator("#numbers")
    summary = details.locator("summary")
    equal = sum(number["same"] for number in run.json["numbers"])
    differ = f"{36 - equal} differ, see X[1015], the errors."
    assert summary.inner_text() == f"{equal} of 36 numbers equal those that the lab's page prints; {differ}"
    row = opened.view.locator("#numbers tr", has=opened.view.get_by_text("loss of epoch 1", exact=True))
    assert not row.is_visible()
    summary.focus()
    opened.page.keyboard.press("Enter")
    for epoch, loss in LOSSES.items():
        row = opened.view.locator("#numbers tr", has=opened.view.get_by_text(f"loss of epoch {epoch}", exact=True))
        assert row.inner_text().split("\t") == [f"loss of epoch {epoch}", "✓ the same", loss, loss]
    assert "This training has 15 errors after 40 epochs and 0 errors after 100." in details.inner_text()
    assert "of two moments of training" in details.inner_text()


def shown(watched: Watched) -> list[float]:
    """The probabilities as a person reads them."""
    return [float(text) for text in watched.view.locator(".entry output").all_inner_texts()]


def widths(watched: Watched) -> list[float]:
    """How wide the bars are, of the whole."""
    width = "getBoundingClientRect().width"
    script = f"bars => bars.map(bar => bar.{width} / bar.parentElement.{width})"
    found: list[float] = watched.view.locator(".entry [id^=bar]").evaluate_all(script)
    return found


def test_before_anything_is_moved_the_softmax_is_that_of_the_labs_vector(opened: Watched) -> None:
    # To all that is shown, 12 digits behind the point.
    assert np.abs(shown(opened) - my_softmax(np.array([1.0, 2, 3, 4]))).max() < 1e-12


def test_sliders_move_the_bars_and_the_numbers(opened: Watched) -> None:
    before = shown(opened), widths(opened)
    slider = opened.view.locator("#range-0")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowRight")
    z = np.array([1.5, 2, 3, 4])
    assert opened.view.locator("#number-0").input_value() == "1.5"
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
            opened.view.locator(f"#number-{place}").fill(repr(float(value)))
        values = opened.view.locator(".entry output").evaluate_all("all => all.map(one => one.dataset.value)")
        exact = np.array(values, float)
        # Both compute in float64, and an exponential may differ by its last bit.
        assert np.abs(exact - my_softmax(z)).max() < 1e-12
        assert np.abs(shown(opened) - my_softmax(z)).max() < 1e-12
        assert opened.view.locator("#overflow").is_hidden()
    opened.view.locator("#number-0").fill("")
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
        opened.view.locator(f"#number-{place}").fill(str(value))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = my_softmax(np.array(z, float))
    assert np.array_equal(shown(opened), expected, equal_nan=True)
    assert opened.view.locator("#overflow").is_visible()
    case = "Underflow: " if z[0] == -800 else "Overflow: the sum" if z[0] == 709.7 else "Overflow: the exponential"
    assert opened.view.locator("#overflow").inner_text().startswith(case)
    right = np.array(opened.view.locator(".values .good").all_inner_texts(), float)
    assert np.abs(right - my_softmax_stable(np.array(z, float))).max() < 1e-12


def test_a_button_sets_all_of_z(opened: Watched) -> None:
    opened.view.get_by_role("button", name="too large").click()
    assert np.isnan(shown(opened)).all()
    assert opened.view.locator(".values .good").first.inner_text() == "0.032058603280"
    opened.screenshot("lab-overflow")
    opened.view.get_by_role("button", name="all equal").click()
    assert shown(opened) == [0.25] * 4
    assert opened.view.locator("#overflow").is_hidden()


def test_at_1000_the_naive_bars_break_beside_working_ones_and_the_switch_shows_them(opened: Watched) -> None:
    page = opened.view
    assert page.locator(".working:visible").count() == 0
    page.get_by_role("button", name="too large").click()
    assert page.locator(".track.broken").count() == 4
    expected = my_softmax(np.array([1.0, 2, 3, 4]))
    width = "getBoundingClientRect().width"
    script = f"bars => bars.map(bar => bar.{width} / bar.parentElement.{width})"
    assert np.abs(np.array(page.locator(".working span").evaluate_all(script)) - expected).max() < 2e-3
    # The slider agrees with the number field beyond 10.
    assert page.locator("#range-3").input_value() == page.locator("#number-3").input_value() == "1003"
    for name in ("stable", "TensorFlow's"):
        page.get_by_label(name, exact=True).check()
        assert np.abs(shown(opened) - expected).max() < 1e-12
        assert page.locator(".track.broken").count() == 0
    page.get_by_label("my_softmax", exact=True).check()
    assert np.isnan(shown(opened)).all()


def probabilities_of(panel: Locator) -> np.ndarray:
    """The probabilities that a panel shows."""
    return np.array(json.loads(panel.get_attribute("data-probabilities") or ""))


@pytest.fixture(scope="session")
def digits() -> Digits:
    """The images of the page."""
    data = os.environ.get(MNIST)
    return digits_module.load(str(Path(data).resolve()) if data else OPTDIGITS)


@pytest.fixture(scope="session")
def trained(run: Run, digits: Digits) -> TrainingHistory:
    """The same training, trained again, with the weights of every epoch."""
    engine = registry.make("graph", digits)
    [history] = engine.train([registry.baseline("graph")], snapshots=range(1, 101))
    assert history.errors.tolist() == run.json["errors"]
    return history


def draw_a_two(watched: Watched) -> None:
    """Draw a digit with the mouse."""
    pad = watched.view.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    points = [(90, 70), (140, 50), (190, 80), (180, 120), (120, 190), (90, 220), (150, 215), (200, 220)]
    mouse = watched.page.mouse
    mouse.move(box["x"] + points[0][0], box["y"] + points[0][1])
    mouse.down()
    for x, y in points[1:]:
        mouse.move(box["x"] + x, box["y"] + y, steps=5)
    mouse.up()


def test_a_drawing_is_read_as_the_model_reads_it(opened: Watched, trained: TrainingHistory) -> None:
    draw_a_two(opened)
    panel = opened.view.locator("#drawn-reading")
    features = np.array(json.loads(panel.get_attribute("data-features") or ""), np.float32)
    image = np.array(json.loads(panel.get_attribute("data-image") or "")).reshape(1, 28, 28)
    assert np.abs(imresize(image)[0].T.ravel() - features).max() < 1e-6
    expected = my_softmax_stable(forward(trained.final.weights, features[None])[-1])[0]
    assert np.abs(probabilities_of(panel) - expected).max() < 1e-5
    assert panel.inner_text().startswith(f"The network reads a {expected.argmax()}.")
    # Scaled and centred like MNIST's images: 20 pixels of 28, with the centre of mass in the middle.
    filled = np.argwhere(image[0] > 0.1)
    assert 19 <= np.ptp(filled, axis=0).max() + 1 <= 22
    centre = (image[0][..., None] * (np.indices((28, 28)).transpose(1, 2, 0) + 0.5)).sum((0, 1)) / image[0].sum()
    assert np.abs(centre - 14).max() < 0.6
    opened.screenshot("lab-drawing")
    opened.view.get_by_role("button", name="Clear").click()
    assert panel.is_hidden()


def test_a_drawing_can_be_made_by_keyboard(opened: Watched) -> None:
    pad = opened.view.locator("#pad")
    pad.focus()
    for key in ("ArrowUp",) * 8 + (" ",) + ("ArrowDown",) * 16:
        pad.press(key)
    assert opened.view.locator("#pen").inner_text() == "Pen down at 140, 220 of 280."
    assert probabilities_of(opened.view.locator("#drawn-reading")).argmax() == 1
    assert opened.view.locator("#drawn-reading .one.best span").first.inner_text() == "1"


def test_a_click_on_one_of_64_digits_shows_the_models_probabilities(
    opened: Watched, trained: TrainingHistory, digits: Digits
) -> None:
    panel, chosen = opened.view.locator("#sample-reading"), display.sample()
    for number in (0, 17, 63):
        opened.view.locator("#samples button").nth(number).click()
        logits = forward(trained.final.weights, digits.features[chosen[number]][None])[-1]
        assert np.abs(probabilities_of(panel) - my_softmax_stable(logits)[0]).max() < 1e-5
        assert panel.inner_text().startswith(f"A {digits.labels[chosen[number]]}, read as {logits.argmax()} ")
    # The grid is one stop of the tab key, and the arrow keys move in its rows of eight.
    buttons = opened.view.locator("#samples button")
    assert buttons.evaluate_all("all => all.filter(one => one.tabIndex === 0).length") == 1
    buttons.nth(0).click()
    for key, place in (("ArrowRight", 1), ("ArrowDown", 9), ("ArrowLeft", 8), ("ArrowUp", 0)):
        opened.page.keyboard.press(key)
        pressed = buttons.evaluate_all("all => all.map(one => one.ariaPressed === 'true')")
        assert np.flatnonzero(pressed).tolist() == [place]


def test_a_click_on_a_wrong_digit_shows_the_probabilities_of_its_epoch(
    opened: Watched, trained: TrainingHistory, digits: Digits
) -> None:
    panel = opened.view.locator("#wrong-reading")
    for epoch, number in ((1, 63), (1, 0), (40, 3)):
        opened.view.locator("#epoch").fill(str(epoch))
        logits = trained.snapshots[epoch].logits
        every = wrong_images(logits, digits.labels)
        wrong = every[-1] if number == 63 else every[number]  # the last of the 64 is the last of all
        opened.view.locator("#gallery button").nth(number).click()
        assert np.abs(probabilities_of(panel) - my_softmax_stable(logits[wrong].astype(float))).max() < 1e-5
        assert panel.inner_text().startswith(
            f"A {digits.labels[wrong]}, read as {logits[wrong].argmax()} after epoch {epoch}."
        )


def test_the_confused_digits_are_counted_and_a_click_shows_them(
    opened: Watched, run: Run, trained: TrainingHistory, digits: Digits
) -> None:
    images: Images = digits
    logits = trained.snapshots[40].logits
    if digits.held_out is not None:
        images, logits = digits.held_out, forward(trained.final.weights, digits.held_out.features)[-1]
        assert (logits.argmax(axis=1) != images.labels).sum() == run.json["states"][1]["held_out_errors"]
    answers = logits.argmax(axis=1)
    buttons = opened.view.locator("#confusion button")
    found = buttons.evaluate_all(
        "all => all.map(one => [one.dataset.label, one.dataset.answer, one.textContent].map(Number))"
    )
    expected = [
        [label, answer, count]
        for label in range(10)
        for answer in range(10)
        if label != answer and (count := int(((images.labels == label) & (answers == answer)).sum()))
    ]
    assert found == expected
    for place in (0, len(found) // 2):
        buttons.nth(place).click()
        label, answer, count = found[place]
        texts = opened.view.locator("#confused-gallery button").all_inner_texts()
        assert [text.strip() for text in texts] == [f"{label}, {answer}"] * count
        first = np.flatnonzero((images.labels == label) & (answers == answer))[0]
        shown = probabilities_of(opened.view.locator("#confused-reading"))
        assert np.abs(shown - my_softmax_stable(logits[first].astype(float))).max() < 1e-5


def test_the_epoch_slider_drives_loss_errors_and_the_lab_s_image(opened: Watched, run: Run) -> None:
    view, slider = opened.view, opened.view.locator("#epoch")
    slider.focus()
    slider.press("Home")
    for epoch in (1, 2, 3):
        loss, errors = run.json["losses"][epoch - 1], run.json["errors"][epoch - 1]
        assert view.locator("#at").inner_text() == f"{epoch} of 100: loss {loss:.4f}, {errors} errors"
        assert view.locator("#log tr.now").inner_text().split("\t") == [f"{epoch}/100", f"{loss:.4f}", str(errors)]
        slider.press("ArrowRight")
    assert view.locator("#gallery canvas").count() == 64
    slider.press("End")
    late = run.json["states"][1]
    assert view.locator("#gallery canvas").count() == min(64, late["errors"])
    texts = view.locator("#two-reading .one > span:last-child").all_inner_texts()
    assert np.abs(np.array(texts, float) - np.array(late["logits_1015"])).max() <= 0.0051
    view.get_by_role("button", name="epoch 40", exact=True).click()
    assert (
        view.locator("#gallery-caption").inner_text().startswith(f"{run.json['errors'][39]} errors out of 5000 images")
    )


def test_log_and_plots_choose_the_epoch_and_mark_it(opened: Watched) -> None:
    view = opened.view
    view.locator("#log tbody tr").nth(69).click()
    assert view.locator("#epoch").input_value() == "70"
    where = "one => { const box = one.getBoundingClientRect(); return [box.left, box.width]; }"
    for name in ("loss", "errors"):
        left, width = view.locator(f"#training-panel-{name}").evaluate(where)
        cursor, thick = view.locator(f"#training-cursor-{name}").evaluate(where)
        assert abs(cursor + thick / 2 - (left + width * 70 / 101)) < 1.5  # pixels
    svg = view.locator("#training svg")
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    panel = view.locator("#training-panel-loss").bounding_box()
    assert box is not None
    assert panel is not None
    opened.page.mouse.click(panel["x"] + panel["width"] * 12 / 101, panel["y"] + panel["height"] / 2)
    assert view.locator("#epoch").input_value() == "12"


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
    ink = watched.page.evaluate("getComputedStyle(document.querySelector('#training svg text')).fill")
    assert ink == watched.page.evaluate("getComputedStyle(document.body).color")
    watched.screenshot(name, whole=True)
    assert watched.complaints == []
    assert watched.requests == [run.page]


def test_on_paper_no_table_is_cut_off_and_the_whole_log_is_there(browser: Browser, run: Run) -> None:
    watched = watch(browser, 680, 900, "dark")  # what A4 leaves between its margins
    watched.page.goto(run.page)
    draw_a_two(watched)
    watched.page.emulate_media(media="print")
    wider = "all => all.filter(one => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight).length"
    assert watched.view.locator(".scroll, .tall").evaluate_all(wider) == 0
    assert watched.page.evaluate("getComputedStyle(document.querySelector('.entry input')).colorScheme") == "light"
    # The comparisons are unfolded, and what was drawn is printed.
    for visible in ("#numbers .beside", "#log tr:last-child", "#pad", "#drawn-reading .best"):
        assert watched.view.locator(visible).first.is_visible()
    # Nothing covers the headings that follow the log.
    bottom = watched.view.locator("#log").evaluate("one => one.getBoundingClientRect().bottom")
    assert watched.view.locator("#prediction").evaluate("one => one.getBoundingClientRect().top") >= bottom
    watched.view.get_by_role("button", name="Clear").evaluate("one => one.click()")
    assert watched.view.locator("#pad").is_hidden()
    watched.screenshot("lab-paper", whole=True)
    assert watched.complaints == []
