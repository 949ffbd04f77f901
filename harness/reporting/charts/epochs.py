"""Charts of first zero epochs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import statistics
from harness.reporting import findings, frames
from harness.reporting.charts import encodings
from harness.reporting.charts.encodings import Chart
from harness.statistics import Survival


@dataclass(frozen=True, eq=False)
class _Curve:
    """The survival curve of a group.

    Attributes:
        label: Label of the group.
        epochs: First zero epoch of each training, or its last epoch if it never reached zero, ``(n,)``.
        is_reached: Whether each training reached zero, ``(n,)``.
        curve: Estimate of the curve.
        has_band: Whether the curve has an interval. An interval over seeds makes sense for one configuration only.
    """

    label: str
    epochs: NDArray[np.float64]
    is_reached: NDArray[np.bool_]
    curve: Survival
    has_band: bool

    @classmethod
    def of(cls, label: str, group: pd.DataFrame) -> _Curve:
        epochs, is_reached = findings.observed(group)
        curve = statistics.survival(epochs, is_reached)
        return cls(label, epochs, is_reached, curve, frames.one_configuration(group))


def reached(trainings: pd.DataFrame) -> Chart:
    """The proportion of trainings that have reached zero errors, by epoch and learning rate, with intervals.

    A tick marks the last epoch of trainings that ended before they reached zero: they count only until then.
    """
    labels = encodings.groups(trainings)
    curves = [_Curve.of(str(label), group) for label, group in trainings.groupby("rate", observed=True)]
    steps, ends = list(_steps(curves)), list(_ends(curves))
    base = alt.Chart(encodings.data(steps)).encode(
        x=alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False), axis=encodings.EPOCHS),
        color=encodings.colour(labels),
        tooltip=[
            encodings.RATE,
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("share:Q", title="reached zero", format=".0%"),
            alt.Tooltip("of:N", title="in the end"),
            alt.Tooltip("running:Q", title="at risk: not at zero, still training"),
        ],
    )
    share = alt.Y(
        "share:Q",
        title="trainings that have reached zero",
        axis=alt.Axis(format=".0%"),
        scale=alt.Scale(domain=[0, 1]),
    )
    lines = base.mark_line(interpolate="step-after", strokeWidth=2).encode(y=share, opacity=encodings.opacity(1))
    ended = [
        encodings.RATE,
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("ended:Q", title="ended without zero"),
    ]
    ticks = (
        alt.Chart(encodings.data(ends))
        .mark_point(shape="stroke", angle=90, size=120, strokeWidth=2)
        .encode(x="epoch:Q", y="share:Q", color=encodings.colour(labels), opacity=encodings.opacity(1), tooltip=ended)
    )
    bands = base.mark_area(interpolate="step-after").encode(y="low:Q", y2="high:Q", opacity=encodings.opacity(0.15))
    layers = [*([bands] if any(step["low"] is not None for step in steps) else []), lines, *([ticks] if ends else [])]
    return encodings.sized(alt.layer(*layers), 300)


def _steps(curves: Iterable[_Curve]) -> Iterator[dict[str, Any]]:
    """The steps of each group's curve, with intervals and the number of trainings at risk."""
    for one in curves:
        for epoch, left, low, high in zip(*one.curve.steps(), strict=True):
            yield {
                "rate": one.label,
                "epoch": epoch,
                "share": 1 - left,
                "of": f"{one.curve.n_reached} of {one.curve.n}",
                "low": 1 - high if one.has_band else None,
                "high": 1 - low if one.has_band else None,
                "running": int((one.epochs >= epoch).sum()),
            }


def _ends(curves: Iterable[_Curve]) -> Iterator[dict[str, Any]]:
    """The last epochs of trainings that did not reach zero, at the height of their group's curve."""
    for one in curves:
        ended = one.epochs[~one.is_reached]
        for epoch in sorted(set(ended)):
            left = one.curve.share_left[one.curve.epoch <= epoch]
            share = 1 - (left[-1] if len(left) else 1.0)
            yield {"rate": one.label, "epoch": epoch, "share": share, "ended": int((ended == epoch).sum())}
