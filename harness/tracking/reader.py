"""Reads studies and their runs from MLflow."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from mlflow.entities import Run as MlflowRun
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.files import masked
from harness.network.variant import BASELINE, training_key
from harness.study.config import NAME_PATTERN
from harness.tracking.location import tracking_uri
from harness.tracking.owner import Owner
from harness.tracking.store import RUN_ONE, Store, failures
from harness.tracking.tags import Role, Tag

OUTCOME = "outcome.json"
IMAGES = "images.npz"
WEIGHTS = "weights.npz"  # only runs that may become models have it


@dataclass(frozen=True)
class RunRecord:
    """A run as recorded in MLflow.

    Attributes:
        run_id: MLflow's id of the run.
        name: Name of the run, for display.
        status: MLflow's status of the run: ``FINISHED``, ``FAILED``, ``KILLED`` or ``RUNNING``.
        params: Recorded parameters.
        metrics: Last value of each metric.
        tags: Recorded tags.
        started_ms: Start time, in milliseconds since 1970.
        ended_ms: End time, in milliseconds since 1970; None while the run is open.
        losses: Mean loss of each epoch, from epoch 1; empty if the training history was not read.
        errors: Error count after each epoch, from epoch 1; empty if the training history was not read.
        wrong_images: Indices (from 0) of the images that count as errors after the last epoch.
        wrong_answers: Predicted digit of each image in `wrong_images`, or -1 for no digit; empty if not recorded.
        softmax: Fields of a :class:`harness.network.softmax.SoftmaxCheck` for each implementation of ``my_softmax``.
        softmax_by_size: Fields of each :class:`harness.network.softmax.SizedCheck`; empty if not recorded.
    """

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started_ms: int
    ended_ms: int | None = None
    losses: tuple[float, ...] = ()
    errors: tuple[int, ...] = ()
    wrong_images: tuple[int, ...] = ()
    wrong_answers: tuple[int, ...] = ()
    softmax: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    softmax_by_size: Sequence[Mapping[str, Any]] = ()

    @property
    def settings(self) -> dict[str, str]:
        """All settings of the variant, as text.

        A setting that has no recorded parameter has the baseline's value.
        """
        return {name: self.params.get(name, str(value)) for name, value in BASELINE.settings().items()}

    @property
    def training(self) -> frozenset[tuple[str, str]]:
        """The identity of the training that the run was read from. Runs that differ only in epochs share one."""
        return training_key(self.settings)

    @property
    def owner(self) -> Owner | None:
        """The owner of the study, if this is its parent run and the owner is alive."""
        owner = Owner.parse(self.tags.get(Tag.OWNER, ""))
        heartbeat_s = float(self.tags.get(Tag.HEARTBEAT, "0"))
        return owner if owner is not None and owner.is_alive(heartbeat_s) else None


@dataclass(frozen=True)
class StoredImages:
    """The images of a study, recorded in 256 greys so that reports can draw them.

    Attributes:
        x: Grey values, ``(5000, 400)``, ``uint8``, 0 to 255, unrolled as in the lab.
        y: Labels (digits), ``(5000,)``.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class StudyRecord:
    """A study as recorded in MLflow.

    Attributes:
        parent: Parent run of the study.
        trainings: Runs of the trainings, in the order of their trials.
        images: Images of the study; None if they were not recorded.
        experiment_id: Id of the MLflow experiment.
        tracking_uri: URI of the tracking store that the study was read from, without passwords.
    """

    parent: RunRecord
    trainings: tuple[RunRecord, ...]
    images: StoredImages | None = None
    experiment_id: str = ""
    tracking_uri: str = field(default_factory=lambda: masked(tracking_uri()))


