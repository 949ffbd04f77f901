"""Converts recorded runs to pandas data frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from harness.engines import registry
from harness.network.variant import BASELINE, TRAINING_SETTINGS
from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.tags import Tag

# A study with many learning rates, such as a search, is shown in groups of neighbouring rates.
_MOST_RATES = 6
_RATE_GROUPS = 4
_SETTINGS = [name for name in TRAINING_SETTINGS if name not in {"learning_rate", "seed"}]
_IN_LABELS = {"batch_size": "batch"}
_ENDED = ("FINISHED", "FAILED")
_SOFTMAX_FIGURES = ("max_abs_diff", "max_ulp", "argmax_differs", "row_sum_error", "overflow_rows")


def runs(record: StudyRecord) -> pd.DataFrame:
    """The recorded training runs, one row per run, in the order of their trials. Failed runs are included.

    Missing numbers are NaN: a failed run has no score, and not every training reaches zero errors.
    """
    columns: dict[str, list[object]] = {}  # a list of rows would take twice the memory
    for run in record.trainings:
        if run.status in _ENDED:
            for name, value in _row(run).items():
                columns.setdefault(name, []).append(value)
    frame = pd.DataFrame(columns)
    if frame.empty:
        return frame
    frame["rate"] = _group_labels(frame)
    return frame


def half_written(record: StudyRecord) -> list[RunRecord]:
    """The runs that a killed process left incomplete."""
    return [run for run in record.trainings if run.status not in _ENDED]


def one_configuration(frame: pd.DataFrame) -> bool:
    """Whether the runs differ only in their seeds and epochs, so that intervals over seeds make sense."""
    return not varied_settings(frame) and bool(frame["learning_rate"].min() == frame["learning_rate"].max())


def varied_settings(frame: pd.DataFrame) -> list[str]:
    """The settings besides epochs, learning rate and seed that differ between runs."""
    return [name for name in _SETTINGS if (frame[name] != frame[name].iloc[0]).any()]


def _group_labels(frame: pd.DataFrame) -> pd.Series[str]:
    """The label of each run's group: its learning rate and the other settings that vary, except epochs and seed."""
    labels = _rate_labels(frame["learning_rate"])
    varying = varied_settings(frame)
    if not varying:
        return labels
    order = frame.assign(rate=labels).sort_values(["rate", *varying])
    joined = labels.astype(str)
    for name in varying:
        joined += f", {_IN_LABELS.get(name, name)} " + frame[name].astype(str)
    return pd.Series(pd.Categorical(joined, joined[order.index].unique(), ordered=True), index=frame.index)


def _row(run: RunRecord) -> dict[str, object]:
    params, metrics = run.params, run.metrics
    row: dict[str, object] = {
        "run_id": run.run_id,
        "name": run.name,
        "status": run.status,
        "trial": int(run.tags[Tag.TRIAL]),
        "variant": run.tags[Tag.VARIANT],
        **{name: type(value)(params.get(name, value)) for name, value in BASELINE.settings().items()},
        "engine": params["engine"],
        "dataset": params["dataset"],
        "final_errors": metrics.get("final_errors", np.nan),
        "first_zero_epoch": metrics.get("first_zero_epoch", np.nan),
        "held_out_errors": metrics.get("held_out_errors", np.nan),
        "final_loss": metrics.get("final_loss", np.nan),
        "duration_s": metrics.get("duration_s", np.nan),
        "shared_by": metrics.get("shared_by", np.nan),
        "failure": run.tags.get(Tag.FAILURE, ""),
    }
    return row | {f"softmax_{name}": metrics.get(f"softmax_{name}", np.nan) for name in _SOFTMAX_FIGURES}


def short_names(values: Sequence[float]) -> dict[float, str]:
    """Each value as text. All texts have the same number of significant digits: enough to differ, at least three."""
    for digits in range(3, 17):
        names = {value: f"{value:.{digits}g}" for value in values}
        if len(set(names.values())) == len(names):
            return names
    return {value: repr(value) for value in values}


def _rate_labels(rates: pd.Series[float]) -> pd.Series[str]:
    """The label of each learning rate: the rate itself or, if there are many rates, a range of neighbouring rates."""
    distinct = np.sort(rates.unique())
    if len(distinct) <= _MOST_RATES:
        names = short_names(distinct.tolist())
        return pd.Series(pd.Categorical(rates.map(names), list(names.values()), ordered=True), index=rates.index)
    groups = np.array_split(distinct, _RATE_GROUPS)
    names = short_names(distinct.tolist())
    ranges = [f"{names[group[0]]} to {names[group[-1]]}" for group in groups]
    labels = {rate: label for group, label in zip(groups, ranges, strict=True) for rate in group}
    order = list(dict.fromkeys(labels.values()))
    return pd.Series(pd.Categorical(rates.map(labels), order, ordered=True), index=rates.index)


