"""The lab's pictures: where they are drawn, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.network.softmax import my_softmax
from harness.reporting import display

X = np.random.default_rng(0).random((100, 400))
LABELS = np.arange(100) % 10
PREDICTED = LABELS.copy()
PREDICTED[[5, 17]] = 0, -1

EVERY: dict[str, Callable[[Axes | None], Axes]] = {
    "digit": lambda axes: display.display_digit(X[0], axes),
    "grid": lambda axes: display.display_grid(X[:64], LABELS[:64], axes=axes),
    "errors": lambda axes: display.display_errors(X, LABELS, PREDICTED, axes),
    "no errors": lambda axes: display.display_errors(X, LABELS, LABELS, axes),
    "activations": display.plot_activations,
    "softmax": lambda axes: display.plot_softmax([1, 2, 3, 4], axes),
    "loss": lambda axes: display.plot_loss([1.5, 0.5, np.nan, 0.2], axes),
    "error counts": lambda axes: display.plot_errors([1000, 20, 0, 1], axes),
}


@pytest.fixture(autouse=True)
def _figures_of_pyplot() -> Iterator[None]:
    yield
    plt.close("all")


def blank() -> Axes:
    return Figure(figsize=(5, 5), layout="constrained").add_subplot()


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY.keys())
def test_what_is_given_is_drawn_into_and_nothing_else_is_touched(draw: Callable[[Axes | None], Axes]) -> None:
    before, axes = dict(mpl.rcParams), blank()
    assert draw(axes) is axes
    assert axes.has_data() or axes.texts
    axes.figure.canvas.draw()
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("draw", EVERY.values(), ids=EVERY.keys())
def test_where_nothing_is_given_a_figure_is_made_that_a_notebook_shows(draw: Callable[[Axes | None], Axes]) -> None:
    before = dict(mpl.rcParams)
    axes = draw(None)
    assert plt.get_fignums() == [1]
    assert plt.gcf() is axes.figure
    assert dict(mpl.rcParams) == before


def test_a_digit_stands_upright() -> None:
    [image] = display.display_digit(X[0], blank()).images
    assert (image.get_array() == X[0].reshape(20, 20).T).all()


@pytest.mark.parametrize("count", [1, 3, 8, 9, 64])
def test_a_grid_has_every_image_under_its_label(count: int) -> None:
    axes = display.display_grid(X[:count], LABELS[:count], PREDICTED[:count], blank())
    [drawn] = axes.images
    canvas = np.asarray(drawn.get_array())
    assert texts(axes) == [
        f"{label}, {'-' if taken == -1 else taken}"
        for label, taken in zip(LABELS[:count], PREDICTED[:count], strict=True)
    ]
    for place, text in enumerate(axes.texts):
        centre, above = (round(float(at)) for at in text.get_position())
        tile = canvas[above + 2 : above + 22, centre - 10 : centre + 10]
        assert (tile == X[place].reshape(20, 20).T).all()


def test_only_the_errors_are_drawn() -> None:
    axes = display.display_errors(X, LABELS, PREDICTED, blank())
    assert texts(axes) == ["5, 0", "7, -"]
    assert axes.get_title() == "2 errors out of 100 images"


def test_where_there_is_no_error_it_says_so() -> None:
    assert texts(display.display_errors(X, LABELS, LABELS, blank())) == ["no errors found"]


def test_of_very_many_errors_the_first_are_drawn() -> None:
    axes = display.display_errors(X, LABELS, (LABELS + 1) % 10, blank())
    assert len(axes.texts) == 64
    assert axes.get_title() == "100 errors out of 100 images, the first 64"


def test_bars_are_as_high_as_my_softmax_says() -> None:
    z = np.array([1.0, -2.0, 0.5])
    axes = display.plot_softmax(z, blank())
    assert [patch.get_height() for patch in axes.patches] == my_softmax(z).tolist()  # type: ignore[attr-defined] # bars


def test_a_softmax_that_overflows_is_said_to() -> None:
    axes = display.plot_softmax([1000, 0], blank())
    assert texts(axes) == ["overflow", "0"]


def test_epochs_without_error_are_marked() -> None:
    line, marks = display.plot_errors([9, 0, 2, 0], blank()).lines
    assert np.asarray(line.get_xdata()).tolist() == [1, 2, 3, 4]
    assert np.asarray(marks.get_xdata()).tolist() == [2, 4]


def test_a_sample_is_the_same_for_a_seed() -> None:
    assert (display.sample() == display.sample()).all()
    assert (display.sample(seed=1) != display.sample()).any()
    assert len(display.sample(5)) == 5
