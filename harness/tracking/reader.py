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
from harness.network.variant import BASELINE
from harness.study.config import NAME_PATTERN
from harness.tracking.location import tracking_uri
from harness.tracking.owner import Owner
from harness.tracking.store import RUN_ONE, Store, failures
from harness.tracking.tags import Role, Tag

OUTCOME = "outcome.json"
IMAGES = "images.npz"
WEIGHTS = "weights.npz"  # of the runs that may be kept as models


@dataclass(frozen=True)
class RunRecord:
    """A run, as MLflow recorded it.

    Attributes:
        run_id: MLflow's.
        name: for people.
        status: MLflow's: ``FINISHED``, ``FAILED``, ``KILLED`` or ``RUNNING``.
        params: as they were recorded.
        metrics: the last value of each.
        tags: as they were recorded.
        started_ms: milliseconds since 1970.
        ended_ms: the same, or None while it runs.
        losses: one value an epoch, from epoch 1; nothing where they were not read.
        errors: the same.
        wrong_images: indices (from 0) of the images that are wrong after the last epoch.
        wrong_answers: what these are taken for, -1 for no digit; empty where it was not recorded.
        softmax: the figures of a :class:`harness.network.softmax.SoftmaxCheck` by way.
        softmax_by_size: those of each :class:`harness.network.softmax.SizedCheck`; empty where it was not recorded.
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
        """Every setting of the variant. Settings without a parameter are the baseline's."""
        return {name: self.params.get(name, str(value)) for name, value in BASELINE.settings().items()}

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
        x: ``(5000, 400)``, ``uint8``, 0 to 255, unrolled as the lab does.
        y: ``(5000,)``, the digits that they are.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class StudyRecord:
    """A study, as MLflow recorded it.

    Attributes:
        parent: the run of the study itself.
        trainings: the runs of its trainings, in the order of their trials.
        images: None where none were recorded.
        experiment_id: of MLflow's experiment.
        tracking_uri: where all this was read, without passwords.
    """

    parent: RunRecord
    trainings: tuple[RunRecord, ...]
    images: StoredImages | None = None
    experiment_id: str = ""
    tracking_uri: str = field(default_factory=lambda: masked(tracking_uri()))


