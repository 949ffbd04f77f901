"""Creates the jobs of a grid. Each combination of values that is not recorded yet becomes one trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from harness.engines.training import by_training
from harness.search.jobs import Job, Trial, trials_per_job
from harness.search.records import RecordedTraining
from harness.study.config import StudyConfig


class GridJobs:
    """The job source of a grid, which is a study with a trial for every combination of the listed values.

    Args:
        config: Configuration of the study.
        trainings: Finished trainings of the study, by variant key.
        next_number: Number of the next trial.
        parent_id: Id of the study's parent run.

    Attributes:
        n_done: Number of trials that were already complete.
    """

    def __init__(
        self, config: StudyConfig, trainings: Mapping[str, RecordedTraining], next_number: int, parent_id: str
    ) -> None:
        variants = [config.variant(point) for point in config.points()]
        self._engine, self._parent_id, self._next_number = config.engine, parent_id, next_number
        self._left = [variant for variant in variants if variant.key not in trainings]
        self.n_done = len(variants) - len(self._left)

    def most_jobs(self, n_workers: int) -> int:
        """Return two jobs per worker, so that no worker waits while a finished job is recorded."""
        return 2 * n_workers

    def jobs(self, n_workers: int) -> Iterator[Job]:
        """Yield the jobs, sorted so that variants that can be trained in one call are neighbours."""
        numbers = count(self._next_number)
        trainings = by_training(self._left)
        trainings.sort(key=lambda training: training[0].shape)
        size = trials_per_job(self._engine, len(trainings), 1, n_workers)
        for first in range(0, len(trainings), size):
            variants = tuple(variant for training in trainings[first : first + size] for variant in training)
            trials = tuple(Trial(next(numbers), (variant,), self._parent_id) for variant in variants)
            yield Job(trials, variants)

    def finish(self, trial: Trial) -> int:  # noqa: ARG002 - `JobSource` requires it
        """Return 1: a trial of a grid is complete as soon as its training is recorded."""
        return 1

    def fail(self, trial: Trial) -> int:  # noqa: ARG002 - `JobSource` requires it
        """Return 1. A failed trial of a grid has a failed training run, and is trained again when the study resumes."""
        return 1
