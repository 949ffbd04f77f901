"""Charts of the images that are wrong most often."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.reporting.charts import style
from harness.reporting.figure_files import INK
from harness.reporting.findings import HardImages
from harness.tracking.run_record import StoredImages

_COLUMNS = 6
_WIDTH, _HEIGHT = 1.18, 1.5  # of an image and what is around it, in images


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


def confusion(counts: NDArray[np.int64]) -> Figure:
    """The confusion matrix of the wrong images: labels by wrong predictions, with the counts in the cells."""
    figure, axes = style.one(6.0, 5.2)
    shades = np.log1p(counts.astype(float))
    most = max(1.0, float(shades.max()))
    axes.pcolormesh(np.arange(11) - 0.5, np.arange(11) - 0.5, shades, cmap="cividis_r", vmin=0, vmax=most)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    for (label, answer), count in np.ndenumerate(counts):
        if count:
            ink = style.on(shades[label, answer] / most)
            axes.text(answer, label, f"{count}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("taken for")
    axes.set_ylabel("label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure
