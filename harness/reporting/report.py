"""Writes the report of a study: a self-contained HTML page, the same in Markdown, and the runs as CSV."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from harness.data.digits import LAB_NAME
from harness.engines import registry
from harness.files import write_bytes, write_text
from harness.reporting import captions, findings, frames, search_trials, summary, vega
from harness.reporting.charts import epochs as epoch_charts
from harness.reporting.charts import errors as error_charts
from harness.reporting.charts import images as image_charts
from harness.reporting.charts import search as search_charts
from harness.reporting.charts import softmax as softmax_charts
from harness.reporting.content import Facts, Findings, ReportContent, Rows
from harness.reporting.figure_files import Picture, in_default_style, picture
from harness.reporting.templating import render
from harness.selection import RULE
from harness.tracking.run_record import StoredImages, StudyRecord
from harness.tracking.tags import Tag

_HARDEST = 24
_MOST_COLUMNS = 12
_MOST_RECOMMENDED = 5
# The columns of the table of all runs, besides settings that vary.
_LISTED = (
    *("run_id", "trial", "status", "rate", "learning_rate", "epochs", "seed"),
    *("final_errors", "held_out_errors", "first_zero_epoch", "final_loss", "softmax_max_ulp", "duration_s"),
)


@in_default_style
def write(record: StudyRecord, folder: Path) -> Path:
    """Write ``report.html``, ``report.md``, ``runs.csv`` and ``figures/`` into ``folder``, and return the page's path.

    Raises:
        StoppedError: A file cannot be written.
    """
    frame = frames.runs(record)
    content = _content(record, frame)
    pictures = content.findings.pictures
    for found in pictures.values():
        write_bytes(folder / "figures" / f"{found.name}.png", found.png)
    _forget(folder / "figures", {f"{name}.png" for name in pictures})
    write_text(folder / "runs.csv", frame.drop(columns="rate", errors="ignore").to_csv(index=False))
    write_text(folder / "report.md", render("report.md", content.variables()))
    page = folder / "report.html"
    is_interactive = any(found.specification for found in pictures.values())
    library = vega.library() if is_interactive else ""
    write_text(page, render("report.html", {**content.variables(), "library": library}))
    return page


def _forget(folder: Path, kept: set[str]) -> None:
    """Delete the figures of an earlier report that this report does not have."""
    for path in folder.glob("*.png"):
        if path.name not in kept:
            path.unlink()


def _content(record: StudyRecord, frame: pd.DataFrame) -> ReportContent:
    failed = frame[frame["status"] != "FINISHED"] if not frame.empty else frame
    varied = [] if frame.empty else frames.varied_settings(frame)
    has_score = not frame.empty and not frames.finished(frame).empty
    return ReportContent(
        facts=_facts(record),
        question=summary.question(record, frame),
        findings=_findings(record, frame) if has_score else Findings(),
        baseline_named=_baseline_named(record),
        n_runs=len(frame),
        n_finished=len(frame) - len(failed),
        failed=_rows(failed),
        half_written=frames.half_written(record),
        damaged=record.damaged,
        runs=_rows(frame if frame.empty else frame[[*_LISTED, *varied]]),
        varied=varied,
        run_address=_run_address(record),
        softmax=_rows(frames.softmax(record)),
    )


def _facts(record: StudyRecord) -> Facts:
    tags, parent = record.parent.tags, record.parent
    dataset = search_trials.recorded_signature(record).get("dataset", {})
    return Facts(
        parent=parent,
        study=tags[Tag.STUDY],
        dataset=tags[Tag.DATASET],
        sha256_x=dataset.get("sha256_x", "not recorded"),
        sha256_y=dataset.get("sha256_y", "not recorded"),
        engine=tags[Tag.ENGINE],
        commit=tags.get(Tag.COMMIT, "not a checkout"),
        dirty=tags.get(Tag.DIRTY) == "true",
        cpu=tags[Tag.CPU],
        versions=tags[Tag.VERSIONS],
        began=datetime.fromtimestamp(parent.started_ms / 1000, UTC),
        took_s=None if parent.ended_ms is None else (parent.ended_ms - parent.started_ms) / 1000,
        command=tags.get(Tag.COMMAND, f"harness study run {tags[Tag.STUDY]}"),
        times_run=int(tags.get(Tag.TIMES_RUN, "1")),
        tracking_uri=record.tracking_uri,
    )


def _baseline_named(record: StudyRecord) -> str:
    """The sentence that names the baseline's own training. With the lab's images and Adam, it is the lab's own."""
    own = registry.baseline(record.parent.tags[Tag.ENGINE])
    settings = f"Seed {own.seed}, learning rate {own.learning_rate:g}, {'/'.join(map(str, own.layers))} units"
    is_the_labs = record.parent.tags[Tag.DATASET] == LAB_NAME and own.adam == "tensorflow"
    named = "the lab's own training" if is_the_labs else "the baseline's own training"
    return f"{settings}, is {named}."