class StudyReader:
    """Reads the runs of studies.

    Args:
        create: make the database if there is none.

    Attributes:
        client: MLflow's.

    Raises:
        StoppedError: here and in every method: the store cannot be reached or read.
        UsageError: there is no database, and none was to be made.
    """

    def __init__(self, *, create: bool = False) -> None:
        self._store = Store(create=create)
        self.client = self._store.client

    def studies(self, name: str | None = None) -> list[RunRecord]:
        """The parent runs of the studies of this name, or of all, oldest first, archived ones included."""
        condition = f"tags.`{Tag.ROLE}` = '{Role.STUDY}'"
        if name is not None:
            if not re.fullmatch(NAME_PATTERN, name):
                return []
            condition += f" and tags.`{Tag.STUDY}` = '{name}'"
        with failures():
            found = [_record(run) for run in self._store.search(condition)]
        return sorted(found, key=lambda run: (run.started_ms, run.run_id))

    def newest_study(self, name: str | None = None) -> RunRecord | None:
        """The parent run of the study of this name, or of the study that ran last; None if there is none."""
        found = [run for run in self.studies(name) if Tag.ARCHIVED not in run.tags]
        return max(found, key=lambda run: int(run.tags.get(Tag.LAST_RUN, "0")), default=None)

    def runs(self, key: str, role: str) -> Iterator[RunRecord]:
        """The runs of a study in a role, without histories."""
        with failures():
            condition = f"tags.`{Tag.STUDY_KEY}` = '{key}' and tags.`{Tag.ROLE}` = '{role}'"
            yield from (_record(run) for run in self._store.search(condition))

    def study(self, name: str | None = None) -> StudyRecord:
        """The study of this name, or the one that ran last, with its trainings.

        Of runs that were read off one training only the longest has its histories: the others' are its first epochs,
        and each costs two calls.

        Raises:
            UsageError: no such study was recorded.
        """
        parent = self.newest_study(name)
        if parent is None:
            what = f"no study called {name!r} was recorded" if name else "no study was recorded"
            raise UsageError(f"{what} in {masked(tracking_uri())}", RUN_ONE)
        return self._whole(parent)

    def named_or_run(self, name: str) -> StudyRecord:
        """The study of this name, or the one whose parent run has this id (archived or not), with its trainings.

        Raises:
            UsageError: no such study was recorded.
        """
        parent = self.newest_study(name) or next((run for run in self.studies() if run.run_id == name), None)
        if parent is None:
            cause = f"no study of the name or with the run id {name!r} was recorded in {masked(tracking_uri())}"
            raise UsageError(cause, "`harness study list` shows the names of those that were.")
        return self._whole(parent)

    def _whole(self, parent: RunRecord) -> StudyRecord:
        with failures():
            condition = (
                f"tags.`{Tag.STUDY_KEY}` = '{parent.tags[Tag.STUDY_KEY]}' and tags.`{Tag.ROLE}` = '{Role.TRAINING}'"
            )
            found = [(_record(run), str(run.info.artifact_uri)) for run in self._store.search(condition)]
            finished = sorted((record for record, _ in found if record.status == "FINISHED"), key=_length)
            longest = set({same_training(record): record.run_id for record in finished}.values())
            runs = [self._with_details(record, where, is_longest=record.run_id in longest) for record, where in found]
            images = self._images(parent.run_id)
        runs.sort(key=lambda record: (int(record.tags[Tag.TRIAL]), record.started_ms, record.name))
        return StudyRecord(parent, tuple(runs), images, self._store.experiment_id)

    def with_histories(self, record: RunRecord) -> RunRecord:
        """The run with its loss and errors per epoch. A failed run has none."""
        if record.status != "FINISHED":
            return record
        with failures():
            losses, errors = (self._history(record.run_id, name) for name in ("loss", "errors"))
        return replace(record, losses=losses, errors=tuple(int(count) for count in errors))

    def _with_details(self, record: RunRecord, artifact_uri: str, *, is_longest: bool) -> RunRecord:
        """The run with the content of its artifact, with histories on request. A failed run has none."""
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
        if None in details["losses"]:  # JSON has no NaN and no infinity; MLflow has
            return self.with_histories(record)
        return replace(record, losses=tuple(details["losses"]), errors=tuple(details["errors"]))

    def weights(self, run_id: str) -> tuple[NDArray[np.float32], ...] | None:
        """The kernel and bias of each layer after a run's last epoch; None if they were not recorded."""
        with failures():
            if WEIGHTS not in {file.path for file in self._store.client.list_artifacts(run_id)}:
                return None
            uri = str(self._store.client.get_run(run_id).info.artifact_uri)
            with np.load(io.BytesIO(self._store.with_retries(_artifact)(uri, WEIGHTS))) as arrays:
                return tuple(arrays[name] for name in arrays.files)

    def _images(self, run_id: str) -> StoredImages | None:
        """The images of the study with this parent run; None if an earlier version recorded none."""
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
    if parts.scheme == "file":  # MLflow would copy it first
        return (Path(url2pathname(parts.path)) / name).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        return Path(get_artifact_repository(artifact_uri).download_artifacts(name, folder)).read_bytes()


def _unclamped(value: float) -> float:
    """The recorded value. MLflow's SQL store replaces an infinity by the largest float."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _length(record: RunRecord) -> tuple[int, int]:
    """The sort key of the longest run: its epochs, then its trial number."""
    return int(record.params["epochs"]), int(record.tags[Tag.TRIAL])


def same_training(record: RunRecord) -> frozenset[tuple[str, str]]:
    """The parameters that identify the training of a run: all but its epochs."""
    every = {**record.settings, "engine": record.params.get("engine", ""), "dataset": record.params.get("dataset", "")}
    return frozenset((name, value) for name, value in every.items() if name != "epochs")


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
