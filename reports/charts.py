"""Frames to figures: each function draws one figure and returns it; no global setting of matplotlib is touched."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

# Okabe and Ito's palette, told apart by all common kinds of colour vision (https://jfly.uni-koeln.de/color/), in an
# order that starts with its most distant hues; markers say the same a second time.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_INK, _FAINT = "#222222", "#DDDDDD"
_DPI = 144


def png(figure: Figure) -> bytes:
    """The figure as a PNG; the same figure gives the same bytes."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _figure(width: float = 7.2, height: float = 4.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def errors_heat_map(cells: pd.DataFrame) -> Figure:
    """Mean final errors by epochs and learning rate, with the share of runs at zero written in each cell."""
    means = cells.pivot_table(index="rate", columns="epochs", values="mean_errors", observed=True)
    rates, epochs = list(means.index), list(means.columns)
    grid = np.log1p(means.to_numpy(float))
    figure, axes = _figure(height=1.6 + 0.62 * len(rates), width=max(5.0, 1.8 + 0.95 * len(epochs)))
    shade = Normalize(0, max(1.0, float(np.nanmax(grid))))
    for cell in cells.to_dict("records"):
        row, column = rates.index(cell["rate"]), epochs.index(cell["epochs"])
        dark = shade(float(grid[row, column])) > 0.38
        text = f"{cell['mean_errors']:.1f}\n{cell['at_zero']} of {cell['n']} at 0"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else _INK)
    axes.imshow(grid, cmap="cividis_r", norm=shade, aspect="auto")
    axes.set_xticks(range(len(epochs)), [str(count) for count in epochs])
    axes.set_yticks(range(len(rates)), rates)
    axes.set_xlabel("epochs")
    axes.set_ylabel("learning rate")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(ScalarMappable(shade, "cividis_r"), ax=axes, label="mean errors", pad=0.02)
    ticks = [count for count in (0, 1, 3, 10, 30, 100, 300, 1000, 3000) if np.log1p(count) <= shade.vmax]
    bar.set_ticks(np.log1p(ticks).tolist(), labels=[str(count) for count in ticks])
    return figure


def errors_by_epoch(curves: pd.DataFrame, baseline_run: str | None) -> Figure:
    """Error count after every epoch, a panel a learning rate: the median seed, and from the best to the worst."""
    figure, panels = _panels(curves, "errors", baseline_run)
    for axes in panels:
        axes.set_yscale("symlog", linthresh=1, linscale=0.5)
        axes.set_ylim(bottom=-0.15)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    figure.supylabel("errors on the 5000 training images", fontsize=10)
    return figure


def loss_by_epoch(curves: pd.DataFrame, baseline_run: str | None) -> Figure:
    """Mean training loss of every epoch, a panel a learning rate; losses that are not finite are not drawn."""
    finite = curves[np.isfinite(curves["loss"].astype(float)) & (curves["loss"] > 0)]
    figure, panels = _panels(finite, "loss", baseline_run)
    for axes in panels:
        axes.set_yscale("log")
    figure.supylabel("training loss (cross-entropy)", fontsize=10)
    return figure


def first_zero_epochs(trainings: pd.DataFrame) -> Figure:
    """First zero epoch of every training by learning rate; those that did not get there stand above."""
    figure, axes = _figure()
    rates = _rates(trainings)
    budget = int(trainings["epochs"].max())
    above = budget * 1.08
    for place, (index, rate) in enumerate(rates):
        group = trainings[trainings["rate"] == rate]
        places = place + _spread(len(group))
        reached = group["first_zero_epoch"].notna().to_numpy()
        colour, marker = _style(index)
        epochs = group["first_zero_epoch"].to_numpy(float)
        axes.scatter(places[reached], epochs[reached], color=colour, marker=marker, s=34, zorder=3)
        missed = places[~reached]
        axes.scatter(missed, np.full(len(missed), above), facecolors="none", edgecolors=colour, marker=marker, s=34)
    axes.axhline(budget, color=_FAINT, linewidth=1, zorder=1)
    axes.set_xticks(range(len(rates)), [rate for _, rate in rates])
    axes.set_xlim(-0.6, len(rates) - 0.4)
    ticks = np.linspace(0, budget, 6).round().astype(int).tolist()
    axes.set_yticks([*ticks, above], [*map(str, ticks), f"not by {budget}"])
    axes.set_ylim(0, budget * 1.15)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("first epoch with zero errors")
    return figure


def _panels(curves: pd.DataFrame, column: str, baseline_run: str | None) -> tuple[Figure, list[Axes]]:
    rates = _rates(curves)
    columns = min(2, max(1, len(rates)))
    rows = max(1, -(-len(rates) // columns))
    figure = Figure(figsize=(3.7 * columns + 0.4, 2.5 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels: list[Axes] = list(grid.flat)
    for axes in panels[len(rates) :]:
        axes.set_visible(False)
    for axes, (index, rate) in zip(panels, rates, strict=False):
        own = curves[curves["rate"] == rate]
        by_epoch = own.groupby("epoch")[column]
        colour, _ = _style(index)
        low, middle, high = by_epoch.min(), by_epoch.median(), by_epoch.max()
        axes.fill_between(low.index, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(middle.index, middle, color=colour, linewidth=1.8)
        baseline = own[own["run_id"] == baseline_run]
        if len(baseline):
            axes.plot(
                baseline["epoch"], baseline[column], color=_INK, linewidth=0.9, linestyle=(0, (4, 2)), label="baseline"
            )
            axes.legend(frameon=False, fontsize=9)
        seeds = own["run_id"].nunique()
        axes.set_title(f"learning rate {rate}, {seeds} training{'' if seeds == 1 else 's'}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=_FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlim(left=1)
        axes.tick_params(labelbottom=True)
    figure.supxlabel("epoch", fontsize=10)
    return figure, panels[: len(rates)]


def _rates(frame: pd.DataFrame) -> list[tuple[int, str]]:
    """The learning rates that a frame has runs of, each with its place among the study's, which is its style's."""
    present = set(frame["rate"])
    return [(index, rate) for index, rate in enumerate(frame["rate"].cat.categories) if rate in present]


def _style(index: int) -> tuple[str, str]:
    return _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]


def _spread(count: int) -> NDArray[np.float64]:
    """Places side by side, so that no training hides another."""
    return np.linspace(-0.28, 0.28, count) if count > 1 else np.zeros(count)
