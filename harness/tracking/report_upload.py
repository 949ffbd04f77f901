"""Uploads a study's report to MLflow, and writes its results into the study's note."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from harness.tracking import descriptions
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
