"""Reads studies and their runs from MLflow."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from mlflow.entities import Run as MlflowRun
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.files import masked
from harness.network.softmax import SizedCheck, SoftmaxCheck
from harness.network.variant import N_FEATURES, N_IMAGES
from harness.study.config import NAME_PATTERN
from harness.suggestions import did_you_mean
from harness.tracking import bookkeeping, model_selection
from harness.tracking.location import local_folder, tracking_uri
from harness.tracking.run_record import DamagedRecordError, RunRecord, StoredImages, StudyRecord, damage
from harness.tracking.store import RUN_ONE, Store, failures
from harness.tracking.tags import Role, Tag

OUTCOME = "outcome.json"
IMAGES = "images.npz"
WEIGHTS = "weights.npz"  # Only runs whose model may be registered have weights.
_LIST = "`harness study list` shows the recorded studies."
_log = logging.getLogger(__name__)

T = TypeVar("T")


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
        """The parent runs of the studies with this name, or of all studies if no name is given, oldest first.

        Archived studies are included. If no name is given, damaged parent runs are left out with a warning.

        Raises:
            DamagedRecordError: A name is given, and a parent run of a study with this name is damaged.
        """
        condition = f"tags.`{Tag.ROLE}` = '{Role.STUDY}'"
        if name is not None:
            if not re.fullmatch(NAME_PATTERN, name):
                return []
            condition += f" and tags.`{Tag.STUDY}` = '{name}'"
        with failures():
            found = [_record(run) for run in self._store.search(condition)]
            deleted = [_record(run) for run in self._store.search(condition, is_deleted=True)]
            found += [run for run in deleted if self._has_children(run)]
        if name is not None and (damaged := next(filter(None, map(damage, found)), "")):
            raise DamagedRecordError(damaged)
        sound = [run for run in found if not _left_out(damage(run))]
        return sorted(sound, key=lambda run: (run.started_ms, run.run_id))

    def _has_children(self, deleted: RunRecord) -> bool:
        """Whether the study of a deleted parent run still has other runs.

        If so, the study counts as existing. The next start of the study restores the parent run.
        """
        key = deleted.tags.get(Tag.STUDY_KEY, "")
        return next(self._store.search(_of_study(key), page=1), None) is not None

    def current_studies(self, name: str | None = None) -> list[RunRecord]:
        """The parent runs that are not archived, oldest first. If a name is given, only studies with this name."""
        return [run for run in self.studies(name) if Tag.ARCHIVED not in run.tags]

    def newest_study(self, name: str | None = None) -> RunRecord | None:
        """The parent run of the study with this name, or of the study that ran last if no name is given.

        Archived studies are ignored. The result is None if there is no such study.
        """
        return max(self.current_studies(name), key=lambda run: int(run.tags.get(Tag.LAST_RUN, "0")), default=None)

    def runs(self, key: str, role: str) -> Iterator[RunRecord]:
        """The runs of a study that have this role. Their training histories are not read.

        Raises:
            DamagedRecordError: A run is damaged.
        """
        with failures():
            for run in map(_record, self._store.search(_of_study(key, role))):
                if damaged := damage(run):
                    raise DamagedRecordError(damaged)
                yield run

    def check_children(self, parent: RunRecord) -> None:
        """Check that a study has training runs if its parent run says that trials are complete.

        Raises:
            DamagedRecordError: The parent run says that trials are complete, but no training run has the study's key.
        """
        done, key = int(parent.tags.get(Tag.DONE, "0")), parent.tags[Tag.STUDY_KEY]
        with failures():
            if done and next(self._store.search(_of_study(key, Role.TRAINING), page=1), None) is None:
                raise DamagedRecordError(
                    f"run {parent.run_id}: {done} trials are done, but no training run has the tag {Tag.STUDY_KEY} "
                    f"with the value {key!r}"
                )

    def recorded(self, name: str | None = None) -> RunRecord:
        """The parent run of the study with this name, or of the study that ran last if no name is given.

        Raises:
            UsageError: No such study was recorded.
        """
        parent = self.newest_study(name)
        if parent is None:
            what = "no study was recorded" if name is None else f"no study called {name!r} was recorded"
            raise UsageError(f"{what} in {masked(tracking_uri())}", self.similar(name or "") or RUN_ONE)
        return parent

    def similar(self, name: str) -> str:
        """A hint with the recorded study that has the most similar name. Empty if no name is similar."""
        hint = did_you_mean(name, (run.tags[Tag.STUDY] for run in self.current_studies()))
        return f"{hint}{_LIST}" if hint else ""

    def last_change(self, key: str) -> str:
        """A text that changes when a run of the study is created or ends. Compare two texts to detect a change."""
        with failures():
            condition = _of_study(key)
            orders = ("attributes.start_time DESC", "attributes.end_time DESC")
            newest = [next(self._store.search(condition, [order], page=1)) for order in orders]
            return " ".join(f"{run.info.run_id} {run.info.end_time}" for run in newest)

    def study(self, name: str | None = None) -> StudyRecord:
        """Read the study with this name and its trainings. If no name is given, read the study that ran last.

        Runs that differ only in the number of epochs may come from one training. Only the longest of these runs gets
        its training history, because reading a history can take two calls to MLflow. The histories of the shorter runs
        are the first epochs of the longest history.

        Raises:
            UsageError: No such study was recorded.
        """
        return self._whole(self.recorded(name))

    def named_or_run(self, name: str) -> StudyRecord:
        """Read a study and its trainings. `name` is the name of the study or the id of its parent run.

        The id may also be that of an archived study.

        Raises:
            UsageError: No such study was recorded.
        """
        by_id = {run.run_id: run for run in self.studies()}
        parent = self.newest_study(name) or by_id.get(name)
        if parent is None:
            cause = f"no study with the name or run id {name!r} was recorded in {masked(tracking_uri())}"
            raise UsageError(cause, self.similar(name) or f"{did_you_mean(name, by_id)}{_LIST}")
        return self._whole(parent)

    def _whole(self, parent: RunRecord) -> StudyRecord:
        self.check_children(parent)
        damaged: list[str] = []
        with failures():
            condition = _of_study(parent.tags[Tag.STUDY_KEY], Role.TRAINING)
            found = [(_record(run), str(run.info.artifact_uri)) for run in self._store.search(condition)]
            damaged += [text for record, _ in found if (text := damage(record))]
            found = [(record, where) for record, where in found if not damage(record)]
            longest = {record.run_id for record in model_selection.longest(record for record, _ in found)}
            runs = []
            for record, where in found:
                try:
                    runs.append(self._with_details(record, where, is_longest=record.run_id in longest))
                except DamagedRecordError as error:
                    damaged.append(error.cause)
            try:
                images = self._images(parent.run_id)
            except DamagedRecordError as error:
                images = None
                damaged.append(error.cause)
        for text in damaged:
            _left_out(text)
        runs.sort(key=lambda record: (int(record.tags[Tag.TRIAL]), record.started_ms, record.name))
        return StudyRecord(parent, tuple(runs), images, self._store.experiment_id, tuple(damaged))

    def with_histories(self, record: RunRecord) -> RunRecord:
        """A copy of the run with its training history, which is read from MLflow's metrics.

        A run that is not finished is returned unchanged.
        """
        if record.status != "FINISHED":
            return record
        with failures():
            losses, errors = (self._history(record.run_id, name) for name in ("loss", "errors"))
        return replace(record, losses=losses, errors=tuple(int(count) for count in errors))

    def _with_details(self, record: RunRecord, artifact_uri: str, *, is_longest: bool) -> RunRecord:
        """A copy of the run with the content of its artifact ``outcome.json``.

        The training history is included only if `is_longest` is true. A run that is not finished is returned unchanged.

        Raises:
            DamagedRecordError: The artifact is missing or damaged.
        """
        if record.status != "FINISHED":
            return record
        content = self._artifact(artifact_uri, OUTCOME)
        try:
            details: dict[str, Any] = json.loads(content or b"")
            losses, errors = details["losses"], details["errors"]
            is_complete = len(losses) == len(errors) == int(record.params["epochs"])
            record = replace(
                record,
                wrong_images=tuple(map(int, details["wrong_images"])),
                wrong_answers=tuple(map(int, details.get("wrong_answers", ()))),
                softmax=_checks(details["softmax"]),
                softmax_by_size=_by_size(details.get("softmax_by_size", ())),
            )
            if not is_longest:
                return record
            if None in losses:  # None stands for NaN or infinity. The metrics contain the exact values.
                return self.with_histories(record)
            record = replace(record, losses=tuple(map(float, losses)), errors=tuple(map(int, errors)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged_file(record.run_id, OUTCOME, content) from error
        if not is_complete:
            raise _damaged_file(record.run_id, OUTCOME, content)
        return record

    def weights(self, run_id: str) -> tuple[NDArray[np.float32], ...] | None:
        """The kernel and bias of each layer after the last epoch of a run. None if the weights were not recorded.

        Raises:
            DamagedRecordError: The file with the weights is damaged.
        """
        return self._arrays(run_id, WEIGHTS)

    def _images(self, run_id: str) -> StoredImages | None:
        """The images of the study with this parent run. None if an earlier version of this project did not record them.

        Raises:
            DamagedRecordError: The file with the images is damaged.
        """
        arrays = self._arrays(run_id, IMAGES)
        if arrays is None:
            return None
        if [array.shape for array in arrays] != [(N_IMAGES, N_FEATURES), (N_IMAGES,)]:
            raise _damaged_file(run_id, IMAGES, b"")
        return StoredImages(*arrays)

    def _arrays(self, run_id: str, name: str) -> tuple[NDArray[Any], ...] | None:
        with failures():
            uri = str(self._store.client.get_run(run_id).info.artifact_uri)
            content = self._artifact(uri, name)
            if content is None:
                return None
            try:
                with np.load(io.BytesIO(content)) as arrays:
                    return tuple(arrays[key] for key in arrays.files)
            except (ValueError, OSError, EOFError, BadZipFile, zlib.error, AttributeError) as error:
                raise _damaged_file(run_id, name, content) from error

    def _artifact(self, artifact_uri: str, name: str) -> bytes | None:
        """The content of a run's artifact with this file name. None if there is no such file."""
        uri = self._store.artifacts(artifact_uri)
        folder = local_folder(uri)
        if folder is not None:  # Read the file directly, because MLflow would copy it first.
            return (folder / name).read_bytes() if (folder / name).is_file() else None
        repository = get_artifact_repository(uri)
        if name not in {file.path for file in self._store.with_retries(repository.list_artifacts)()}:
            return None
        with tempfile.TemporaryDirectory() as target:
            return Path(self._store.with_retries(repository.download_artifacts)(name, target)).read_bytes()

    def _history(self, run_id: str, name: str) -> tuple[float, ...]:
        history = self._store.client.get_metric_history(run_id, name)
        return tuple(_unclamped(metric.value) for metric in sorted(history, key=lambda metric: metric.step))


def _of_study(key: str, role: str | None = None) -> str:
    """The search condition for the runs of a study. If a role is given, only runs with this role match."""
    condition = f"tags.`{Tag.STUDY_KEY}` = '{key}'"
    return condition if role is None else f"{condition} and tags.`{Tag.ROLE}` = '{role}'"


def _checks(found: Mapping[str, Mapping[str, Any]]) -> dict[str, SoftmaxCheck]:
    return {
        way: SoftmaxCheck(
            max_abs_diff=_optional(float, check["max_abs_diff"]),
            max_ulp=_optional(int, check["max_ulp"]),
            argmax_differs=int(check["argmax_differs"]),
            row_sum_error=_optional(float, check["row_sum_error"]),
            overflow_rows=int(check["overflow_rows"]),
        )
        for way, check in found.items()
    }


def _optional(kind: Callable[[Any], T], value: Any) -> T | None:  # noqa: ANN401 - a JSON value
    return None if value is None else kind(value)


def _by_size(found: Iterable[Mapping[str, Any]]) -> list[SizedCheck]:
    return [SizedCheck(float(one["below"]), int(one["rows"]), _checks(one["checks"])) for one in found]


def _damaged_file(run_id: str, name: str, content: bytes | None) -> DamagedRecordError:
    return DamagedRecordError(f"run {run_id}: its file {name} is {'missing' if content is None else 'damaged'}")


def _left_out(damaged: str) -> bool:
    """Warn that a damaged run or file is ignored, and return true. If `damaged` is empty, only return false."""
    if damaged:
        _log.warning("left out: %s", damaged)
    return bool(damaged)


def _unclamped(value: float) -> float:
    """Convert the largest float back to infinity, because MLflow's SQL store records infinity as the largest float."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _interned(texts: Mapping[str, str]) -> dict[str, str]:
    """A copy in which equal strings share one object. This saves memory, because most tags are equal in all runs."""
    return {sys.intern(name): sys.intern(text) for name, text in texts.items()}


def _record(run: MlflowRun) -> RunRecord:
    return RunRecord(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        status=str(run.info.status),
        params=_interned(run.data.params),
        metrics={sys.intern(name): _unclamped(value) for name, value in run.data.metrics.items()},
        tags=_interned(bookkeeping.unpacked(run.data.tags)),
        started_ms=int(run.info.start_time),
        ended_ms=None if run.info.end_time is None else int(run.info.end_time),
    )
