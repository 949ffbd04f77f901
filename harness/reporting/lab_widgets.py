"""The lab's interactive parts for a notebook: sliders by ipywidgets, and the lab's page in a frame."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.engines.training import LAB_IMAGE_OF_TWO
from harness.lab.results import EPOCHS, VECTORS, Lab
from harness.network.softmax import my_softmax, my_softmax_stable, tensorflow_softmax
from harness.reporting import display, lab_page

_PAGE_HEIGHT = 700  # In pixels.
# The softmax functions among which the user of the notebook chooses, by name.
SOFTMAXES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.floating]]] = {
    "my_softmax": my_softmax,
    "stable": my_softmax_stable,
    "TensorFlow's": tensorflow_softmax,
}


@dataclass(frozen=True)
class Frame:
    """A document that a notebook shows in a frame of its own.

    Attributes:
        document: HTML of the document. It runs its scripts and reads nothing of the notebook.
    """

    document: str

    def _repr_html_(self) -> str:
        size = f'width="100%" height="{_PAGE_HEIGHT}" style="border: 0"'
        return f'<iframe sandbox="allow-scripts" {size} srcdoc="{html.escape(self.document)}"></iframe>'


def play_softmax() -> Any:  # noqa: ANN401 - ipywidgets has no types
    """Show bar charts of z and of its softmax. The user sets the four entries of z and chooses the softmax function.

    Returns:
        A widget. None without ipywidgets: the charts then show the lab's vector.
    """
    numbers = {f"z{place}": z for place, z in enumerate(VECTORS["the lab's"])}

    def draw(way: str, **z: float) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # my_softmax overflows at 710
            display.plot_z_and_softmax(list(z.values()), SOFTMAXES[way], way)

    return _interactive(draw, {"way": list(SOFTMAXES)}, numbers)


def play_epochs(lab: Lab) -> Any:  # noqa: ANN401 - ipywidgets has no types
    """Show the loss, the prediction of ``X[1015]`` and the wrong images of an epoch. A slider chooses the epoch.

    Returns:
        A widget. None without ipywidgets: the figures then show epoch 40, the last one of the lab's log.
    """

    def draw(epoch: int) -> None:
        history, digits = lab.history, lab.digits
        logits = history.snapshots[epoch].logits
        print(f"epoch {epoch}: loss {history.losses[epoch - 1]:.4f}, {history.errors[epoch - 1]} errors")
        display.plot_loss(history.losses).axvline(epoch, color="gray")
        display.plot_probabilities(digits.x[LAB_IMAGE_OF_TWO], logits[LAB_IMAGE_OF_TWO])
        display.display_errors(digits.x, digits.labels, logits.argmax(axis=1))

    return _interactive(draw, {"epoch": (1, lab.history.variant.epochs)}, {"epoch": EPOCHS})


def play_digit(lab: Lab) -> Any:  # noqa: ANN401 - ipywidgets has no types
    """Show an image and its ten probabilities after the last epoch. A slider chooses one of the 5000 images.

    Returns:
        A widget. None without ipywidgets: the figure then shows ``X[1015]``.
    """

    def draw(index: int) -> None:
        display.plot_probabilities(lab.digits.x[index], lab.history.final.logits[index])

    return _interactive(draw, {"index": (0, len(lab.digits.labels) - 1)}, {"index": LAB_IMAGE_OF_TWO})


def page(lab: Lab) -> Frame:
    """The lab's page in a frame, including the box in which the user draws a digit. It needs no ipywidgets."""
    with TemporaryDirectory() as folder:
        return Frame(lab_page.write(lab, Path(folder)).read_text(encoding="utf-8"))


def _interactive(draw: Callable[..., None], controls: dict[str, Any], values: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return a widget that calls ``draw`` whenever the user changes a control.

    Without ipywidgets, call ``draw`` once with the initial values, and return None.

    Args:
        draw: Function that draws with pyplot.
        controls: Control of an argument of ``draw``, by name: a range ``(lowest, highest)``, which becomes a slider, or
            a list of choices, which become buttons. The first choice is the initial one.
        values: Initial value of each argument that is a number. An argument without a control becomes a number
            field.
    """
    try:
        import ipywidgets  # type: ignore[import-untyped] # it ships no types
    except ImportError:
        print("Sliders need ipywidgets: pip install 'zero-errors[notebook]'")
        first = {name: choice[0] for name, choice in controls.items() if name not in values}
        return draw(**first, **values)
    made = {name: ipywidgets.FloatText(value, description=name) for name, value in values.items()}
    for name, choice in controls.items():
        if isinstance(choice, tuple):
            made[name] = ipywidgets.IntSlider(values[name], *choice, description=name, continuous_update=False)
        else:
            made[name] = ipywidgets.ToggleButtons(options=choice, description=name)
    return ipywidgets.interactive(draw, **made)
