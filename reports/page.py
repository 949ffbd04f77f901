"""Frames and figures to one folder: a self-contained page, the same in Markdown, the runs as CSV."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.output import write_bytes, write_text
from harness.records import StudyRecord
from harness.variant import BASELINE
from reports import charts, frames
from reports.templating import render


@dataclass(frozen=True)
class Picture:
    """A figure of the report with its file name, its title, and what it shows in words."""

    file: str
    title: str
    caption: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """The picture as an address that holds it whole."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def write(record: StudyRecord, folder: Path) -> Path:
    """Write ``report.html``, ``report.md``, ``runs.csv`` and ``figures/`` into ``folder``; return the page's path.

    Raises:
        StoppedError: a file cannot be written.
    """
    frame = frames.runs(record)
    pictures = _pictures(record, frame)
    content = _content(record, frame, pictures)
    for picture in pictures:
        write_bytes(folder / "figures" / picture.file, picture.png)
    write_text(folder / "runs.csv", frame.drop(columns="rate", errors="ignore").to_csv(index=False))
    write_text(folder / "report.md", render("report.md", content))
    page = folder / "report.html"
    write_text(page, render("report.html", content))
    return page


def _content(record: StudyRecord, frame: pd.DataFrame, pictures: list[Picture]) -> dict[str, Any]:
    parent = record.parent
    empty = frame.empty
    ended = frame[frame["status"] == "FINISHED"] if not empty else frame
    failed = frame[frame["status"] != "FINISHED"] if not empty else frame
    return {
        "parent": parent,
        "study": parent.tags["harness.study"],
        "dataset": parent.tags["harness.dataset"],
        "engine": parent.tags["harness.engine"],
        "commit": parent.tags.get("harness.commit", "not a checkout"),
        "dirty": parent.tags.get("harness.dirty") == "true",
        "cpu": parent.tags["harness.cpu"],
        "versions": parent.tags["harness.versions"],
        "began": datetime.fromtimestamp(parent.started_ms / 1000, UTC),
        "tracking_uri": record.tracking_uri,
        "n_runs": len(frame),
        "n_finished": len(ended),
        "n_trainings": 0 if empty else len(frames.trainings(frame)),
        "failed": _records(failed),
        "half_written": frames.half_written(record),
        "baseline_epochs": BASELINE.epochs,
        "baseline": [] if empty else _records(frames.baseline(frame)),
        "cells": [] if empty else _records(frames.by_epochs_and_rate(frame)),
        "first_zero": [] if empty else _records(frames.first_zero_by_seed(frame)),
        "softmax": _records(frames.softmax(record)),
        "runs": _records(frame),
        "pictures": pictures,
    }


def _records(frame: pd.DataFrame) -> list[Mapping[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _pictures(record: StudyRecord, frame: pd.DataFrame) -> list[Picture]:
    if frame.empty or frames.finished(frame).empty:
        return []
    cells = frames.by_epochs_and_rate(frame)
    trainings = frames.first_zero_by_seed(frame)
    curves = frames.curves(record, frame)
    own = frames.baseline(frame)
    own_run = str(own["run_id"].iloc[-1]) if len(own) else None
    reached = int(trainings["first_zero_epoch"].notna().sum())
    at_zero = int(cells["at_zero"].sum())
    n_runs, n_trainings = int(cells["n"].sum()), len(trainings)
    band = "Lines are medians over seeds, bands go from the lowest seed to the highest"
    dashes = "; dashes are the baseline." if own_run else "."
    return [
        _picture(
            "errors_heat_map.png",
            "Errors by epochs and learning rate",
            f"{at_zero} of {n_runs} runs end with no error. Each cell: the mean error count after the last epoch, and "
            "how many of its runs are at zero. Cells of one learning rate share their trainings.",
            charts.errors_heat_map(cells),
        ),
        _picture(
            "errors_by_epoch.png",
            "Errors after every epoch",
            f"{n_trainings} trainings. {band}{dashes} Spikes that bring errors back are part of training at a "
            "constant learning rate.",
            charts.errors_by_epoch(curves, own_run),
        ),
        _picture(
            "first_zero_epochs.png",
            "When each training first had no error",
            f"{reached} of {n_trainings} trainings had an epoch with no error"
            + (f"; the other {n_trainings - reached} are hollow, above the line" if reached < n_trainings else "")
            + ". One mark is one seed.",
            charts.first_zero_epochs(trainings),
        ),
        _picture(
            "loss_by_epoch.png",
            "Loss after every epoch",
            f"{n_trainings} trainings. {band}{dashes}",
            charts.loss_by_epoch(curves, own_run),
        ),
    ]


def _picture(file: str, title: str, caption: str, figure: Figure) -> Picture:
    return Picture(file, title, caption, charts.png(figure))
