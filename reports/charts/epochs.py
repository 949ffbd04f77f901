"""When trainings first have no error."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from harness import stats
from reports import findings, frames
from reports.charts import style


def survival(trainings: pd.DataFrame) -> Figure:
    """The share of trainings that have not yet had an epoch without errors, by learning rate, with its interval."""
    figure, axes = style.one()
    longest = float(trainings["epochs"].max())
    for index, rate in style.rates(trainings):
        group = trainings[trainings["rate"] == rate]
        curve = stats.survival(*findings.observed(group))
        colour, marker = style.style(index)
        x, left, low, high = curve.steps()
        if frames.one_configuration(group):  # else there is nothing that an interval would be of
            axes.fill_between(x, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        label = f"{rate}: {curve.n_reached} of {curve.n}"
        ends = [len(x) - 1]
        axes.step(x, left, where="post", color=colour, linewidth=1.8, marker=marker, markevery=ends, label=label)
    axes.set_xlim(0, longest * 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("epoch")
    axes.set_ylabel("trainings with no zero epoch so far")
    style.plain(axes, "y")
    look = {"frameon": False, "fontsize": 9, "title_fontsize": 9, "ncols": 2}
    figure.legend(title="learning rate: reached zero", loc="outside lower center", **look)
    return figure
