"""The shared style of matplotlib charts: colours, markers, axes and survival curves."""

from __future__ import annotations

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from harness.reporting.figure_files import FAINT, SERIES
from harness.statistics import Survival

# Markers repeat the information of the colours.
MARKERS = ("o", "s", "^", "D", "v", "P")


def style(index: int) -> tuple[str, str]:
    """The colour and the marker of a group, by its position among the groups of the study."""
    return SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]


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
    """Draw a survival curve: the proportion of trainings with no zero epoch so far, with or without its interval."""
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
        whose: What the curves count, such as ``trainings``.
    """
    axes.set_xlim(0, longest * 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{whose} with no zero epoch so far")
    plain(axes, "y")
