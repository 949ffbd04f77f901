"""Charts of error counts: by learning rate and number of epochs, by seed, by epoch, and against the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from harness.reporting.charts import encodings
from harness.reporting.charts.encodings import Chart
from harness.reporting.figure_files import FAINT, SERIES
from harness.reporting.findings import Difference

MOST_SEEDS = 40
_MOST_LINES = 100
# The name of the data that the charts of errors and of losses by epoch share. It has one row for each training.
CURVES = "curves"


def heat_map(cells: pd.DataFrame) -> Chart:
    """Mean final errors by epochs and learning rate, with the number of runs at zero written in each cell."""
    rows = [
        {
            **{name: cell[name] for name in ("rate", "epochs", "mean_errors", "max_errors", "held_out")},
            "text": [f"{cell['mean_errors']:.1f}", f"{cell['at_zero']}/{cell['n']}"],
            "zeros": f"{cell['at_zero']} of {cell['n']}",
        }
        for cell in cells.to_dict("records")
    ]
    labels = encodings.groups(cells)
    base = alt.Chart(encodings.data(rows)).encode(
        x=alt.X("epochs:O", title="epochs", axis=alt.Axis(labelAngle=0, orient="top", domain=False, ticks=False)),
        y=alt.Y("rate:N", title="learning rate", sort=labels, axis=alt.Axis(domain=False, ticks=False)),
        tooltip=[
            encodings.RATE,
            alt.Tooltip("epochs:O"),
            alt.Tooltip("mean_errors:Q", title="mean errors", format=".1f"),
            alt.Tooltip("max_errors:Q", title="most errors"),
            alt.Tooltip("zeros:N", title="seeds at zero"),
            *(
                [alt.Tooltip("held_out:Q", title="mean held-out errors", format=".0f")]
                if cells["held_out"].notna().any()
                else []
            ),
        ],
    )
    shade = alt.FillOpacity(
        "mean_errors:Q",
        title="mean errors",
        scale=alt.Scale(type="symlog", range=[0.03, 0.7], domain=[0, max(1.0, float(cells["mean_errors"].max()))]),
        legend=alt.Legend(values=[0, 1, 10, 100, 1000], symbolType="square", symbolFillColor=SERIES[1]),
    )
    squares = base.mark_rect(fill=SERIES[1], stroke=FAINT, cursor="pointer").encode(
        fillOpacity=shade, opacity=encodings.opacity(1)
    )
    texts = base.mark_text(lineBreak="\n", fontSize=12, baseline="middle", dy=-6, cursor="pointer").encode(
        text="text:N", opacity=encodings.opacity(1)
    )
    return encodings.sized(squares + texts, 46 * len(labels))


def zero_strip(curves: pd.DataFrame, own_run: str | None) -> Chart:
    """The epochs with zero errors, with one row for each seed. The row of the baseline's own seed is on top."""
    trainings = {key: own.sort_values("epoch") for key, own in curves.groupby(["seed", "run_id"], observed=True)}
    order = sorted(trainings, key=lambda key: (key[1] != own_run, key))[:MOST_SEEDS]
    names = {key: f"{key[0]}, the baseline" if key[1] == own_run else str(key[0]) for key in order}
    spans = [
        {
            "seed": names[key],
            "run": key[1],
            "start": start - 0.5,
            "end": start + length - 0.5,
            "zero": zero,
            "first": start,
            "last": start + length - 1,
        }
        for key in order
        for start, length, zero in _spans(trainings[key]["errors"].to_numpy(int) == 0)
    ]
    chart = (
        alt.Chart(encodings.data(spans))
        .mark_bar(height={"band": 0.75}, cursor="pointer")
        .encode(
            x=alt.X("start:Q", title="epoch", scale=alt.Scale(nice=False, zero=False), axis=encodings.EPOCHS),
            x2="end:Q",
            y=alt.Y("seed:N", title="seed", sort=list(names.values()), axis=alt.Axis(domain=False, ticks=False)),
            color=alt.Color(
                "zero:N",
                title=None,
                scale=alt.Scale(domain=["no error", "errors"], range=[SERIES[0], FAINT]),
            ),
            tooltip=[
                alt.Tooltip("seed:N"),
                alt.Tooltip("zero:N", title="state"),
                alt.Tooltip("first:Q", title="from epoch"),
                alt.Tooltip("last:Q", title="to epoch"),
            ],
            opacity=encodings.opacity(1),
        )
    )
    return encodings.sized(chart, max(60, 22 * len(order)))


