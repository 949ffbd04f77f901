"""Charts of the gate: its seeds beside those of the reference, and one training beside the recorded one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from harness import statistics
from harness.reporting.charts import style
from harness.reporting.figure_files import INK

# Smaller relative differences are drawn at this value, because a logarithmic scale has no zero.
_NONE = 1e-8


def survival(now: Sequence[int | None], reference: Sequence[int | None], budget: int, goal: str) -> Figure:
    """The proportion of seeds that have not yet reached the goal, by epoch, for the gate and the reference.

    Args:
        now: First zero epochs of the gate; None for a seed that never reached zero.
        reference: First zero epochs of the reference, in the same form.
        budget: Number of epochs of each training.
        goal: Goal of the training in words.
    """
    figure, axes = style.one()
    for index, (name, epochs) in enumerate((("reference", reference), ("now", now))):
        observed = [budget if epoch is None else epoch for epoch in epochs]
        curve = statistics.survival(observed, [epoch is not None for epoch in epochs])
        style.survival(axes, curve, index, f"{name}: {curve.n_reached} of {curve.n} seeds reach {goal}")
    style.survivals(axes, budget, "seeds")
    axes.set_ylabel(f"seeds without {goal} so far")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure


def errors(now: Sequence[int], reference: Sequence[int], epoch: int) -> Figure:
    """The proportion of seeds with at most a given number of errors after an epoch, for the gate and the reference."""
    figure, axes = style.one()
    for index, (name, counts) in enumerate((("reference", reference), ("now", now))):
        colour, _ = style.style(index)
        axes.ecdf(counts, color=colour, linewidth=1.8, label=f"{name}: {np.mean(counts):.1f} errors on average")
    axes.set_xlabel(f"errors at epoch {epoch}")
    axes.set_ylabel("seeds with at most this number of errors")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    style.plain(axes, "y")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure


def trace(traces: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The relative difference between each engine's losses and the recorded ones by epoch, and the tolerance for it.

    Args:
        traces: Details of the trace check by engine: ``losses``, ``recorded_losses``, ``tolerance``, ``early_epochs``.
    """
    figure, axes = style.one()
    for index, (engine, found) in enumerate(traces.items()):
        losses, recorded = (np.asarray(found[name], float) for name in ("losses", "recorded_losses"))
        n = min(len(losses), len(recorded))
        off = np.abs(losses[:n] / recorded[:n] - 1)
        colour, marker = style.style(index)
        if not np.isfinite(off).any():
            label = f"{engine}: no finite loss"
        else:
            label = f"{engine}: equal to the last bit" if (off == 0).all() else engine
        # Shift the curves of the engines slightly, so that equal curves are all visible.
        places = np.arange(1, n + 1) + 0.25 * index
        drawn = np.maximum(off, _NONE * 1.5**index)
        axes.plot(places, drawn, color=colour, marker=marker, markevery=10, markersize=5, linewidth=1.2, label=label)
    limits = next(iter(traces.values()))
    axes.hlines(
        limits["tolerance"],
        0.5,
        limits["early_epochs"] + 0.5,
        color=INK,
        linestyle="--",
        linewidth=1.2,
        label="tolerance on other machines",
    )
    axes.set_yscale("log")
    axes.set_ylim(_NONE / 2, 50)
    axes.set_yticks([_NONE, 1e-6, 1e-4, 1e-2, 1], ["none", "1e-6", "1e-4", "1e-2", "1"])
    axes.minorticks_off()
    axes.set_xlabel("epoch")
    axes.set_ylabel("relative difference of the loss")
    style.plain(axes, "y")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure
