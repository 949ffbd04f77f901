"""Charts of the differences between ``my_softmax`` and TensorFlow's softmax."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from harness.network.softmax import SMALLEST
from harness.reporting.charts import style

_NAMES = {"loop": "loops", "vector": "vector", "stable": "vector, largest subtracted"}
_LINES = {"loop": "solid", "vector": (0, (4, 2)), "stable": "solid"}


def by_size(found: pd.DataFrame) -> Figure:
    """The largest difference in ULPs (above) and the share of rows that overflow (below), by the size of the logits."""
    sizes = sorted(found["below"].unique())
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for index, way in enumerate(name for name in _NAMES if name in set(found["way"])):
        own = found[found["way"] == way].set_index("below").reindex(sizes)
        colour, marker = style.style(index)
        look = {"color": colour, "marker": marker, "linestyle": _LINES[way], "markersize": 5}
        # Loop and vector nearly always agree. Shift them, so that both are visible.
        places = np.arange(len(sizes)) + (index - 1) * 0.06
        upper.plot(places, own["max_ulp"], label=_NAMES[way], **look)
        lower.plot(places, own["overflow_rows"] / own["rows"], **look)
    for axes in (upper, lower):
        style.plain(axes, "y")
    upper.set_yscale("symlog", linthresh=1)
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    upper.set_ylim(bottom=0)
    upper.set_ylabel("largest difference, ULPs")
    upper.legend(frameon=False, fontsize=9)
    lower.yaxis.set_major_formatter(PercentFormatter(1))
    lower.set_ylim(-0.04, 1.04)
    lower.set_ylabel("rows that overflow")
    labels = [f"below {size:g}" if size == SMALLEST else f"{size / 2:g} to {size:g}" for size in sizes]
    lower.set_xticks(range(len(sizes)), labels)
    if len(sizes) > 6:
        lower.tick_params(axis="x", rotation=25)
    lower.set_xlabel("largest absolute logit of the row")
    return figure