def _spans(zero: np.ndarray[Any, np.dtype[np.bool_]]) -> list[tuple[int, int, str]]:
    """For each stretch of epochs with errors, or without: its first epoch (from 1), its length, and its state."""
    starts = np.flatnonzero(np.diff(zero.astype(int), prepend=-1))
    lengths = np.diff([*starts, len(zero)])
    return [
        (int(start) + 1, int(length), "no error" if zero[start] else "errors")
        for start, length in zip(starts, lengths, strict=True)
    ]


def by_seed(finished: pd.DataFrame) -> Chart:
    """Errors after the last epoch by number of epochs. Each point is a run; groups stand side by side."""
    labels = encodings.groups(finished)
    many = finished["epochs"].nunique() > 12
    rows = finished[["rate", "epochs", "final_errors", "seed", "run_id"]].rename(
        columns={"run_id": "run", "final_errors": "errors"}
    )
    x = (
        alt.X("epochs:Q", title="epochs", scale=alt.Scale(zero=False), axis=encodings.EPOCHS)
        if many
        else alt.X("epochs:O", title="epochs", axis=alt.Axis(labelAngle=0, grid=True, gridOpacity=0.4, bandPosition=0))
    )
    points = (
        alt.Chart(encodings.data(rows.to_dict("records")))
        .mark_point(filled=True, size=45, cursor="pointer")
        .encode(
            x=x,
            y=alt.Y("errors:Q", title="errors at the last epoch", **encodings.counts(float(rows["errors"].max()))),
            color=encodings.colour(labels),
            shape=encodings.shape(labels),
            opacity=encodings.opacity(0.75),
            tooltip=[
                encodings.RATE,
                *(alt.Tooltip(f"{name}:N") for name in ("epochs", "seed", "errors")),
            ],
        )
    )
    chart = points if many else points.encode(xOffset=alt.XOffset("rate:N", sort=labels))
    return encodings.sized(chart, 320)


def held_out(cells: pd.DataFrame) -> Chart:
    """Mean held-out errors by epochs and learning rate."""
    labels = encodings.groups(cells)
    shown = cells.dropna(subset="held_out")[["rate", "epochs", "held_out", "n"]]
    chart = (
        alt.Chart(encodings.data(shown.to_dict("records")))
        .mark_line(point=alt.OverlayMarkDef(size=50), strokeWidth=2)
        .encode(
            x=alt.X("epochs:Q", title="epochs", scale=alt.Scale(zero=False), axis=encodings.EPOCHS),
            y=alt.Y("held_out:Q", title="held-out errors (mean over seeds)", scale=alt.Scale(zero=False)),
            color=encodings.colour(labels),
            opacity=encodings.opacity(1),
            tooltip=[
                encodings.RATE,
                alt.Tooltip("epochs:Q"),
                alt.Tooltip("held_out:Q", title="mean held-out errors", format=".0f"),
                alt.Tooltip("n:Q", title="seeds"),
            ],
        )
    )
    return encodings.sized(chart, 260)


