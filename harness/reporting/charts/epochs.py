"""Charts of first zero epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from harness import statistics
from harness.reporting import findings, frames
from harness.reporting.charts import encodings
from harness.reporting.charts.encodings import Chart


def reached(trainings: pd.DataFrame) -> Chart:
    """The proportion of trainings that have reached zero errors, by epoch and learning rate, with intervals.

    A tick marks the last epoch of trainings that ended before they reached zero: they count only until then.
    """
    labels = encodings.groups(trainings)
    steps, ends = list(_steps(trainings)), list(_ends(trainings))
    base = alt.Chart(encodings.data(steps)).encode(
        x=alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False), axis=encodings.EPOCHS),
        color=encodings.colour(labels),
        tooltip=[
            alt.Tooltip("rate:N", title="learning rate"),
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
        alt.Tooltip("rate:N", title="learning rate"),
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


def _steps(trainings: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The steps of each group's curve, with intervals and the number of trainings that have yet to reach zero."""
    for label, group in trainings.groupby("rate", observed=True):
        epochs, is_reached = findings.observed(group)
        curve = statistics.survival(epochs, is_reached)
        # An interval over seeds makes sense only if the trainings of the group differ in nothing but their seeds.
        has_band = frames.one_configuration(group)
        for epoch, left, low, high in zip(*curve.steps(), strict=True):
            yield {
                "rate": str(label),
                "epoch": epoch,
                "share": 1 - left,
                "of": f"{curve.n_reached} of {curve.n}",
                "low": 1 - high if has_band else None,
                "high": 1 - low if has_band else None,
                "running": int((epochs >= epoch).sum()),
            }


def _ends(trainings: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The last epochs of trainings that did not reach zero, at the height of their group's curve."""
    for label, group in trainings.groupby("rate", observed=True):
        epochs, is_reached = findings.observed(group)
        curve = statistics.survival(epochs, is_reached)
        for epoch in sorted(set(epochs[~is_reached])):
            left = curve.share_left[curve.epoch <= epoch]
            ended = int((epochs[~is_reached] == epoch).sum())
            yield {"rate": str(label), "epoch": epoch, "share": 1 - (left[-1] if len(left) else 1.0), "ended": ended}
