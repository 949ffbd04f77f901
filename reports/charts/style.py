"""What figures have in common: colours, markers, axes and panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from reports.pictures import FAINT

# Okabe and Ito's palette, told apart by all common kinds of colour vision (https://jfly.uni-koeln.de/color/), in an
# order that starts with its most distant hues; markers say the same a second time.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")

_ON_DARK, _ON_LIGHT = "#fefefe", "#1c1c1c"


def style(index: int) -> tuple[str, str]:
    """The colour and the marker of the group at a place among a study's."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def one(width: float = 7.2, height: float = 4.2) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def plain(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Leave out the frame's upper and right side; draw a faint grid along ``x``, ``y`` or ``both``."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)


def panels(titles: Sequence[str], *, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """A figure with panels in two columns that share their axes, each under its title."""
    columns = min(2, max(1, len(titles)))
    rows = max(1, -(-len(titles) // columns))
    width, whole = 3.7 * columns + 0.4, height * rows + 0.5
    # Placed by hand, inches: to measure every label of every panel takes longer than to draw them.
    figure = Figure(figsize=(width, whole))
    figure.subplots_adjust(
        left=0.9 / width,
        right=1 - 0.15 / width,
        top=1 - 0.3 / whole,
        bottom=0.62 / whole,
        wspace=0.12,
        hspace=0.38,
    )
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    every: list[Axes] = list(grid.flat)
    for axes in every[len(titles) :]:
        axes.set_visible(False)
    for axes, title in zip(every, titles, strict=False):
        plain(axes, "y")
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelbottom=True)
    return figure, every[: len(titles)]


def count_scale(axes: Axes) -> None:
    """A scale for error counts up the side: logarithmic, with a place for zero."""
    axes.set_yscale("symlog", linthresh=1, linscale=0.5)
    axes.set_ylim(bottom=-0.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def on(shade: float) -> str:
    """What is legible on a shade of cividis, reversed, from 0 to 1; not the page's ink, which may be light."""
    return _ON_DARK if shade > 0.38 else _ON_LIGHT


def rates(frame: pd.DataFrame) -> list[tuple[int, str]]:
    """The groups that a frame has runs of, each with its place among the study's, which is its style's."""
    present = set(frame["rate"])
    return [(index, rate) for index, rate in enumerate(frame["rate"].cat.categories) if rate in present]


def spread(count: int, half: float = 0.28) -> NDArray[np.float64]:
    """Places side by side around 0, so that no training hides another."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(count)
