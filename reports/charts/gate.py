"""Figures of the regression gate: seeds of now against the reference's, and one training against its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from harness import stats
from reports.charts import style
from reports.pictures import INK

# Differences below this, relatively, are drawn as none: a logarithmic scale has no zero.
_NONE = 1e-8


def survival(now: Sequence[int | None], reference: Sequence[int | None], budget: int) -> Figure:
    """The share of seeds that have not yet had an epoch without errors, of now and of the reference, with intervals."""
    figure, axes = style.one()
    for index, (name, epochs) in enumerate((("reference", reference), ("now", now))):
        observed = [budget if epoch is None else epoch for epoch in epochs]
        curve = stats.survival(observed, [epoch is not None for epoch in epochs])
        colour, marker = style.style(index)
        x, left, low, high = curve.steps()
        axes.fill_between(x, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        label = f"{name}: {curve.n_reached} of {curve.n} seeds reach zero"
        axes.step(
            x, left, where="post", color=colour, linewidth=1.8, marker=marker, markevery=[len(x) - 1], label=label
        )
    axes.set_xlim(0, budget * 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("epoch")
    axes.set_ylabel("seeds with no zero epoch so far")
    style.plain(axes, "y")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure


def trace(traces: Mapping[str, Mapping[str, Any]]) -> Figure:
    """How far each engine's losses are from the recorded ones, epoch by epoch, and what rounding may do.

    Args:
        traces: by engine, what its check says: ``losses``, ``recorded_losses``, ``allowed``.
    """
    figure, axes = style.one()
    for index, (engine, found) in enumerate(traces.items()):
        losses, recorded = (np.asarray(found[name], float) for name in ("losses", "recorded_losses"))
        n = min(len(losses), len(recorded))
        off = np.maximum(np.abs(losses[:n] / recorded[:n] - 1), _NONE)
        colour, marker = style.style(index)
        label = f"{engine}: the same to the last bit" if (off == _NONE).all() else engine
        epochs = np.arange(1, n + 1)
        axes.plot(epochs, off, color=colour, marker=marker, markevery=10, markersize=4, linewidth=1.2, label=label)
    allowed = next(iter(traces.values()))["allowed"]
    axes.step(
        np.arange(1, len(allowed) + 1), allowed, where="mid", color=INK, linestyle="--", linewidth=1, label="allowed"
    )
    axes.set_yscale("log")
    axes.set_ylim(bottom=_NONE / 2)
    axes.set_xlabel("epoch")
    axes.set_ylabel("relative difference of the loss")
    style.plain(axes, "y")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure
