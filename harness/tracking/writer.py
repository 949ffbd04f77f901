"""Records studies and their runs in MLflow, completely and once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from harness.data.digits import Digits
from harness.engines.training import TrainingResult
from harness.errors import StoppedError, UsageError
from harness.network.variant import Variant
from harness.study import signature
from harness.study.config import StudyConfig
from harness.tracking import descriptions, views
from harness.tracking.owner import Owner
from harness.tracking.reader import RunRecord, StudyReader, StudyRecord
from harness.tracking.run_content import (
    StudyHandle,
    common_tags,
    dataset_input,
    done_tags,
    final_metrics,
    log_details,
    log_images,
    params_of,
)
from harness.tracking.store import failures
from harness.tracking.tags import Role, Tag

# A server has no lock: wait this long, then look for a duplicate created at the same time.
_SETTLED_S = 0.5
_POLL_S = 0.2


class StudyWriter(StudyReader):
    """Writes and reads the runs of studies.

    Every call to MLflow identifies its run by id.

    Args:
        create: Whether to create the database and the experiment if they do not exist.

    Raises:
        StoppedError: The store cannot be reached, read or written. Every method may raise this error.
        UsageError: The database or the experiment does not exist, and `create` is false.
    """

    def __init__(self, *, create: bool = True) -> None:
        super().__init__(create=create)

    # The parent run of a study

    def begin_study(self, config: StudyConfig, digits: Digits, me: Owner) -> StudyHandle:
        """Claim a study for this process: resume the study with this name, or create its parent run.

        Raises:
            StoppedError: Another process is running the study.
            UsageError: The recorded signature differs from the current one, so the trials would mean something else.
        """
        current_signature = signature.of(config, digits)
        with failures(), self._store.alone():
            every = self.studies(config.name)
            current = [run for run in every if Tag.ARCHIVED not in run.tags]
            if not current:
                keys = {run.tags[Tag.STUDY_KEY] for run in every}
                generations = (signature.key(config.name, number, current_signature) for number in count())
                key = next(key for key in generations if key not in keys)
                self._create_study(StudyHandle("", config, key, digits, me, 0), current_signature)
                current = self._current(config.name)
            parent = current[0]
            _refuse_if_running(parent)
            _refuse_if_changed(config.name, parent, current_signature)
            key, times = parent.tags[Tag.STUDY_KEY], int(parent.tags.get(Tag.TIMES_RUN, "0")) + 1
            study = StudyHandle(parent.run_id, config, key, digits, me, times)
            self._claim(study)
            # Duplicates: other processes created them at the same time, or this process created a second one because
            # the reply to its first attempt was lost.
            for twin in self._current(config.name)[1:]:
                self._archive(twin.run_id)
                self._store.client.set_terminated(twin.run_id, "KILLED")
            self._complete(study)
            self._resume(study)
            return study

    def _current(self, name: str) -> list[RunRecord]:
        """The parent runs of the studies with this name that are not archived, oldest first.

        On a server, wait first until the runs that other processes created are visible.
        """
        if self._store.path is None:
            time.sleep(_SETTLED_S)
        return [run for run in self.studies(name) if Tag.ARCHIVED not in run.tags]

    def _claim(self, study: StudyHandle) -> None:
        """Become the owner of the study.

        Each process writes a request tag and reads the others. The smallest id wins. A process that finds no
        other request owns the study. A process that comes later with a smaller id waits until the owner is recorded,
        then gives up.

        Raises:
            StoppedError: Another process owns the study, or its request has a smaller id.
        """
        client, me = self._store.client, Tag.REQUEST + uuid4().hex
        client.set_tag(study.run_id, me, study.owner.text())
        try:
            while True:
                tags = client.get_run(study.run_id).data.tags
                _refuse_if_running(_with_tags(tags))
                others = {
                    name
                    for name in tags
                    if name.startswith(Tag.REQUEST) and name != me and _is_request_of_living(tags[name])
                }
                if not others:
                    break
                if min(others) < me:
                    cause = f"the study {study.config.name} is being started by another process"
                    raise StoppedError(cause, "Wait until it ends, or stop it.")
                time.sleep(_POLL_S)
            client.set_tag(study.run_id, Tag.HEARTBEAT, f"{time.time():.0f}")
            client.set_tag(study.run_id, Tag.OWNER, study.owner.text())
        finally:
            self._drop_tag(study.run_id, me)

    def _drop_tag(self, run_id: str, name: str) -> None:
        """Delete a tag if it exists: an earlier attempt may have deleted it although its reply was lost."""
        try:
            self._store.client.delete_tag(run_id, name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def _is_mine(self, study: StudyHandle) -> bool:
        claim = self._store.client.get_run(study.run_id).data.tags.get(Tag.OWNER, "")
        return bool(claim == study.owner.text())

    def _resume(self, study: StudyHandle) -> None:
        client, config = self._store.client, study.config
        tags = {
            Tag.LAST_RUN: str(int(time.time() * 1000)),
            Tag.TIMES_RUN: str(study.times),
            Tag.TOTAL: str(config.n_trials),
            Tag.NOTE: descriptions.begun(config, study.digits.name),
        }
        if study.times == 1:
            client.set_experiment_tag(self._store.experiment_id, *views.of_study(config, study.key))
        self._store.client.log_batch(study.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._store.client.update_run(study.run_id, status="RUNNING")

    def _create_study(self, study: StudyHandle, current_signature: Mapping[str, Any]) -> None:
        client, config, digits = self._store.client, study.config, study.digits
        tags = {
            Tag.LAST_RUN: str(int(time.time() * 1000)),
            Tag.TOTAL: str(config.n_trials),
            Tag.SIGNATURE: json.dumps(current_signature),
            **common_tags(study, Role.STUDY),
            Tag.NAME: f"{config.name} on {digits.name}",
            Tag.DESCRIPTION: config.description.strip(),
            Tag.NOTE: descriptions.begun(config, digits.name),
        }
        client.create_run(self._store.experiment_id, tags=tags)

    def _complete(self, study: StudyHandle) -> None:
        """Record the images, parameters and dataset of a new study.

        The dataset is recorded last: a parent run that has a dataset is complete.
        """
        client, config, digits, run_id = self._store.client, study.config, study.digits, study.run_id
        run = client.get_run(run_id)
        if run.inputs.dataset_inputs:
            return
        self._store.with_retries(log_images)(str(run.info.artifact_uri), digits)
        params = {"engine": config.engine, "dataset": digits.name, "design": config.design.kind}
        params |= {f"space.{name}": descriptions.brief(values) for name, values in config.space.parameters().items()}
        client.log_batch(run_id, params=[Param(name, value) for name, value in params.items()])
        client.log_inputs(run_id, [dataset_input(digits)])

    def heartbeat(self, study: StudyHandle, done: int | None) -> None:
        """Record that this process still owns the study, and the number of finished trials if it is known.

        Raises:
            StoppedError: Another process considered this process dead and runs the study now.
        """
        with failures():
            if not self._is_mine(study):
                raise StoppedError(
                    f"another process has taken over the study {study.config.name}", "Let that process finish."
                )
            tags = [RunTag(Tag.HEARTBEAT, f"{time.time():.0f}"), *done_tags(done)]
            self._store.client.log_batch(study.run_id, tags=tags)

    def end_study(self, study: StudyHandle, status: str, counts: Mapping[str, int]) -> None:
        """Close the study's parent run with its counts and release it, unless another process owns it."""
        with failures():
            if not self._is_mine(study):
                return
            now_ms = int(time.time() * 1000)
            metrics = [Metric(f"trials_{name}", value, now_ms, study.times) for name, value in counts.items()]
            self._store.client.log_batch(study.run_id, metrics=metrics, tags=done_tags(counts.get("finished")))
            self._store.client.set_terminated(study.run_id, status)
            self._drop_tag(study.run_id, Tag.OWNER)

    def describe(self, record: StudyRecord) -> None:
        """Write the results into the note of the study's parent run."""
        with failures():
            self._store.client.set_tag(record.parent.run_id, Tag.NOTE, descriptions.ended(record))

    def log_files(self, run_id: str, paths: Sequence[Path], folder: str | None = None) -> None:
        """Upload files and folders to a run, replacing artifacts with the same names.

        Args:
            run_id: Id of the run.
            paths: Existing files and folders. A folder is uploaded under its own name.
            folder: Folder among the run's artifacts that receives the files. The default is the root folder.
        """
        with failures():
            uri = str(self._store.client.get_run(run_id).info.artifact_uri)
            repository = get_artifact_repository(uri)
            for path in paths:
                if path.is_dir():
                    where = "/".join(part for part in (folder, path.name) if part)
                    self._store.with_retries(repository.log_artifacts)(str(path), where)
                else:
                    self._store.with_retries(repository.log_artifact)(str(path), folder)

    def archive(self, name: str, keep: Callable[[str], None]) -> bool:
        """Archive the study with this name, so that the next run starts a new study.

        No record is deleted.

        Args:
            name: Name of the study.
            keep: Callback that receives the key of the study before the study is archived. It saves other data of the
                study, such as its report files. It is not called if there is no study to archive.

        Returns:
            Whether there was a study to archive.

        Raises:
            StoppedError: A process is running the study.
        """
        with failures(), self._store.alone():
            current = [run for run in self.studies(name) if Tag.ARCHIVED not in run.tags]
            for run in current:
                _refuse_if_running(run)
            if current:
                keep(current[0].tags[Tag.STUDY_KEY])
            for run in current:
                self._archive(run.run_id)
            return bool(current)

    def _archive(self, run_id: str) -> None:
        self._store.client.set_tag(run_id, Tag.ARCHIVED, datetime.now(UTC).isoformat(timespec="seconds"))

    def close_orphans(self, study: StudyHandle) -> int:
        """Close the open runs of dead processes, in all studies, and return the number of closed runs."""
        with failures():
            left = list(self._store.search("attributes.status = 'RUNNING'"))
            if not left:
                return 0
            alive = {run.tags[Tag.STUDY_KEY] for run in self.studies() if run.owner is not None}
            closed = 0
            for run in left:
                key = run.data.tags.get(Tag.STUDY_KEY)
                is_own = key == study.key and run.info.run_id != study.run_id
                if is_own or (key is not None and key not in alive):
                    self._store.client.set_terminated(run.info.run_id, "KILLED")
                    closed += 1
            return closed

    # The runs of trials and trainings

    def begin_trial(self, study: StudyHandle, number: int, variant: Variant) -> str:
        """Create the run of a trial with several trainings, and return its id.

        This run is the parent of the runs of the trainings.
        """
        with failures():
            tags = {
                **common_tags(study, Role.TRIAL),
                Tag.PARENT: study.run_id,
                Tag.NAME: f"trial {number}: {descriptions.label(variant, study.config, seed=False)}",
                Tag.TRIAL: str(number),
            }
            run_id = str(self._store.client.create_run(self._store.experiment_id, tags=tags).info.run_id)
            params = [param for param in params_of(variant, study) if param.key != "seed"]
            self._store.client.log_batch(run_id, params=params)
            self._store.client.log_inputs(run_id, [dataset_input(study.digits)])
            return run_id

    def reopen_trial(self, run_id: str) -> None:
        """Reopen the run of a trial that was closed before all its trainings were recorded."""
        with failures():
            self._store.client.update_run(run_id, status="RUNNING")

    def end_trial(self, run_id: str, values: Mapping[str, float], status: str = "FINISHED") -> None:
        """Record the means over a trial's trainings, and close the trial's run."""
        with failures():
            run = self._store.client.get_run(run_id)
            ended_ms = int(time.time() * 1000)
            metrics = [Metric(f"mean_{name}", value, ended_ms, 0) for name, value in values.items()]
            missing = [metric for metric in metrics if metric.key not in run.data.metrics]
            self._store.client.log_batch(run_id, metrics=missing)
            self._store.client.set_terminated(run_id, status, ended_ms)

    def renumber(self, run_id: str, number: int) -> None:
        """Set the trial number of a run."""
        with failures():
            self._store.client.set_tag(run_id, Tag.TRIAL, str(number))

    def log_outcome(self, study: StudyHandle, parent_id: str, number: int, result: TrainingResult) -> str:
        """Record all results of a trained variant in a few calls, and return the run id."""
        with failures():
            started_ms = int(result.started_s * 1000)
            ended_ms = int((result.started_s + result.duration_s) * 1000)
            run = self._create_training(study, parent_id, number, result.variant, started_ms)
            run_id = str(run.info.run_id)
            metrics = [
                Metric(name, value, ended_ms, step)
                for name, values in (("loss", result.losses), ("errors", result.errors))
                for step, value in enumerate(values.tolist(), start=1)
            ]
            finals = final_metrics(result)
            # Step 0: MLflow's UI then draws a metric with one value as a bar, not as a point on a line.
            metrics += [Metric(name, value, ended_ms, 0) for name, value in finals.items()]
            tags = [] if np.isfinite(result.losses).all() else [RunTag(Tag.DIVERGED, "true")]
            self._store.client.log_batch(run_id, metrics, params_of(result.variant, study), tags)
            self._store.client.log_inputs(run_id, [dataset_input(study.digits)])
            self._store.with_retries(log_details)(str(run.info.artifact_uri), result)
            self._store.client.set_terminated(run_id, "FINISHED", ended_ms)
            return run_id

    def log_failure(self, study: StudyHandle, parent_id: str, number: int, variant: Variant, reason: str) -> str:
        """Record a variant whose training failed, with the reason but without a score, and return the run id."""
        with failures():
            now_ms = int(time.time() * 1000)
            run_id = str(self._create_training(study, parent_id, number, variant, now_ms).info.run_id)
            tags = [RunTag(Tag.FAILURE, reason)]
            self._store.client.log_batch(run_id, params=params_of(variant, study), tags=tags)
            self._store.client.set_terminated(run_id, "FAILED", now_ms)
            return run_id

    def _create_training(
        self, study: StudyHandle, parent_id: str, number: int, variant: Variant, started_ms: int
    ) -> MlflowRun:
        tags = {
            **common_tags(study, Role.TRAINING),
            Tag.PARENT: parent_id,
            Tag.NAME: descriptions.label(variant, study.config),
            Tag.TRIAL: str(number),
            Tag.VARIANT: variant.key,
        }
        run: MlflowRun = self._store.client.create_run(self._store.experiment_id, started_ms, tags)
        return run


