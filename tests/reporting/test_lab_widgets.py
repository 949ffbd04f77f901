"""The lab's sliders for notebooks, moved by code, and without ipywidgets."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import ipywidgets  # type: ignore[import-untyped] # it ships no types
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from harness.data.digits import Digits
from harness.lab.results import Lab
from harness.network.softmax import my_softmax
from harness.reporting import lab_widgets
from tests.reporting.test_lab import FALLING, made_up


@pytest.fixture(autouse=True)
def _figures() -> Iterator[None]:
    """No window and no old figures."""
    plt.switch_backend("agg")
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def lab(optdigits: Digits) -> Lab:
    return made_up(optdigits, FALLING)


def control(widget: ipywidgets.interactive, name: str) -> ipywidgets.Widget:
    [found] = [child for child in widget.children if getattr(child, "description", None) == name]
    return found


def heights(axes: Axes) -> list[float]:
    """The heights of the bars of an Axes."""
    return [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]


def widths(axes: Axes) -> list[float]:
    """The lengths of the horizontal bars of an Axes."""
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]


def test_numbers_and_switch_drive_the_bars_of_z_and_softmax() -> None:
    widget = lab_widgets.play_softmax()
    for place, z in enumerate((2.0, 0, 0, 1)):
        control(widget, f"z{place}").value = z
    left, right = plt.gcf().axes
    assert widths(left) == [2, 0, 0, 1]
    assert np.allclose(widths(right), my_softmax(np.array([2.0, 0, 0, 1])))
    assert right.get_xlabel() == "my_softmax(z)"
    for place in range(4):
        control(widget, f"z{place}").value = 1000
    assert [text.get_text() for text in plt.gcf().axes[1].texts] == ["nan: overflow"] * 4
    for way in ("stable", "TensorFlow's"):
        control(widget, "way").value = way
        assert [text.get_text() for text in plt.gcf().axes[1].texts] == ["0.25"] * 4


def test_the_epoch_drives_loss_prediction_and_errors(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    widget = lab_widgets.play_epochs(lab)
    control(widget, "epoch").value = 3
    assert capsys.readouterr().out.endswith(f"epoch 3: loss 0.5000, {FALLING[2]} errors\n")
    loss, prediction, errors = (plt.figure(number).axes for number in plt.get_fignums()[-3:])
    assert np.asarray(loss[0].lines[-1].get_xdata()).tolist() == [3, 3]
    assert int(np.argmax(heights(prediction[1]))) == lab.history.snapshots[3].logits[1015].argmax()
    assert errors[0].get_title() == f"{FALLING[2]} errors out of 5000 images, the first 64"


def test_the_index_drives_an_image_and_its_probabilities(lab: Lab) -> None:
    widget = lab_widgets.play_digit(lab)
    control(widget, "index").value = 4999
    image, probabilities = plt.gcf().axes
    assert np.array_equal(np.asarray(image.images[0].get_array()), lab.digits.x[4999].reshape(20, 20).T)
    assert int(np.argmax(heights(probabilities))) == lab.digits.labels[4999]


def test_the_page_stands_in_a_frame_that_runs_scripts_and_nothing_else(lab: Lab) -> None:
    html = lab_widgets.page(lab)._repr_html_()
    assert html.startswith('<iframe sandbox="allow-scripts"')
    assert "&lt;canvas id=&quot;pad&quot;" in html


def test_without_ipywidgets_the_figures_stand_still(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for play in (lab_widgets.play_softmax, lambda: lab_widgets.play_epochs(lab), lambda: lab_widgets.play_digit(lab)):
        assert play() is None
        assert "pip install 'zero-errors[notebook]'" in capsys.readouterr().out
    assert len(plt.get_fignums()) == 5
