"""Writes the runs of a study's trials and trainings to MLflow."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

import numpy as np
from mlflow.entities import Metric, RunTag
from mlflow.entities import Run as MlflowRun

from harness.engines.training import TrainingResult
from harness.network.variant import Variant
from harness.study.config import Point
from harness.tracking import descriptions
from harness.tracking.run_content import (
    StudyHandle,
    common_tags,
    dataset_input,
    final_metrics,
    log_details,
    params_of,
)
from harness.tracking.store import Store, failures
from harness.tracking.tags import Role, Tag


class RunWriter:
    """Writes the runs of one study to MLflow.

    Args:
        store: Tracking store.
        study: Study that this process has claimed.

    Raises:
        StoppedError: The store cannot be reached, read or written. Every method may raise this error.
    """

    def __init__(self, store: Store, study: StudyHandle) -> None:
        self._store, self._study = store, study

    def begin_trial(
        self, number: int, values: Point, variants: Sequence[Variant], *, same_as: int | None = None
    ) -> str:
        """Create the run of a trial of a sampled design, and return its id.

        The run is the parent of the trial's training runs. Its status is RUNNING until the trial ends. One call to
        MLflow creates the run together with the trial's number, parameter values and seeds. So an interrupted trial can
        resume.

        Args:
            number: Number of the trial.
            values: Values of the varied parameters.
            variants: Variant of each training of the trial. The variants differ only in the seed.
            same_as: Number of an earlier trial with the same variants; None if there is none.
        """
        with failures():
            tags = {
                **common_tags(self._study, Role.TRIAL),
                Tag.PARENT: self._study.run_id,
                Tag.NAME: f"trial {number}: {descriptions.label(variants[0], self._study.config, seed=False)}",
                Tag.TRIAL: str(number),
                Tag.POINT: json.dumps(values),
                Tag.SEEDS: json.dumps([variant.seed for variant in variants]),
            }
            if same_as is not None:
                tags[Tag.SAME_AS] = str(same_as)
            run_id = str(self._store.client.create_run(self._store.experiment_id, tags=tags).info.run_id)
            self._describe_trial(run_id, variants)
            return run_id

    def reopen_trial(self, run_id: str, variants: Sequence[Variant]) -> None:
        """Reopen the run of an interrupted trial, and record its parameters and dataset in case they are missing."""
        with failures():
            self._store.client.update_run(run_id, status="RUNNING")
            self._describe_trial(run_id, variants)

    def _describe_trial(self, run_id: str, variants: Sequence[Variant]) -> None:
        params = [param for param in params_of(variants[0], self._study) if param.key != "seed"]
        self._store.client.log_batch(run_id, params=params)
        self._store.client.log_inputs(run_id, [dataset_input(self._study.digits)])

    def end_trial(self, run_id: str, values: Mapping[str, float], status: str = "FINISHED") -> None:
        """Record the mean results of a trial over its trainings, and close the run of the trial."""
        with failures():
            run = self._store.client.get_run(run_id)
            ended_ms = int(time.time() * 1000)
            metrics = [Metric(f"mean_{name}", value, ended_ms, 0) for name, value in values.items()]
            missing = [metric for metric in metrics if metric.key not in run.data.metrics]
            self._store.client.log_batch(run_id, metrics=missing)
            self._store.client.set_terminated(run_id, status, ended_ms)

    def log_training(self, parent_id: str, number: int, result: TrainingResult, *, is_longest: bool) -> str:
        """Record the results of a training in a new run, and return the id of the run.

        Args:
            parent_id: Id of the parent run.
            number: Number of the trial.
            result: Results of the training.
            is_longest: Whether no other run of the same training has more epochs.
        """
        with failures():
            started_ms = int(result.started_s * 1000)
            ended_ms = int((result.started_s + result.duration_s) * 1000)
            run = self._create_training(parent_id, number, result.variant, started_ms)
            run_id = str(run.info.run_id)
            metrics = [
                Metric(name, value, ended_ms, step)
                for name, values in (("loss", result.losses), ("errors", result.errors))
                for step, value in enumerate(values.tolist(), start=1)
            ]
            finals = final_metrics(result)
            # With step 0, MLflow's UI draws a metric with one value as a bar and not as a point on a line.
            metrics += [Metric(name, value, ended_ms, 0) for name, value in finals.items()]
            is_diverged = not np.isfinite(result.losses).all()
            marks = {Tag.DIVERGED: is_diverged, Tag.LONGEST: is_longest}
            tags = [RunTag(name, "true") for name, is_set in marks.items() if is_set]
            self._store.client.log_batch(run_id, metrics, params_of(result.variant, self._study), tags)
            self._store.client.log_inputs(run_id, [dataset_input(self._study.digits)])
            self._store.with_retries(log_details)(str(run.info.artifact_uri), result)
            self._store.client.set_terminated(run_id, "FINISHED", ended_ms)
            return run_id

    def log_failure(self, parent_id: str, number: int, variant: Variant, reason: str) -> str:
        """Record a failed training and its reason in a new run without metrics, and return the id of the run."""
        with failures():
            now_ms = int(time.time() * 1000)
            run_id = str(self._create_training(parent_id, number, variant, now_ms).info.run_id)
            tags = [RunTag(Tag.FAILURE, reason)]
            self._store.client.log_batch(run_id, params=params_of(variant, self._study), tags=tags)
            self._store.client.set_terminated(run_id, "FAILED", now_ms)
            return run_id

    def _create_training(self, parent_id: str, number: int, variant: Variant, started_ms: int) -> MlflowRun:
        tags = {
            **common_tags(self._study, Role.TRAINING),
            Tag.PARENT: parent_id,
            Tag.NAME: descriptions.label(variant, self._study.config),
            Tag.TRIAL: str(number),
            Tag.VARIANT: variant.key,
        }
        run: MlflowRun = self._store.client.create_run(self._store.experiment_id, started_ms, tags)
        return run
