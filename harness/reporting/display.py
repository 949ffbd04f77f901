"""The lab's pictures, for notebooks and pages. Each function draws into an Axes and returns it.

Without an Axes, the function creates a figure with pyplot, so that a notebook shows it. With an Axes, it uses neither
pyplot nor global settings of matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from harness.network.softmax import my_softmax, my_softmax_stable

# Okabe and Ito's palette, as in `charts`. Lines also differ in their dashes.
_BLUE, _VERMILLION, _GREEN, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
_SIDE = 20  # The width and height of an image, in pixels.
_ACROSS = 8  # The number of images in a row of a grid.
_MOST = 64  # The default number of random images in a grid. Also the largest number of wrong images.
_GAP, _HEADING = 4, 11  # The space between images, and the space above an image for its label, in pixels.
_NO_DIGIT = -1

Labels = Sequence[int] | NDArray[np.integer]


def sample(images: int = _MOST, seed: int = 0) -> NDArray[np.int64]:
    """Random indices of the 5000 images. They depend only on the seed. An index may occur twice, as in the lab.

    Args:
        images: Number of indices.
        seed: Seed of the random numbers.
    """
    return np.random.default_rng(seed).integers(5000, size=images)


def display_digit(row: NDArray[np.floating], axes: Axes | None = None) -> Axes:
    """Draw one image.

    Args:
        row: Image, ``(400,)``, unrolled column by column.
        axes: Axes to draw into.
    """
    axes = _axes(axes, 2.4, 2.4)
    axes.imshow(_upright(row), cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes.set_axis_off()
    return axes


def display_grid(
    x: NDArray[np.floating], labels: Labels, predicted: Labels | None = None, axes: Axes | None = None
) -> Axes:
    """Draw images in rows of eight, each with its label, and with its predicted digit if predictions are given.

    Args:
        x: Images to draw, ``(n, 400)``, at least one.
        labels: Labels of these images, ``(n,)``.
        predicted: Predicted digits, ``(n,)``. -1 means no digit, and is drawn as a dash.
        axes: Axes to draw into.
    """
    count = len(x)
    across, down = min(_ACROSS, count), -(-count // _ACROSS)
    axes = _axes(axes, 0.2 + 0.62 * _ACROSS, 0.4 + 0.85 * down)
    width, height = _SIDE + _GAP, _SIDE + _HEADING
    # The space between the images is transparent, so that it has the colour of the page.
    canvas = np.full((down * height, _ACROSS * width - _GAP), np.nan)
    for place, row in enumerate(x):
        top, left = place // _ACROSS * height + _HEADING, place % _ACROSS * width
        canvas[top : top + _SIDE, left : left + _SIDE] = np.clip(_upright(row), 0, 1)
        text = f"{labels[place]}" if predicted is None else f"{labels[place]}, {_digit(predicted[place])}"
        axes.text(left + _SIDE / 2 - 0.5, top - 2, text, ha="center", va="bottom", fontsize=9)
    shown = canvas[:, : across * width - _GAP] if down == 1 else canvas
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes.set_axis_off()
    axes.set_title("label" if predicted is None else "label, prediction")
    return axes


def display_errors(x: NDArray[np.floating], labels: Labels, predicted: Labels, axes: Axes | None = None) -> Axes:
    """Draw the misclassified images, each with its label and its predicted digit.

    If there are more than 64, only the first 64 are drawn, and the title says so.

    Args:
        x: All images, ``(n, 400)``.
        labels: Labels of all images, ``(n,)``.
        predicted: Predicted digits of all images, ``(n,)``; -1 means no digit.
        axes: Axes to draw into.
    """
    wrong = np.flatnonzero(np.asarray(labels) != np.asarray(predicted))
    if not len(wrong):
        axes = _axes(axes, 4, 0.8)
        axes.text(0.5, 0.5, "no errors found", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return axes
    first = wrong[:_MOST]
    axes = display_grid(x[first], np.asarray(labels)[first], np.asarray(predicted)[first], axes)
    many = f"{len(wrong)} error{'' if len(wrong) == 1 else 's'} out of {len(x)} images"
    axes.set_title(many if len(first) == len(wrong) else f"{many}, the first {_MOST}")
    return axes


def plot_activations(axes: Axes | None = None) -> Axes:
    """Plot three activation functions (linear, ReLU and sigmoid) for z from -4 to 4."""
    axes = _axes(axes, 5.4, 3.6)
    z = np.linspace(-4, 4, 161)
    axes.plot(z, z, color=_GREEN, linestyle=(0, (5, 3)), label="linear: z")
    axes.plot(z, np.maximum(0, z), color=_BLUE, linewidth=2.2, label="ReLU: the larger of 0 and z")
    axes.plot(z, 1 / (1 + np.exp(-z)), color=_VERMILLION, linestyle=(0, (1, 1)), label="sigmoid: 1 / (1 + exp(-z))")
    axes.legend(frameon=False, loc="upper left")
    axes.set_xlabel("z")
    axes.set_ylabel("activation")
    return _open(axes)


def plot_softmax(z: ArrayLike, axes: Axes | None = None) -> Axes:
    """Plot ``my_softmax`` of a vector: one bar for each entry, with its probability above and its z below.

    Args:
        z: Vector, ``(n,)``. An entry whose exponential overflows has a text instead of a bar.
        axes: Axes to draw into.
    """
    entries = np.asarray(z, np.float64)
    axes = _axes(axes, max(3.6, 0.8 * len(entries)), 3.2)
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = my_softmax(entries)
    for place, probability in enumerate(probabilities):
        if np.isfinite(probability):
            axes.bar(place, probability, color=_BLUE)
            axes.text(place, probability + 0.01, f"{probability:.3g}", ha="center", va="bottom", fontsize=9)
        else:
            axes.text(place, 0.01, "overflow", ha="center", va="bottom", fontsize=9)
    axes.set_xticks(range(len(entries)), [f"{entry:.3g}" if abs(entry) < 1000 else f"{entry:g}" for entry in entries])
    axes.set_xlim(-0.6, len(entries) - 0.4)
    axes.set_ylim(0, 1.08)
    axes.set_xlabel("z")
    axes.set_ylabel("my_softmax(z)")
    return _open(axes)


def plot_z_and_softmax(z: ArrayLike, softmax: Callable[[NDArray[np.float64]], ArrayLike], name: str) -> Axes:
    """Plot a vector and its softmax side by side: one pair of bars for each entry. An overflow is shown as text.

    Args:
        z: Vector, ``(n,)``.
        softmax: Function of the vector, with a result of shape ``(n,)``.
        name: Name of the function, for the label of the axis.

    Returns:
        The Axes of the softmax.
    """
    from matplotlib import pyplot as plt

    entries = np.asarray(z, np.float64)
    probabilities = np.asarray(softmax(entries))
    _, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(7.2, 2.6), layout="constrained")
    places = np.arange(len(entries))
    left.barh(places, entries, color=_ORANGE)
    left.set_yticks(places, [f"z{place}" for place in places])
    left.invert_yaxis()
    left.set_xlabel("z")
    for place, probability in enumerate(probabilities):
        finite = np.isfinite(probability)
        right.barh(place, probability if finite else 0, color=_BLUE)
        right.text(0.01, place, f"{probability:.6g}" if finite else f"{probability}: overflow", va="center", fontsize=9)
    right.set_xlim(0, 1)
    right.set_xlabel(f"{name}(z)")
    _open(left)
    return _open(right)


def plot_probabilities(row: NDArray[np.floating], logits: NDArray[np.floating]) -> Axes:
    """Plot an image beside the network's ten probabilities.

    Args:
        row: Image, ``(400,)``, unrolled column by column.
        logits: Logits of the image, ``(10,)``.

    Returns:
        The Axes of the probabilities.
    """
    from matplotlib import pyplot as plt

    _, (image, bars) = plt.subplots(1, 2, figsize=(6, 2.4), width_ratios=(1, 2.4), layout="constrained")
    display_digit(row, image)
    bars.bar(range(len(logits)), my_softmax_stable(logits.astype(np.float64)), color=_BLUE)
    bars.set_xticks(range(len(logits)))
    bars.set_ylim(0, 1)
    bars.set_xlabel("digit")
    bars.set_ylabel("probability")
    return _open(bars)


def plot_loss(losses: Sequence[float] | NDArray[np.floating], axes: Axes | None = None) -> Axes:
    """Plot the loss of each epoch, ``(epochs,)``, from epoch 1. Losses that are not finite leave a gap."""
    axes = _axes(axes, 6, 3.4)
    axes.plot(range(1, len(losses) + 1), losses, color=_BLUE)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (cross-entropy)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return _open(axes)


def plot_errors(errors: Sequence[int] | NDArray[np.integer], axes: Axes | None = None) -> Axes:
    """Plot the number of wrong images after each epoch, ``(epochs,)``. Markers show the epochs with zero errors."""
    axes = _axes(axes, 6, 3.4)
    counts = np.asarray(errors)
    epochs = np.arange(1, len(counts) + 1)
    axes.plot(epochs, counts, color=_BLUE)
    zero = counts == 0
    axes.plot(epochs[zero], counts[zero], "o", color=_VERMILLION, markersize=3.5, label="no error")
    # Logarithmic above 1, so that 1 and 1000 are both visible, and linear below, so that 0 has a position.
    axes.set_yscale("symlog", linthresh=1, linscale=0.5)
    ticks = [0, *(10**power for power in range(4) if 10**power <= max(1, counts.max()))]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(bottom=-0.2)
    axes.set_xlim(left=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("errors on the 5000 images")
    if zero.any():
        axes.legend(frameon=False)
    return _open(axes)


def _axes(axes: Axes | None, width: float, height: float) -> Axes:
    """The given Axes, or the Axes of a new figure with this size in inches."""
    if axes is not None:
        return axes
    from matplotlib import pyplot as plt

    _, made = plt.subplots(figsize=(width, height), layout="constrained")
    return made


def _open(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _upright(row: NDArray[np.floating]) -> NDArray[np.floating]:
    return row.reshape(_SIDE, _SIDE).T


def _digit(predicted: int) -> str:
    return "-" if predicted == _NO_DIGIT else str(predicted)
