"""Charts of first zero epochs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from harness import statistics
from harness.reporting import findings, frames
from harness.reporting.charts import style


def survival(trainings: pd.DataFrame) -> Figure:
    """The share of trainings that have not reached zero errors, by epoch and learning rate, with intervals."""
    figure, axes = style.one()
    longest = float(trainings["epochs"].max())
    for index, rate in style.rates(trainings):
        group = trainings[trainings["rate"] == rate]
        curve = statistics.survival(*findings.observed(group))
        # An interval over seeds makes sense for one configuration only.
        is_banded = frames.one_configuration(group)
        style.survival(axes, curve, index, f"{rate}: {curve.n_reached} of {curve.n}", is_banded=is_banded)
    style.survivals(axes, longest, "trainings")
    look = {"frameon": False, "fontsize": 9, "title_fontsize": 9, "ncols": 2}
    figure.legend(title="learning rate: reached zero", loc="outside lower center", **look)
    return figure