def against_baseline(differences: Sequence[Difference]) -> Chart:
    """Paired differences in errors from the baseline, with intervals, by learning rate and number of epochs."""
    labels = list(dict.fromkeys(found.rate for found in differences))
    names = [f"{found.rate}, {found.epochs} epochs" for found in differences]
    rows = [
        {
            "name": name,
            "rate": found.rate,
            "group": found.group,
            "difference": found.errors.value,
            "low": found.errors.low,
            "high": found.errors.high,
            "pairs": found.errors.n,
        }
        for name, found in zip(names, differences, strict=True)
    ]
    places = {found.rate: found.group for found in differences}
    shades = [SERIES[places[label] % len(SERIES)] for label in labels]
    scale = alt.Scale(type="symlog", constant=10, nice=False)
    axis = alt.Axis(
        values=[-1000, -300, -100, -30, -10, 0, 10, 30, 100, 300, 1000],
        format="+d",
        labelExpr="datum.value ? datum.label : '0'",
    )
    base = alt.Chart(encodings.data(rows)).encode(
        y=alt.Y("name:N", title=None, sort=names, axis=alt.Axis(labelLimit=240, domain=False, ticks=False)),
        color=alt.Color("rate:N", title="learning rate", scale=alt.Scale(domain=labels, range=shades), sort=labels),
        opacity=encodings.opacity(1),
        tooltip=[
            alt.Tooltip("name:N", title="variant"),
            *(alt.Tooltip(f"{name}:Q", format="+.1f") for name in ("difference", "low", "high")),
            alt.Tooltip("pairs:Q"),
        ],
    )
    title = "difference in errors from the baseline"
    zero = alt.Chart(encodings.data([{"zero": 0}])).mark_rule(strokeDash=[4, 3]).encode(x="zero:Q")
    intervals = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", title=title, scale=scale, axis=axis), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=70).encode(x=alt.X("difference:Q", scale=scale))
    has_intervals = any(np.isfinite(found.errors.low) for found in differences)
    layers = [zero, *([intervals] if has_intervals else []), points]
    return encodings.sized(alt.layer(*layers), 22 * len(rows))


def some(curves: pd.DataFrame, own_run: str | None) -> pd.DataFrame:
    """The curves of at most 100 trainings, equally many of each group if possible. The baseline's own is included."""
    runs = curves[["rate", "run_id"]].drop_duplicates()
    most = max(1, _MOST_LINES // max(1, runs["rate"].nunique()))
    is_own = runs["run_id"].astype(str) == own_run
    kept = pd.concat([runs[is_own], runs[~is_own]]).groupby("rate", observed=True, sort=False).head(most)
    return curves[curves["run_id"].isin(kept["run_id"])]


def curve_rows(curves: pd.DataFrame) -> list[dict[str, Any]]:
    """The data of the charts of curves: one row for each training, with a list of its errors and of its losses."""
    found = []
    for (rate, seed, run), own in curves.groupby(["rate", "seed", "run_id"], observed=True, sort=False):
        losses = [float(f"{loss:.4g}") if np.isfinite(loss) else None for loss in own["loss"].astype(float)]
        found.append(
            {
                "rate": str(rate),
                "seed": int(str(seed)),
                "run": str(run),
                "errors": own["errors"].astype(int).tolist(),
                "loss": losses,
            }
        )
    return found


def by_epoch(curves: pd.DataFrame, baseline_run: str | None) -> Chart:
    """Errors by epoch, one line for each training."""
    y = alt.Y("errors:Q", title="errors on the 5000 images", **encodings.counts(float(curves["errors"].max())))
    return _lines(curves, y, baseline_run)


def loss_by_epoch(curves: pd.DataFrame, baseline_run: str | None) -> Chart:
    """Mean training loss by epoch, one line for each training. Losses that are not finite are left out."""
    losses = curves["loss"].astype(float)
    finite = losses[np.isfinite(losses) & (losses > 0)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.1, 1.0)
    y = alt.Y("loss:Q", title="training loss (cross-entropy, nats)", **encodings.logarithmic(float(low), float(high)))
    return _lines(curves, y, baseline_run, positive=True)


def _lines(curves: pd.DataFrame, y: alt.Y, baseline_run: str | None, *, positive: bool = False) -> Chart:
    labels = encodings.groups(curves)
    is_own = f"datum.run === '{baseline_run}'"
    chart = (
        alt.Chart(alt.NamedData(CURVES))
        .transform_flatten(["errors", "loss"])
        .transform_window(epoch="row_number()", groupby=["run"])
        .transform_filter("datum.loss > 0" if positive else "true")
        .mark_line(cursor="pointer", clip=True)
        .encode(
            x=alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False, domainMin=1), axis=encodings.EPOCHS),
            y=y,
            color=encodings.colour(labels),
            detail="run:N",
            opacity=encodings.opacity(0.7),
            strokeWidth=alt.condition(is_own, alt.value(3), alt.value(1.2)),
        )
        .add_params(encodings.zoom())
    )
    return encodings.sized(chart, 320)
