"""Charts of a search: its history, its best trials and its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from harness.reporting.charts import encodings
from harness.reporting.charts.encodings import Chart
from harness.reporting.figure_files import SERIES

NAMES = {
    "errors": "mean errors",
    "held_out_errors": "mean held-out errors",
    "epochs": "epochs",
    "learning_rate": "learning rate",
    "batch_size": "batch size",
}


def _tooltip(trials: pd.DataFrame) -> list[alt.Tooltip]:
    shown = [name for name in NAMES if name in trials and trials[name].notna().any()]
    return [alt.Tooltip("trial:Q"), *(alt.Tooltip(f"{name}:Q", title=NAMES[name], format=".4~g") for name in shown)]


def _rows(trials: pd.DataFrame, **more: Any) -> alt.Data:  # noqa: ANN401 - columns
    names = ["trial", *(name for name in NAMES if name in trials)]
    return encodings.data(trials[names].assign(**more).to_dict("records"))


def _errors(goal: str, trials: pd.DataFrame, title: str | None = None) -> alt.Y:
    look = encodings.counts(float(trials[goal].max())) if goal == "errors" else {"scale": alt.Scale(zero=False)}
    return alt.Y(f"{goal}:Q", title=title or NAMES[goal], **look)


def history(trials: pd.DataFrame, goal: str) -> Chart:
    """An objective by trial, and its best value so far."""
    base = alt.Chart(_rows(trials, best=trials[goal].cummin())).encode(
        x=alt.X("trial:Q", title="trial", axis=alt.Axis(tickMinStep=1, format="d"))
    )
    points = base.mark_point(filled=True, size=45, color=SERIES[0]).encode(
        y=_errors(goal, trials), tooltip=_tooltip(trials)
    )
    best = base.mark_line(interpolate="step-after", strokeWidth=1.5, color=SERIES[1]).encode(y="best:Q")
    return encodings.sized(best + points, 240)


def front(trials: pd.DataFrame, is_best: pd.Series[bool], goals: Sequence[str]) -> Chart:
    """The first two objectives against each other. A line joins the Pareto-optimal trials."""
    # If the number of epochs is one of the two objectives, it is on the x axis.
    x, y = sorted(goals[:2], key=lambda goal: goal != "epochs")
    names = {True: "Pareto-optimal", False: "other trials"}
    base = alt.Chart(_rows(trials, best=is_best.map(names))).encode(
        x=alt.X(f"{x}:Q", title=NAMES[x], scale=alt.Scale(zero=False)),
        y=_errors(y, trials, f"{NAMES[y]} over seeds"),
    )
    scale = alt.Scale(domain=list(names.values()), range=[SERIES[1], SERIES[0]])
    points = base.mark_point(filled=True, size=60).encode(
        color=alt.Color("best:N", title=None, scale=scale),
        shape=alt.Shape("best:N", title=None, scale=alt.Scale(domain=list(names.values()))),
        tooltip=_tooltip(trials),
    )
    line = base.transform_filter("datum.best === 'Pareto-optimal'").mark_line(color=SERIES[1]).encode(order=f"{x}:Q")
    return encodings.sized(line + points, 300)


def importance(shares: Mapping[str, Mapping[str, float]]) -> Chart:
    """The importance of the parameters: the percentage of each objective's variance that each of them explains."""
    rows = [
        {"goal": NAMES[goal], "parameter": NAMES[name], "share": share, "text": f"{share:.0%}"}
        for goal, by_name in shares.items()
        for name, share in by_name.items()
    ]
    goals = [NAMES[goal] for goal in shares]
    parameters = list(dict.fromkeys(str(row["parameter"]) for row in rows))
    base = alt.Chart(encodings.data(rows)).encode(
        x=alt.X(
            "share:Q",
            title="percentage of the variance that the parameter explains (fANOVA)",
            scale=alt.Scale(domain=[0, 1], nice=False),
            axis=alt.Axis(format=".0%"),
        ),
        y=alt.Y("parameter:N", title=None, sort=parameters, axis=alt.Axis(domain=False, ticks=False)),
        yOffset=alt.YOffset("goal:N", sort=goals),
        tooltip=[
            alt.Tooltip("goal:N", title="objective"),
            alt.Tooltip("parameter:N"),
            alt.Tooltip("share:Q", format=".2f"),
        ],
    )
    bars = base.mark_bar().encode(
        color=alt.Color("goal:N", title="objective", scale=alt.Scale(domain=goals, range=list(SERIES[: len(goals)])))
    )
    texts = base.mark_text(align="left", dx=4, clip=False).encode(text="text:N")
    height = 30 * len({row["parameter"] for row in rows}) * max(1, len(goals)) + 10
    return encodings.sized(bars + texts, height)


def by_parameter(trials: pd.DataFrame, name: str, *, is_logarithmic: bool) -> Chart:
    """The mean errors of each trial by the value of a parameter."""
    look = (
        encodings.logarithmic(float(trials[name].min()), float(trials[name].max()))
        if is_logarithmic
        else {"scale": alt.Scale(zero=False)}
    )
    chart = (
        alt.Chart(_rows(trials))
        .mark_point(filled=True, size=60, color=SERIES[0])
        .encode(
            x=alt.X(f"{name}:Q", title=NAMES[name], **look),
            y=_errors("errors", trials, "mean errors over seeds"),
            tooltip=_tooltip(trials),
        )
    )
    return encodings.sized(chart, 240)
