"""Charts of the differences between ``my_softmax`` and TensorFlow's softmax."""

from __future__ import annotations

import altair as alt
import pandas as pd

from harness.network.softmax import SMALLEST
from harness.reporting.charts import encodings
from harness.reporting.charts.encodings import Chart
from harness.reporting.figure_files import SERIES

_NAMES = {"loop": "loop", "vector": "vector", "stable": "stable"}


def distance(found: pd.DataFrame) -> Chart:
    """The largest difference from TensorFlow's softmax in ULPs, by the size of the logits."""
    ticks = alt.Axis(values=[0, 1, 3, 10, 30, 100, 1000, 10_000, 100_000], format="d")
    y = alt.Y("max_ulp:Q", title="largest difference, ULPs", scale=alt.Scale(type="symlog", constant=1), axis=ticks)
    return _by_size(found, y)


def overflow(found: pd.DataFrame) -> Chart:
    """The proportion of rows of logits that overflow, by the size of the logits."""
    y = alt.Y("share:Q", title="rows that overflow", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    return _by_size(found, y)


def _by_size(found: pd.DataFrame, y: alt.Y) -> Chart:
    sizes = sorted(found["below"].unique())
    labels = [f"below {size:g}" if size == SMALLEST else f"{size / 2:g} to {size:g}" for size in sizes]
    rows = [
        {
            **{name: row[name] for name in ("max_ulp", "rows", "overflow_rows")},
            "size": labels[sizes.index(row["below"])],
            "way": _NAMES[row["way"]],
            "share": row["overflow_rows"] / row["rows"],
        }
        for row in found.to_dict("records")
    ]
    ways = list(_NAMES.values())
    chart = (
        alt.Chart(encodings.data(rows))
        .mark_line(point=alt.OverlayMarkDef(size=50), strokeWidth=2, invalid="filter")
        .encode(
            x=alt.X("size:O", title="largest absolute logit of the row", sort=labels, axis=alt.Axis(labelAngle=-25)),
            y=y,
            color=alt.Color(
                "way:N", title="my_softmax by", sort=ways, scale=alt.Scale(domain=ways, range=list(SERIES[:3]))
            ),
            strokeDash=alt.StrokeDash(
                "way:N", title="my_softmax by", sort=ways, scale=alt.Scale(domain=ways, range=[[1, 0], [6, 4], [1, 0]])
            ),
            tooltip=[
                alt.Tooltip("way:N", title="implementation"),
                alt.Tooltip("size:O", title="largest logit"),
                alt.Tooltip("max_ulp:Q", title="ULPs"),
                alt.Tooltip("overflow_rows:Q", title="rows that overflow"),
                alt.Tooltip("rows:Q", title="of rows"),
            ],
        )
    )
    return encodings.sized(chart, 220)
