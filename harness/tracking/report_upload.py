"""Writes the results of a study to MLflow: the report, the study's note, and the metrics of its parent run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.entities import Metric
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from harness.tracking import descriptions, model_selection
from harness.tracking.run_record import StudyRecord
from harness.tracking.store import Store, failures
from harness.tracking.tags import Tag


def describe(store: Store, record: StudyRecord) -> None:
    """Write the results into the note of the study's parent run.

    Raises:
        StoppedError: The store cannot be reached, read or written.
    """
    with failures():
        note = descriptions.merged(record.parent.tags.get(Tag.NOTE, ""), descriptions.ended(record))
        store.client.set_tag(record.parent.run_id, Tag.NOTE, note)


def log_results(store: Store, record: StudyRecord, metrics: Mapping[str, float], step: int) -> None:
    """Record the results of a study that has ended.

    The metrics are written to the study's parent run. The tag ``harness.longest`` is "true" for the run of a training
    that has the most epochs. If the training now has a run with more epochs, the tag of the old run becomes "false".
    This happens if the study was resumed with more epochs.

    Args:
        store: Tracking store.
        record: Study with its trainings.
        metrics: Values of the metrics, by name.
        step: Number of times the study was started. Call this function once for each step.

    Raises:
        StoppedError: The store cannot be reached, read or written.
    """
    now_ms = int(time.time() * 1000)
    values = [Metric(name, float(value), now_ms, step) for name, value in metrics.items()]
    longest = {run.run_id for run in model_selection.longest(record.trainings)}
    with failures():
        store.client.log_batch(record.parent.run_id, metrics=values)
        for run in record.trainings:
            if run.tags.get(Tag.LONGEST) == "true" and run.run_id not in longest:
                store.client.set_tag(run.run_id, Tag.LONGEST, "false")


def log_files(store: Store, run_id: str, paths: Sequence[Path], folder: str | None = None) -> None:
    """Upload files and folders to a run. Existing artifacts with the same names are replaced.

    Args:
        store: Tracking store.
        run_id: Id of the run.
        paths: Existing files and folders. A folder is uploaded under its own name.
        folder: Folder in the run's artifacts to upload to. The default is the root folder of the artifacts.

    Raises:
        StoppedError: The store cannot be reached, read or written.
    """
    with failures():
        repository = get_artifact_repository(store.artifacts(str(store.client.get_run(run_id).info.artifact_uri)))
        for path in paths:
            if path.is_dir():
                where = "/".join(part for part in (folder, path.name) if part)
                store.with_retries(repository.log_artifacts)(str(path), where)
            else:
                store.with_retries(repository.log_artifact)(str(path), folder)
