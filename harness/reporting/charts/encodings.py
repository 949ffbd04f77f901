"""Shared parts of the charts: their data, the colours and shapes of groups, scales, and how a selection shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from harness.reporting.figure_files import SERIES

Chart = alt.Chart | alt.LayerChart

# The axis of epochs.
EPOCHS = alt.Axis(format="d", tickMinStep=1)
# The learning rate in a tooltip.
RATE = alt.Tooltip("rate:N", title="learning rate")

# The chart parameters of a selection, and the data field of each. When the user selects a group, a number of epochs or
# a run, the page sets the parameter to it. Marks with another value of the field become faint. Marks without the field
# do not change.
PICKED = {"picked_rate": "rate", "picked_epochs": "epochs", "picked_run": "run"}
_IS_PICKED = " && ".join(
    f"({name} === null || !isValid(datum.{field}) || datum.{field} === {name})" for name, field in PICKED.items()
)
_FAINT_OPACITY = 0.06
# The possible ticks: first those of error counts, then those of losses and of learning rates.
_COUNTS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000)
_DECADES = [factor * 10.0**power for power in range(-9, 2) for factor in (1, 3)]


def data(rows: Iterable[Mapping[Any, Any]]) -> alt.Data:
    """The rows as data of a chart. NaN and infinity become null."""
    values = [{str(name): _plain(value) for name, value in row.items()} for row in rows]
    return alt.Data(values=values)  # type: ignore[no-untyped-call] # Altair generates this class


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of a data frame
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str):
        return value
    return None if pd.isna(value) or value in {float("inf"), float("-inf")} else getattr(value, "item", lambda: value)()


def groups(frame: pd.DataFrame) -> list[str]:
    """The labels of the groups of runs of a study, in their order."""
    return [str(label) for label in frame["rate"].cat.categories]


def colour(labels: Sequence[str], title: str | None = "learning rate") -> alt.Color:
    """The colour of a group. It is the same in all charts of a study."""
    shades = [SERIES[index % len(SERIES)] for index in range(len(labels))]
    return alt.Color("rate:N", title=title, scale=alt.Scale(domain=list(labels), range=shades), sort=list(labels))


def shape(labels: Sequence[str]) -> alt.Shape:
    """The shape of a group's points, which repeats the information of its colour."""
    return alt.Shape("rate:N", title="learning rate", scale=alt.Scale(domain=list(labels)), sort=list(labels))


def opacity(picked: float) -> Any:  # noqa: ANN401 - Altair's condition
    """The opacity of marks: ``picked`` for a selected mark, and for all marks if nothing is selected; else faint."""
    return alt.condition(_IS_PICKED, alt.value(picked), alt.value(_FAINT_OPACITY))


def counts(most: float) -> dict[str, Any]:
    """The scale and axis of error counts: logarithmic, and linear near zero."""
    ticks = [tick for tick in _COUNTS if tick <= max(3.0, most)]
    return {
        "scale": alt.Scale(type="symlog", constant=1, domainMin=0),
        "axis": alt.Axis(values=ticks, format="d", gridOpacity=0.6),
    }


def logarithmic(low: float, high: float) -> dict[str, Any]:
    """A logarithmic scale and axis with ticks at 1 and 3 of each power of ten."""
    ticks = [float(f"{tick:.1g}") for tick in _DECADES if low * 0.99 <= tick <= high * 1.01]
    return {"scale": alt.Scale(type="log", nice=False), "axis": alt.Axis(values=ticks, format="~g", gridOpacity=0.6)}


def sized(chart: Any, height: int) -> Chart:  # noqa: ANN401 - Altair's methods return Any
    """The chart with the width of its container and this height in pixels."""
    found: Chart = chart.properties(width="container", height=height)
    return found


def zoom() -> alt.Parameter:
    """The zoom along the x axis: drag with a mouse to move, Shift and wheel to zoom, double-click to reset.

    A finger scrolls the page instead.
    """
    mouse = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
    return alt.selection_interval(
        name="zoom", bind="scales", encodings=["x"], zoom="wheel![event.shiftKey]", translate=mouse
    )