class StudyReader:
    """Reads the runs of studies.

    Args:
        store: Tracking store.

    Raises:
        StoppedError: The store cannot be reached or read. Every method may raise this error.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def studies(self, name: str | None = None) -> list[RunRecord]:
        """The parent runs of the studies with this name, or of all studies, oldest first.

        Archived studies are included.
        """
        condition = f"tags.`{Tag.ROLE}` = '{Role.STUDY}'"
        if name is not None:
            if not re.fullmatch(NAME_PATTERN, name):
                return []
            condition += f" and tags.`{Tag.STUDY}` = '{name}'"
        with failures():
            found = [_record(run) for run in self._store.search(condition)]
        return sorted(found, key=lambda run: (run.started_ms, run.run_id))

    def newest_study(self, name: str | None = None) -> RunRecord | None:
        """The parent run of the study with this name, or of the study that ran last; None if there is none.

        Archived studies are ignored.
        """
        found = [run for run in self.studies(name) if Tag.ARCHIVED not in run.tags]
        return max(found, key=lambda run: int(run.tags.get(Tag.LAST_RUN, "0")), default=None)

    def runs(self, key: str, role: str) -> Iterator[RunRecord]:
        """The runs of a study that have this role, without training histories."""
        with failures():
            condition = f"tags.`{Tag.STUDY_KEY}` = '{key}' and tags.`{Tag.ROLE}` = '{role}'"
            yield from (_record(run) for run in self._store.search(condition))

    def recorded(self, name: str | None = None) -> RunRecord:
        """The parent run of the study with this name, or of the study that ran last.

        Raises:
            UsageError: No such study was recorded.
        """
        parent = self.newest_study(name)
        if parent is None:
            what = "no study was recorded" if name is None else f"no study called {name!r} was recorded"
            raise UsageError(f"{what} in {masked(tracking_uri())}", RUN_ONE)
        return parent

    def last_change(self, key: str) -> str:
        """The state of a study's records: it differs after a run was added or ended."""
        with failures():
            condition = f"tags.`{Tag.STUDY_KEY}` = '{key}'"
            orders = ("attributes.start_time DESC", "attributes.end_time DESC")
            newest = [next(self._store.search(condition, [order], page=1)) for order in orders]
            return " ".join(f"{run.info.run_id} {run.info.end_time}" for run in newest)

    def study(self, name: str | None = None) -> StudyRecord:
        """The study with this name, or the study that ran last, with its trainings.

        Several runs may come from one training. Only the longest of them gets its training history. The histories of
        the others are the first epochs of it, and reading each one can cost two calls.

        Raises:
            UsageError: No such study was recorded.
        """
        return self._whole(self.recorded(name))

    def named_or_run(self, name: str) -> StudyRecord:
        """The study with this name, or the study whose parent run has this id, with its trainings.

        A study that is found by the id of its parent run may be archived.

        Raises:
            UsageError: No such study was recorded.
        """
        parent = self.newest_study(name) or next((run for run in self.studies() if run.run_id == name), None)
        if parent is None:
            cause = f"no study of the name or with the run id {name!r} was recorded in {masked(tracking_uri())}"
            raise UsageError(cause, "`harness study list` shows the recorded studies.")
        return self._whole(parent)

    def _whole(self, parent: RunRecord) -> StudyRecord:
        with failures():
            condition = (
                f"tags.`{Tag.STUDY_KEY}` = '{parent.tags[Tag.STUDY_KEY]}' and tags.`{Tag.ROLE}` = '{Role.TRAINING}'"
            )
            found = [(_record(run), str(run.info.artifact_uri)) for run in self._store.search(condition)]
            finished = sorted((record for record, _ in found if record.status == "FINISHED"), key=_length)
            longest = set({record.training: record.run_id for record in finished}.values())
            runs = [self._with_details(record, where, is_longest=record.run_id in longest) for record, where in found]
            images = self._images(parent.run_id)
        runs.sort(key=lambda record: (int(record.tags[Tag.TRIAL]), record.started_ms, record.name))
        return StudyRecord(parent, tuple(runs), images, self._store.experiment_id)

    def with_histories(self, record: RunRecord) -> RunRecord:
        """The run with the loss and error count of each epoch, read from the metrics.

        A run that is not finished is returned unchanged.
        """
        if record.status != "FINISHED":
            return record
        with failures():
            losses, errors = (self._history(record.run_id, name) for name in ("loss", "errors"))
        return replace(record, losses=losses, errors=tuple(int(count) for count in errors))

    def _with_details(self, record: RunRecord, artifact_uri: str, *, is_longest: bool) -> RunRecord:
        """The run with the content of its artifact, and with its training history if it is the longest.

        A run that is not finished is returned unchanged.
        """
        if record.status != "FINISHED":
            return record
        details = self._store.with_retries(_details)(artifact_uri)
        record = replace(
            record,
            wrong_images=tuple(details["wrong_images"]),
            wrong_answers=tuple(details.get("wrong_answers", ())),
            softmax=details["softmax"],
            softmax_by_size=details.get("softmax_by_size", ()),
        )
        if not is_longest:
            return record
        if None in details["losses"]:  # NaN or infinity, which JSON cannot hold and MLflow can
            return self.with_histories(record)
        return replace(record, losses=tuple(details["losses"]), errors=tuple(details["errors"]))

    def weights(self, run_id: str) -> tuple[NDArray[np.float32], ...] | None:
        """The kernel and bias of each layer after the last epoch of a run; None if they were not recorded."""
        with failures():
            if WEIGHTS not in {file.path for file in self._store.client.list_artifacts(run_id)}:
                return None
            uri = str(self._store.client.get_run(run_id).info.artifact_uri)
            with np.load(io.BytesIO(self._store.with_retries(_artifact)(uri, WEIGHTS))) as arrays:
                return tuple(arrays[name] for name in arrays.files)

    def _images(self, run_id: str) -> StoredImages | None:
        """The images of the study with this parent run; None if an earlier version did not record them."""
        if IMAGES not in {file.path for file in self._store.client.list_artifacts(run_id)}:
            return None
        uri = str(self._store.client.get_run(run_id).info.artifact_uri)
        with np.load(io.BytesIO(self._store.with_retries(_artifact)(uri, IMAGES))) as arrays:
            return StoredImages(arrays["x"], arrays["y"])

    def _history(self, run_id: str, name: str) -> tuple[float, ...]:
        history = self._store.client.get_metric_history(run_id, name)
        return tuple(_unclamped(metric.value) for metric in sorted(history, key=lambda metric: metric.step))


def _details(artifact_uri: str) -> dict[str, Any]:
    details: dict[str, Any] = json.loads(_artifact(artifact_uri, OUTCOME))
    return details


def _artifact(artifact_uri: str, name: str) -> bytes:
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":  # read directly: MLflow would copy the file first
        return (Path(url2pathname(parts.path)) / name).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        return Path(get_artifact_repository(artifact_uri).download_artifacts(name, folder)).read_bytes()


def _unclamped(value: float) -> float:
    """The value as it was logged: MLflow's SQL store replaces infinity with the largest float."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _length(record: RunRecord) -> tuple[int, int]:
    """The sort key that puts the longest run last: the number of epochs, then the trial number."""
    return int(record.params["epochs"]), int(record.tags[Tag.TRIAL])


def _record(run: MlflowRun) -> RunRecord:
    return RunRecord(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        status=str(run.info.status),
        params=dict(run.data.params),
        metrics={name: _unclamped(value) for name, value in run.data.metrics.items()},
        tags=dict(run.data.tags),
        started_ms=int(run.info.start_time),
        ended_ms=None if run.info.end_time is None else int(run.info.end_time),
    )