def finished(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs with a score."""
    return frame[frame["status"] == "FINISHED"]


def once(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs with a score, only the first one of each variant and seed."""
    return finished(frame).drop_duplicates(["epochs", *TRAINING_SETTINGS])


def by_configuration(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The runs of each configuration and number of epochs, one per seed, the smallest learning rates first.

    A seed whose training failed has a row without a score, unless it was trained again.
    """
    ended = frame.sort_values("status", ascending=False, kind="stable")  # FINISHED before FAILED
    ended = ended.drop_duplicates(["epochs", *TRAINING_SETTINGS]).sort_index()
    for _, seeds in ended.groupby(["learning_rate", *_SETTINGS, "epochs"]):
        yield seeds


def label(frame: pd.DataFrame, seeds: pd.DataFrame) -> str:
    """The label of a configuration: that of its group or, if the group has several learning rates, its own rate."""
    group = frame[frame["rate"] == seeds["rate"].iloc[0]]
    if group["learning_rate"].min() == group["learning_rate"].max():
        return str(seeds["rate"].iloc[0])
    varied = (f"{_IN_LABELS.get(name, name)} {seeds[name].iloc[0]}" for name in varied_settings(frame))
    return ", ".join([f"{seeds['learning_rate'].iloc[0]:.3g}", *varied])


def trainings(frame: pd.DataFrame) -> pd.DataFrame:
    """The trainings, one row per training. It is the row of the training's run with the most epochs."""
    same = list(TRAINING_SETTINGS)
    longest = finished(frame).sort_values(["epochs", "trial"]).drop_duplicates(same, keep="last")
    return longest.sort_values(["learning_rate", "seed", *_SETTINGS])


def by_epochs_and_rate(frame: pd.DataFrame) -> pd.DataFrame:
    """Final error counts by epochs and learning rate: mean, minimum, maximum, number of zeros, and held-out mean."""
    rows = []
    for (rate, epochs), cell in once(frame).groupby(["rate", "epochs"], observed=True):
        errors = cell["final_errors"]
        rows.append(
            {
                "rate": rate,
                "epochs": epochs,
                "n": len(cell),
                "mean_errors": errors.mean(),
                "min_errors": int(errors.min()),
                "max_errors": int(errors.max()),
                "at_zero": int((errors == 0).sum()),
                "held_out": cell["held_out_errors"].mean(),
                "run_ids": list(cell["run_id"]),
            }
        )
    cells = pd.DataFrame(rows)
    if rows:
        cells["rate"] = pd.Categorical(cells["rate"], frame["rate"].cat.categories, ordered=True)
    return cells


def curves(record: StudyRecord, frame: pd.DataFrame) -> pd.DataFrame:
    """Loss and errors of every training, one row per epoch."""
    histories = {run.run_id: run for run in record.trainings}
    own = trainings(frame)
    own["run_id"] = own["run_id"].astype("category")  # a repeated text would take most of the memory
    if own.empty:
        return pd.DataFrame(columns=["epoch", "loss", "errors", "rate", "seed", "run_id"])
    recorded = [histories[run_id] for run_id in own["run_id"]]
    lengths = [len(run.losses) for run in recorded]
    repeated = own[["rate", "seed", "run_id"]].loc[own.index.repeat(lengths)].reset_index(drop=True)
    measured = {
        "epoch": np.concatenate([np.arange(1, length + 1) for length in lengths]),
        "loss": np.concatenate([run.losses for run in recorded]),
        "errors": np.concatenate([run.errors for run in recorded]),
    }
    return pd.concat([pd.DataFrame(measured), repeated], axis=1)


def is_like_baseline(frame: pd.DataFrame) -> pd.Series[bool]:
    """Whether each run has the baseline's learning rate and settings, for any seed and number of epochs."""
    settings = registry.baseline(frame["engine"].iloc[0]).settings()
    names = ["learning_rate", *_SETTINGS]
    return (frame[names] == [settings[name] for name in names]).all(axis=1)


def baseline(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs of the baseline, one for each number of epochs."""
    own = is_like_baseline(frame) & (frame["seed"] == BASELINE.seed)
    return finished(frame[own]).sort_values(["epochs", "trial"])


def softmax(record: StudyRecord) -> pd.DataFrame:
    """The largest differences of each ``my_softmax`` from TensorFlow's over all runs, with the run of each."""
    checks = [(run.run_id, way, check) for run in record.trainings for way, check in run.softmax.items()]
    if not checks:
        return pd.DataFrame(columns=["way", "runs", *_SOFTMAX_FIGURES])
    figures = {name: [getattr(check, name) for _, _, check in checks] for name in _SOFTMAX_FIGURES}
    every = pd.DataFrame({"way": [way for _, way, _ in checks], **figures}, index=[run_id for run_id, _, _ in checks])
    summary = []
    for name, group in every.groupby("way", sort=False):
        worst: dict[str, object] = {"way": name, "runs": len(group)}
        for figure in _SOFTMAX_FIGURES:
            values = group[figure].astype(float)
            worst[figure] = values.max()
            worst[f"{figure}_run"] = values.idxmax() if values.max() > 0 else ""
        summary.append(worst)
    return pd.DataFrame(summary)