def _run_address(record: StudyRecord) -> str:
    """The address of a run in MLflow's UI, without the run id. Empty if the store has no such address."""
    if not record.tracking_uri.startswith(("http://", "https://")):
        return ""
    return f"{record.tracking_uri.rstrip('/')}/#/experiments/{record.experiment_id}/runs/"


def _findings(record: StudyRecord, frame: pd.DataFrame) -> Findings:
    """The findings of a study with at least one finished run, in numbers, sentences and figures."""
    trainings, cells, curves = frames.trainings(frame), frames.by_epochs_and_rate(frame), frames.curves(record, frame)
    own = frames.baseline(frame)
    own_run = str(own["run_id"].iloc[-1]) if len(own) else None
    groups = findings.reach(trainings, curves)
    differences, best = findings.against_baseline(frame), findings.recommended(frame)
    like = trainings[frames.is_like_baseline(trainings)]
    like_groups = findings.reach(like, curves) if len(like) else []
    spikes = findings.spikes(curves, trainings)
    hard = findings.hard_images(record, frame)
    unseen = findings.held_out_errors(frame)
    lines = error_charts.some(curves, own_run)
    shared = {error_charts.CURVES: error_charts.curve_rows(lines)}
    trials = search_trials.trials(record, frame) if search_trials.is_search(record) else frame.head(0)
    shares = _importances(record, trials) if len(trials) else {}
    pictures = [
        *_baseline_pictures(curves, like, own_run),
        vega.picture(
            "reached", "When trainings reach zero errors", captions.reached(groups), epoch_charts.reached(trainings)
        ),
        *_error_pictures(frame, cells),
        *_curve_pictures(curves, own_run, groups, lines, shared),
        *_difference_pictures(differences),
        *_image_pictures(hard, record.images),
        *_softmax_pictures(record),
        *_held_out_pictures(cells, unseen),
        *(_search_pictures(record, trials, shares) if len(trials) else []),
    ]
    return Findings(
        n_trainings=len(trainings),
        training_s=float(trainings["duration_s"].sum()),
        cards=[
            *([summary.search_card(trials, shares.get("errors", {}))] if len(trials) else []),
            *([summary.baseline_card(like_groups, like)] if like_groups or trials.empty else []),
            summary.recommended_card(best, groups),
            summary.surprise_card(frame, groups, spikes),
        ],
        rule=RULE,
        baseline_said=_baseline_said(curves, own_run, like_groups),
        baseline=_rows(own),
        groups=groups,
        first_zero=_rows(trainings),
        cells=_rows(cells),
        recommended=best[:_MOST_RECOMMENDED],
        recommended_said=captions.recommendation(best),
        spikes=spikes,
        held_out_said=captions.held_out(
            unseen,
            record.parent.tags[Tag.DATASET],
            is_objective="held_out_errors" in search_trials.objectives(record),
        ),
        has_held_out=unseen is not None,
        differences=differences,
        never_wrong=captions.never_wrong(hard),
        trials=_rows(trials),
        pictures={found.name: found for found in pictures},
        shared=json.dumps(shared, separators=(",", ":"), allow_nan=False),
    )


def _baseline_said(curves: pd.DataFrame, own_run: str | None, groups: list[findings.Reach]) -> list[str]:
    said = []
    if own_run is not None:
        said.append(captions.own_training(curves[curves["run_id"] == own_run]["errors"].tolist()))
    return said + [captions.seeds_of_baseline(group) for group in groups]


def _baseline_pictures(curves: pd.DataFrame, like: pd.DataFrame, own_run: str | None) -> list[Picture]:
    shown = curves[curves["run_id"].isin(like["run_id"])]
    if shown.empty:
        return []
    said = captions.baseline_strip(shown["run_id"].nunique(), error_charts.MOST_SEEDS)
    return [vega.picture("baseline", "Does the baseline stay at zero?", said, error_charts.zero_strip(shown, own_run))]


def _error_pictures(frame: pd.DataFrame, cells: pd.DataFrame) -> list[Picture]:
    chart = error_charts.by_seed(frames.finished(frame))
    found = [vega.picture("errors_by_seed", "Errors by seed", captions.by_seed(cells), chart)]
    # A search has nearly as many epoch counts as trials, so its heat map would be wide and empty.
    if cells["epochs"].nunique() <= _MOST_COLUMNS:
        chart = error_charts.heat_map(cells)
        found.append(
            vega.picture("errors_heat_map", "Errors by epochs and learning rate", captions.heat_map(cells), chart)
        )
    return found


