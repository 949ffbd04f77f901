"""Records the trials of a job in MLflow."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence

from harness.engines.training import TrainingResult, by_training
from harness.search.jobs import Job, JobSource, Trial
from harness.search.records import RecordedTraining
from harness.search.result import Costs, Progress
from harness.tracking.run_writer import RunWriter

_log = logging.getLogger(__name__)


class Recorder:
    """Records trained and failed trials in MLflow.

    Args:
        writer: Writer of the study's runs.
        trainings: Finished trainings by variant key. The recorder adds each training that it records.
        source: Source of the jobs. The recorder notifies it of each trial that ends.
        costs: Adds up the time spent in MLflow.
        progress: Callbacks. The recorder calls one for each trial that ends.
    """

    def __init__(
        self,
        writer: RunWriter,
        trainings: dict[str, RecordedTraining],
        source: JobSource,
        costs: Costs,
        progress: Progress,
    ) -> None:
        self._writer, self._trainings, self._source = writer, trainings, source
        self._costs, self._progress = costs, progress

    def results(self, job: Job, results: Sequence[TrainingResult]) -> Iterator[int]:
        """Record the results of a job.

        For each trial of the job, yield the number of trials that become complete: this trial and its repeats.

        Args:
            job: Job that was trained.
            results: Results of the job's missing variants, in order.
        """
        left = deque(results)
        missing = {variant.key for variant in job.missing}
        longest = {max(runs, key=lambda variant: variant.epochs).key for runs in by_training(job.missing)}
        for trial in job.trials:
            own = [left.popleft() for variant in trial.variants if variant.key in missing]
            with self._costs.of("mlflow"):
                for result in own:
                    key = result.variant.key
                    run_id = self._writer.log_training(trial.parent_id, trial.number, result, is_longest=key in longest)
                    errors, epochs, held_out = result.final_errors, result.variant.epochs, result.held_out_errors
                    self._trainings[key] = RecordedTraining(
                        run_id, trial.number, errors, epochs, math.nan if held_out is None else held_out
                    )
            ended = self._source.finish(trial)
            self._report(trial, own, ended)
            yield ended

    def failure(self, job: Job, error: BaseException) -> Iterator[int]:
        """Record that the training of a job failed.

        For each trial of the job, yield the number of trials that fail: this trial and its repeats.
        """
        reason = str(error) or type(error).__name__
        missing = {variant.key for variant in job.missing}
        for trial in job.trials:
            _log.error("trial %d failed: %s", trial.number, reason)
            for variant in trial.variants:
                if variant.key in missing:
                    self._writer.log_failure(trial.parent_id, trial.number, variant, reason)
            ended = self._source.fail(trial)
            self._report(trial, None, ended)
            yield ended

    def _report(self, trial: Trial, results: Sequence[TrainingResult] | None, ended: int) -> None:
        for _ in range(ended):
            self._progress.trial(trial.variants, results)
