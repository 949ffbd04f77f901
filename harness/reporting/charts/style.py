"""The shared style of charts: colours, markers, axes and panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter
from numpy.typing import NDArray

from harness.reporting.figure_files import FAINT
from harness.statistics import Survival

# Okabe and Ito's palette, which is distinguishable with all common kinds of colour vision
# (https://jfly.uni-koeln.de/color/). Its most distant hues come first. Markers repeat the information.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")

_ON_DARK, _ON_LIGHT = "#fefefe", "#1c1c1c"


def style(index: int) -> tuple[str, str]:
    """The colour and the marker of a group, by its position among the groups of the study."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def one(width: float = 7.2, height: float = 4.2) -> tuple[Figure, Axes]:
    """A figure with one Axes. The size is in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def plain(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Hide the upper and right spines, and draw a faint grid along ``x``, ``y`` or ``both``."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)


def survival(axes: Axes, curve: Survival, index: int, label: str, *, is_banded: bool = True) -> None:
    """Draw a survival curve: the share of trainings that have not reached zero errors, with or without its interval."""
    colour, marker = style(index)
    x, left, low, high = curve.steps()
    if is_banded:
        axes.fill_between(x, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    ends = [len(x) - 1]
    axes.step(x, left, where="post", color=colour, linewidth=1.8, marker=marker, markevery=ends, label=label)


def survivals(axes: Axes, longest: float, whose: str) -> None:
    """Label and scale the Axes of survival curves.

    Args:
        axes: Axes of the curves.
        longest: Last epoch that is shown.
        whose: What the shares count, such as ``trainings``.
    """
    axes.set_xlim(0, longest * 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{whose} with no zero epoch so far")
    plain(axes, "y")


def panels(titles: Sequence[str], *, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """A figure with titled panels in two columns that share their axes."""
    columns = min(2, max(1, len(titles)))
    rows = max(1, -(-len(titles) // columns))
    width, whole = 3.7 * columns + 0.4, height * rows + 0.5
    # Fixed margins, in inches: a layout engine takes longer to measure the labels than to draw the panels.
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
    """Give the y axis a scale for error counts: logarithmic, and linear near zero."""
    axes.set_yscale("symlog", linthresh=1, linscale=0.5)
    axes.set_ylim(bottom=-0.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def on(shade: float) -> str:
    """A text colour that is legible on a colour of the reversed cividis map, given as a number from 0 to 1."""
    return _ON_DARK if shade > 0.38 else _ON_LIGHT


def rates(frame: pd.DataFrame) -> list[tuple[int, str]]:
    """The groups that have runs in a frame, each with its position among all groups, which selects its style."""
    present = set(frame["rate"])
    return [(index, rate) for index, rate in enumerate(frame["rate"].cat.categories) if rate in present]


def spread(count: int, half: float = 0.28) -> NDArray[np.float64]:
    """Offsets around 0 for points side by side, so that none hides another."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(count)