def _curve_pictures(
    curves: pd.DataFrame, own_run: str | None, groups: list[findings.Reach], lines: pd.DataFrame, shared: vega.Shared
) -> list[Picture]:
    if lines.empty:
        return []
    n_lines, n = lines["run_id"].nunique(), curves["run_id"].nunique()
    some = "" if n_lines == n else f" The figure shows {n_lines} of {n} trainings."
    said = captions.errors_by_epoch(groups, has_baseline=own_run is not None) + some
    chart = error_charts.by_epoch(lines, own_run)
    found = [vega.picture("errors_by_epoch", "Errors after every epoch", said, chart, shared)]
    if (np.isfinite(lines["loss"].astype(float)) & (lines["loss"] > 0)).any():
        said, chart = captions.losses(curves) + some, error_charts.loss_by_epoch(lines, own_run)
        found.append(vega.picture("loss_by_epoch", "Loss after every epoch", said, chart, shared))
    return found


def _difference_pictures(differences: list[findings.Difference]) -> list[Picture]:
    if not differences:
        return []
    chart = error_charts.against_baseline(differences)
    return [vega.picture("against_baseline", "Against the baseline", captions.differences(differences), chart)]


def _image_pictures(hard: findings.HardImages | None, images: StoredImages | None) -> list[Picture]:
    if hard is None or images is None or not (chosen := hard.hardest(_HARDEST)):
        return []
    counts = findings.confusion(hard, images.y)
    gallery = image_charts.gallery(hard, images, chosen)
    found = [picture("hard_images", "The hardest images", captions.hardest(hard, images, chosen), gallery)]
    if counts.any():
        title = "Labels and predictions of wrong images"
        found.append(vega.picture("confusion", title, captions.confusions(counts), image_charts.confusion(counts)))
    return found


def _softmax_pictures(record: StudyRecord) -> list[Picture]:
    by_size = findings.softmax_by_size(record)
    if by_size.empty:
        return []
    title = "my_softmax by the size of the logits"
    found = [vega.picture("softmax", title, captions.softmax(by_size), softmax_charts.distance(by_size))]
    if by_size["overflow_rows"].any():
        chart = softmax_charts.overflow(by_size)
        found.append(vega.picture("softmax_overflow", "Rows that overflow", captions.overflow(by_size), chart))
    return found


def _held_out_pictures(cells: pd.DataFrame, unseen: findings.HeldOutErrors | None) -> list[Picture]:
    if unseen is None or cells["epochs"].nunique() < 2 or cells["epochs"].nunique() > _MOST_COLUMNS:
        return []
    said = "Each point is the mean over all seeds with the same number of epochs and learning rate."
    return [vega.picture("held_out", "Unseen images by epochs", said, error_charts.held_out(cells))]


def _importances(record: StudyRecord, trials: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The proportion of each objective's variance that each parameter explains, for objectives where it is known."""
    from harness.search.importance import importances

    names = search_trials.varied(trials)
    points = [{str(key): value for key, value in row.items()} for row in trials[names].to_dict("records")]
    logarithmic = {name for name in names if search_trials.scale(record, name) == "log"}
    # The objective `epochs` equals the parameter `epochs`, so its importances say nothing.
    goals = [goal for goal in search_trials.objectives(record) if goal != "epochs"]
    found = {goal: importances(points, trials[goal].tolist(), logarithmic) for goal in goals}
    return {goal: by_name for goal, by_name in found.items() if by_name}


def _search_pictures(record: StudyRecord, trials: pd.DataFrame, shares: dict[str, dict[str, float]]) -> list[Picture]:
    goals, names = search_trials.objectives(record), search_trials.varied(trials)
    found = []
    for goal in goals:
        if goal != "epochs":  # its best value is the smallest number of epochs that was tried
            title, chart = f"Best {search_charts.NAMES[goal]} by trial", search_charts.history(trials, goal)
            found.append(vega.picture(f"history_{goal}", title, captions.history(trials, goal), chart))
    if len(goals) > 1:
        best = search_trials.front(trials, goals)
        chart = search_charts.front(trials, best, goals)
        found.append(vega.picture("front", "Errors against epochs", captions.front(trials, best), chart))
    if shares:
        said, chart = captions.importance(shares, len(trials)), search_charts.importance(shares)
        found.append(vega.picture("importance", "Importance of the parameters", said, chart))
    for name in names:
        is_logarithmic = search_trials.scale(record, name) == "log"
        chart = search_charts.by_parameter(trials, name, is_logarithmic=is_logarithmic)
        title = f"Errors by {search_charts.NAMES[name]}"
        found.append(vega.picture(f"by_{name}", title, captions.best_quarter(trials, name), chart))
    return found


def _rows(frame: pd.DataFrame) -> Rows:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