def _with_tags(tags: Mapping[str, str]) -> RunRecord:
    """A run record with only its tags."""
    return RunRecord("", "", "", {}, {}, tags, 0)


def _is_request_of_living(claim: str) -> bool:
    """Whether the process that wrote a request tag is alive."""
    owner = Owner.parse(claim)
    return owner is not None and owner.is_alive(owner.since_s)


def _refuse_if_running(parent: RunRecord) -> None:
    if parent.owner is not None:
        name = parent.tags[Tag.STUDY]
        raise StoppedError(f"the study {name} is already running: {parent.owner}", "Wait until it ends, or stop it.")


def changes(parent: RunRecord, current_signature: Mapping[str, Any]) -> list[str]:
    """The differences between a study's recorded signature and its current signature, as sentences.

    Args:
        parent: Parent run of the study.
        current_signature: Current signature of the study; see :mod:`harness.study.signature`.
    """
    if Tag.SIGNATURE not in parent.tags:
        return ["it was recorded by an earlier version of this project"]
    return signature.differences(json.loads(parent.tags[Tag.SIGNATURE]), current_signature)


def _refuse_if_changed(name: str, parent: RunRecord, current_signature: Mapping[str, Any]) -> None:
    if changed := changes(parent, current_signature):
        cause = f"the study {name} has changed since it was recorded: {'; '.join(changed)}"
        remedy = "Run it under another name (--new-name NAME), or archive the old records (--fresh)."
        raise UsageError(cause, f"{remedy} Neither option deletes anything.")
