"""Charts of error counts: by cell, by seed, by epoch, and against the baseline."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from harness.reporting.charts import style
from harness.reporting.figure_files import FAINT, INK
from harness.reporting.findings import Difference

MOST_SEEDS = 40


def heat_map(cells: pd.DataFrame) -> Figure:
    """Mean final errors by epochs and learning rate, with the share of runs at zero written in each cell."""
    means = cells.pivot_table(index="rate", columns="epochs", values="mean_errors", observed=True)
    rates, epochs = list(means.index), list(means.columns)
    grid = np.log1p(means.to_numpy(float))
    figure, axes = style.one(height=1.6 + 0.62 * len(rates), width=max(5.0, 1.8 + 0.95 * len(epochs)))
    shade = Normalize(0, max(1.0, float(np.nanmax(grid))))
    for cell in cells.to_dict("records"):
        row, column = rates.index(cell["rate"]), epochs.index(cell["epochs"])
        text = f"{cell['mean_errors']:.1f}\n{cell['at_zero']} of {cell['n']} at 0"
        ink = style.on(float(shade(float(grid[row, column]))))
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color=ink)
    axes.pcolormesh(grid, cmap="cividis_r", norm=shade)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(epochs)) + 0.5, [str(count) for count in epochs])
    axes.set_yticks(np.arange(len(rates)) + 0.5, rates)
    axes.set_xlabel("epochs")
    axes.set_ylabel("learning rate")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(ScalarMappable(shade, "cividis_r"), ax=axes, label="mean errors", pad=0.02)
    ticks = [count for count in (0, 1, 3, 10, 30, 100, 300, 1000, 3000) if np.log1p(count) <= shade.vmax]
    bar.set_ticks(np.log1p(ticks).tolist(), labels=[str(count) for count in ticks])
    return figure


def zero_strip(curves: pd.DataFrame, own_run: str | None) -> Figure:
    """The epochs with zero errors, with one row for each seed of a group. The baseline's own seed is on top."""
    trainings = {key: own.sort_values("epoch") for key, own in curves.groupby(["seed", "run_id"])}
    order = sorted(trainings, key=lambda key: (key[1] != own_run, key))[:MOST_SEEDS]
    figure, axes = style.one(height=1.1 + 0.26 * len(order))
    for place, key in enumerate(order):
        epochs, errors = (trainings[key][name].to_numpy(int) for name in ("epoch", "errors"))
        axes.broken_barh([(0.5, len(epochs))], (place - 0.38, 0.76), facecolors=FAINT)
        axes.broken_barh(_spans(epochs[errors == 0]), (place - 0.38, 0.76), facecolors=style.COLOURS[0])
    axes.invert_yaxis()
    axes.set_yticks(range(len(order)), [f"{seed}, its own" if run == own_run else f"{seed}" for seed, run in order])
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.01, y=0.02)
    axes.set_xlabel("epoch (blue: no error after it)")
    axes.set_ylabel("seed")
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def _spans(epochs: NDArray[np.int64]) -> list[tuple[float, float]]:
    """The start and width of the bars that mark epochs. Consecutive epochs share a bar."""
    if not len(epochs):
        return []
    parts = np.split(epochs, np.flatnonzero(np.diff(epochs) > 1) + 1)
    return [(float(part[0]) - 0.5, float(len(part))) for part in parts]


