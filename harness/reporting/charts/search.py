"""Charts of a search: its history, its best trials and its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from harness.reporting.charts import style
from harness.reporting.figure_files import INK

_TICKS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
NAMES = {
    "errors": "mean errors",
    "held_out_errors": "mean held-out errors",
    "epochs": "epochs",
    "learning_rate": "learning rate",
    "batch_size": "batch size",
}


def history(trials: pd.DataFrame, goals: Sequence[str]) -> Figure:
    """Each objective by trial, and its best value so far."""
    figure = Figure(figsize=(7.2, 2.3 * len(goals) + 0.4), layout="constrained")
    for axes, goal in zip(figure.subplots(len(goals), 1, sharex=True, squeeze=False).flat, goals, strict=True):
        colour, marker = style.style(0)
        axes.scatter(trials["trial"], trials[goal], color=colour, marker=marker, s=22)
        axes.step(trials["trial"], trials[goal].cummin(), where="post", color=INK, linewidth=1, label="best so far")
        style.plain(axes, "y")
        if goal == "errors":
            style.count_scale(axes)
        axes.set_ylabel(NAMES[goal])
        axes.legend(frameon=False, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supxlabel("trial", fontsize=10)
    return figure


def front(trials: pd.DataFrame, is_best: pd.Series[bool], goals: Sequence[str]) -> Figure:
    """The first two objectives against each other. A line joins the Pareto-optimal trials."""
    x, y = sorted(goals[:2], key=lambda goal: goal != "epochs")  # epochs, if there are any, along the x axis
    figure, axes = style.one()
    colour, marker = style.style(0)
    others, best = trials[~is_best], trials[is_best].sort_values([x, y])
    axes.scatter(others[x], others[y], facecolors="none", edgecolors=colour, marker=marker, s=30)
    colour, marker = style.style(1)
    axes.plot(best[x], best[y], color=colour, marker=marker, linewidth=1.2, label="not beaten by any other")
    if y == "errors":
        style.count_scale(axes)
    style.plain(axes, "both")
    axes.set_xlabel(NAMES[x])
    axes.set_ylabel(f"{NAMES[y]} over seeds")
    axes.legend(frameon=False, fontsize=9)
    return figure


def importance(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """The importance of each parameter for each objective: the share of the objective's variance that it explains."""
    names = sorted({name for by_name in shares.values() for name in by_name})
    figure, axes = style.one(height=1.3 + 0.32 * len(names) * len(shares))
    height = 0.8 / len(shares)
    for index, (goal, by_name) in enumerate(shares.items()):
        colour, _ = style.style(index)
        places = np.arange(len(names)) + (index - (len(shares) - 1) / 2) * height
        values = [by_name.get(name, 0.0) for name in names]
        axes.barh(places, values, height * 0.9, color=colour, label=f"for {NAMES[goal]}")
        for place, value in zip(places, values, strict=True):
            axes.text(value + 0.01, place, f"{value:.2f}", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(names)), [NAMES[name] for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("share of the variance that it explains (fANOVA)")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def slices(trials: pd.DataFrame, names: Sequence[str], logarithmic: set[str]) -> Figure:
    """Mean errors against each parameter. Later trials are darker."""
    figure = Figure(figsize=(max(3.8, 3.4 * len(names)) + 0.6, 3.2), layout="constrained")
    grid = figure.subplots(1, len(names), sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=True):
        look = {"cmap": "cividis_r", "s": 26, "edgecolors": "#777777", "linewidths": 0.5}
        drawn = axes.scatter(trials[name], trials["errors"], c=trials["trial"], **look)
        style.plain(axes, "y")
        style.count_scale(axes)
        if name in logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            low, high = trials[name].min(), trials[name].max()
            axes.set_xticks([tick for tick in _TICKS if low * 0.7 < tick < high * 1.4])
        axes.set_xlabel(NAMES[name])
    grid[0, 0].set_ylabel("mean errors over seeds")
    bar = figure.colorbar(drawn, ax=list(grid.flat), label="trial", pad=0.02)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure
