"""Reading what was recorded: studies and their runs, as MLflow has them."""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow.entities import Run as MlflowRun
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from harness.errors import UsageError
from harness.output import masked
from harness.plan import NAME_PATTERN
from harness.runner import Runner
from harness.store import RUN_ONE, Store, failures, tracking_uri

OUTCOME = "outcome.json"
STUDY, TRIAL, TRAINING = "study", "trial", "training"

# Tags of a study's own run.
LAST_RUN = "harness.last_run_ms"
MEANING = "harness.meaning"
ARCHIVED = "harness.archived"
TOTAL = "harness.trials"  # how many trials the study has when it is complete
RUNNER = "harness.runner"
HEARTBEAT = "harness.heartbeat_s"
ASKING = "harness.asking."  # and an id: of a process that asks whether it may run the study
DONE = "harness.trials_done"


@dataclass(frozen=True)
class RunRecord:
    """A run as MLflow has it; the histories hold one value an epoch, from epoch 1, or nothing where not read."""

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started_ms: int
    losses: tuple[float, ...] = ()
    errors: tuple[int, ...] = ()
    wrong_images: tuple[int, ...] = ()
    softmax: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def runner(self) -> Runner | None:
        """Of a study's own run: who is running it; None where nobody is."""
        runner = Runner.parse(self.tags.get(RUNNER, ""))
        heartbeat_s = float(self.tags.get(HEARTBEAT, "0"))
        return runner if runner is not None and runner.is_alive(heartbeat_s) else None


@dataclass(frozen=True)
class StudyRecord:
    """A study as MLflow has it: its parent run and the runs of its trainings, in the order of their trials."""

    parent: RunRecord
    trainings: tuple[RunRecord, ...]
    tracking_uri: str = field(default_factory=lambda: masked(tracking_uri()))


class Records:
    """Reads the runs of studies.

    Args:
        create: make the database if there is none.

    Raises:
        StoppedError: here and in every method: the store cannot be reached or read.
        UsageError: there is no database, and none was to be made.
    """

    def __init__(self, *, create: bool = False) -> None:
        self._store = Store(create=create)

    def studies(self, name: str | None = None) -> list[RunRecord]:
        """The parent runs of the studies of this name, or of all, oldest first, with those that were put aside."""
        condition = f"tags.`harness.role` = '{STUDY}'"
        if name is not None:
            if not re.fullmatch(NAME_PATTERN, name):
                return []
            condition += f" and tags.`harness.study` = '{name}'"
        with failures():
            found = [_record(run) for run in self._store.search(condition)]
        return sorted(found, key=lambda run: (run.started_ms, run.run_id))

    def newest_study(self, name: str | None = None) -> RunRecord | None:
        """The parent run of the study of this name, or of that which was run last; None if there is none."""
        found = [run for run in self.studies(name) if ARCHIVED not in run.tags]
        return max(found, key=lambda run: int(run.tags.get(LAST_RUN, "0")), default=None)

    def runs(self, key: str, role: str) -> Iterator[RunRecord]:
        """The runs of a study in a role, without histories."""
        with failures():
            condition = f"tags.`harness.study_key` = '{key}' and tags.`harness.role` = '{role}'"
            yield from (_record(run) for run in self._store.search(condition))

    def study(self, name: str | None = None) -> StudyRecord:
        """The study of this name, or that which was run last, with its trainings.

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
        """The study of this name, or that whose own run has this id, be it put aside, with its trainings.

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
                f"tags.`harness.study_key` = '{parent.tags['harness.study_key']}' "
                f"and tags.`harness.role` = '{TRAINING}'"
            )
            found = [(_record(run), str(run.info.artifact_uri)) for run in self._store.search(condition)]
            finished = sorted((record for record, _ in found if record.status == "FINISHED"), key=_length)
            longest = set({same_training(record): record.run_id for record in finished}.values())
            records = [
                self._with_details(record, where, is_longest=record.run_id in longest) for record, where in found
            ]
        records.sort(key=lambda record: (int(record.tags["harness.trial"]), record.started_ms, record.name))
        return StudyRecord(parent, tuple(records))

    def with_histories(self, record: RunRecord) -> RunRecord:
        """The run with the loss and the errors of each of its epochs; a run that failed has none."""
        if record.status != "FINISHED":
            return record
        with failures():
            losses, errors = (self._history(record.run_id, name) for name in ("loss", "errors"))
        return replace(record, losses=losses, errors=tuple(int(count) for count in errors))

    def _with_details(self, record: RunRecord, artifact_uri: str, *, is_longest: bool) -> RunRecord:
        """A run with what its artifact says, histories only if they are wanted; a run that failed has none."""
        if record.status != "FINISHED":
            return record
        details = self._store.patient(_details)(artifact_uri)
        record = replace(record, wrong_images=tuple(details["wrong_images"]), softmax=details["softmax"])
        if not is_longest:
            return record
        if None in details["losses"]:  # JSON has no NaN and no infinity; MLflow has
            return self.with_histories(record)
        return replace(record, losses=tuple(details["losses"]), errors=tuple(details["errors"]))

    def _history(self, run_id: str, name: str) -> tuple[float, ...]:
        history = self._store.client.get_metric_history(run_id, name)
        return tuple(_unclamped(metric.value) for metric in sorted(history, key=lambda metric: metric.step))


def _details(artifact_uri: str) -> dict[str, Any]:
    details: dict[str, Any]
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":  # MLflow would copy it first
        details = json.loads((Path(url2pathname(parts.path)) / OUTCOME).read_text())
        return details
    with tempfile.TemporaryDirectory() as folder:
        path = get_artifact_repository(artifact_uri).download_artifacts(OUTCOME, folder)
        details = json.loads(Path(path).read_text())
        return details


def _unclamped(value: float) -> float:
    """The value that was recorded: MLflow's SQL store keeps an infinity as the largest number there is."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _length(record: RunRecord) -> tuple[int, int]:
    """What the longest of several runs is told by: its epochs, and of equals the later trial."""
    return int(record.params["epochs"]), int(record.tags["harness.trial"])


def same_training(record: RunRecord) -> frozenset[tuple[str, str]]:
    """What runs that were read off one training have in common."""
    return frozenset((name, value) for name, value in record.params.items() if name != "epochs")


def _record(run: MlflowRun) -> RunRecord:
    return RunRecord(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        status=str(run.info.status),
        params=dict(run.data.params),
        metrics={name: _unclamped(value) for name, value in run.data.metrics.items()},
        tags=dict(run.data.tags),
        started_ms=int(run.info.start_time),
    )