def by_seed(finished: pd.DataFrame) -> Figure:
    """Errors after the last epoch by number of epochs, with one panel for each learning rate. Bars mark medians."""
    groups = style.rates(finished)
    epochs = sorted(finished["epochs"].unique())
    figure, panels = style.panels([f"learning rate {rate}" for _, rate in groups])
    for axes, (index, rate) in zip(panels, groups, strict=True):
        colour, marker = style.style(index)
        own = finished[finished["rate"] == rate]
        for epoch, cell in own.groupby("epochs"):
            place = epochs.index(epoch)
            errors = np.sort(cell["final_errors"].to_numpy(float))
            faint = 0.75 if len(errors) <= 16 else 0.35
            axes.scatter(place + style.spread(len(errors), 0.3), errors, s=16, color=colour, marker=marker, alpha=faint)
            axes.hlines(np.median(errors), place - 0.38, place + 0.38, color=INK, linewidth=1.6)
        style.count_scale(axes)
        axes.set_xlim(-0.6, len(epochs) - 0.4)
        if len(epochs) <= 10:
            axes.set_xticks(range(len(epochs)), [str(count) for count in epochs])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _at(epochs, place)))
    figure.supxlabel("epochs", fontsize=10)
    figure.supylabel("errors on the 5000 training images", fontsize=10)
    return figure


def _at(values: list[int], place: float) -> str:
    return str(values[int(place)]) if place == int(place) and 0 <= place < len(values) else ""


def against_baseline(differences: list[Difference]) -> Figure:
    """Paired differences in errors from the baseline with their intervals, one line for each cell."""
    figure, axes = style.one(height=1.2 + 0.27 * len(differences))
    places, place = [], 0.0
    for before, found in zip([None, *differences], differences, strict=False):
        place += 1.0 if before is None or before.rate == found.rate else 1.6  # a gap between learning rates
        places.append(place)
        colour, marker = style.style(found.group)
        if np.isfinite([found.errors.low, found.errors.high]).all():
            axes.hlines(place, found.errors.low, found.errors.high, color=colour, linewidth=2)
        axes.scatter(found.errors.value, place, color=colour, marker=marker, s=34, zorder=3)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(places, [f"{found.rate}, {found.epochs} epochs" for found in differences], fontsize=9)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=10, linscale=1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.xaxis.set_minor_locator(NullLocator())
    style.plain(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("difference in errors from the baseline, mean over seeds")
    return figure


def by_epoch(curves: pd.DataFrame, baseline_run: str | None) -> Figure:
    """Errors by epoch, with one panel for each learning rate: the median seed and the range of all seeds."""
    figure, panels = _curves(curves, "errors", baseline_run)
    for axes in panels:
        style.count_scale(axes)
    figure.supylabel("errors on the 5000 training images", fontsize=10)
    return figure


def loss_by_epoch(curves: pd.DataFrame, baseline_run: str | None) -> Figure:
    """Mean training loss by epoch, with one panel for each learning rate. Losses that are not finite are left out."""
    finite = curves[np.isfinite(curves["loss"].astype(float)) & (curves["loss"] > 0)]
    figure, panels = _curves(finite, "loss", baseline_run)
    for axes in panels:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    figure.supylabel("training loss (cross-entropy, nats)", fontsize=10)
    return figure


def _curves(curves: pd.DataFrame, column: str, baseline_run: str | None) -> tuple[Figure, list[Axes]]:
    groups = style.rates(curves)
    counts = curves.groupby("rate", observed=True)["run_id"].nunique()
    titles = [f"learning rate {rate}, {counts[rate]} training{'' if counts[rate] == 1 else 's'}" for _, rate in groups]
    figure, panels = style.panels(titles)
    for axes, (index, rate) in zip(panels, groups, strict=True):
        own = curves[curves["rate"] == rate]
        by_epoch = own.groupby("epoch")[column]
        colour, _ = style.style(index)
        low, middle, high = by_epoch.min(), by_epoch.median(), by_epoch.max()
        axes.fill_between(low.index, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(middle.index, middle, color=colour, linewidth=1.8)
        baseline = own[own["run_id"] == baseline_run]
        if len(baseline):
            dashes = (0, (4, 2))
            axes.plot(baseline["epoch"], baseline[column], color=INK, linewidth=0.9, linestyle=dashes, label="baseline")
            axes.legend(frameon=False, fontsize=9)
        axes.set_xlim(1, max(2, int(curves["epoch"].max())))
    figure.supxlabel("epoch", fontsize=10)
    return figure, panels
