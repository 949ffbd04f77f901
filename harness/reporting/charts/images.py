"""Charts of the images that are wrong most often."""

from __future__ import annotations

import altair as alt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.reporting.charts import encodings, style
from harness.reporting.charts.encodings import Chart
from harness.reporting.figure_files import FAINT, INK, SERIES
from harness.reporting.findings import HardImages
from harness.tracking.run_record import StoredImages

_COLUMNS = 6
# The distances between neighbouring images in a row and in a column, as multiples of an image's edge.
_WIDTH, _HEIGHT = 1.18, 1.5


def gallery(hard: HardImages, images: StoredImages, chosen: list[int]) -> Figure:
    """The chosen images, with label, usual wrong prediction and number of trainings in which they were wrong."""
    rows = -(-len(chosen) // _COLUMNS)
    # All images share one Axes: the layout of two dozen Axes takes ten times as long.
    figure, axes = style.one(7.2, 1.58 * rows)
    axes.set_axis_off()
    for place, index in enumerate(chosen):
        row, column = divmod(place, _COLUMNS)
        left, top = column * _WIDTH, row * _HEIGHT
        image = images.x[index].reshape(20, 20).T
        axes.imshow(image, "gray", vmin=0, vmax=255, interpolation="none", extent=(left, left + 1, top + 1, top))
        answer = hard.usual_answer(index)
        taken = "no digit" if answer < 0 else f"{answer}"
        title = f"{images.y[index]} as {taken}\n{hard.times[index]} of {hard.n}"
        axes.text(left + 0.5, top - 0.05, title, ha="center", va="bottom", fontsize=9, color=INK)
    axes.set_xlim(-0.1, _COLUMNS * _WIDTH - (_WIDTH - 1) + 0.1)
    axes.set_ylim((rows - 1) * _HEIGHT + 1.02, -0.42)
    return figure


def confusion(counts: NDArray[np.int64]) -> Chart:
    """The confusion matrix of the wrong images: labels by wrong predictions, with the counts in the cells."""
    rows = [
        {"label": label, "answer": answer, "count": int(count), "text": str(count) if count else ""}
        for (label, answer), count in np.ndenumerate(counts)
        if label != answer
    ]
    base = alt.Chart(encodings.data(rows)).encode(
        x=alt.X(
            "answer:O",
            title="the network's answer",
            axis=alt.Axis(orient="top", domain=False, ticks=False, labelAngle=0),
        ),
        y=alt.Y("label:O", title="label", axis=alt.Axis(domain=False, ticks=False)),
        tooltip=[alt.Tooltip("label:O"), alt.Tooltip("answer:O"), alt.Tooltip("count:Q", title="images")],
    )
    shade = alt.FillOpacity(
        "count:Q",
        title="images",
        scale=alt.Scale(type="symlog", range=[0, 0.7], domain=[0, int(max(1, counts.max()))]),
        legend=alt.Legend(symbolType="square", symbolFillColor=SERIES[1], tickCount=4),
    )
    squares = base.mark_rect(fill=SERIES[1], stroke=FAINT).encode(fillOpacity=shade)
    return encodings.sized(squares + base.mark_text(fontSize=12).encode(text="text:N"), 300)
