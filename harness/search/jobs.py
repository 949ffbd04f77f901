"""Jobs: the trials that a worker trains together, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from harness.engines import registry
from harness.network.variant import Variant


@dataclass(frozen=True)
class Trial:
    """A trial that is trained now.

    Attributes:
        number: Number of the trial.
        variants: Variants of its trainings.
        parent_id: Id of the run that is the parent of its trainings: the trial's own run, or the study's for a grid.
    """

    number: int
    variants: tuple[Variant, ...]
    parent_id: str


@dataclass(frozen=True)
class Job:
    """Trials that one worker trains together.

    Attributes:
        trials: Trials of the job.
        missing: Variants of these trials that are not recorded yet.
    """

    trials: tuple[Trial, ...]
    missing: tuple[Variant, ...]


class JobSource(Protocol):
    """A grid or a sampler: decides which trials are next."""

    n_done: int

    def most_jobs(self, n_workers: int) -> int:
        """The largest number of jobs that are submitted at the same time."""

    def jobs(self, n_workers: int) -> Iterator[Job]:
        """The jobs of the trials that are not complete. Each job is created when it is needed."""

    def finish(self, trial: Trial) -> int:
        """Finish a trial whose trainings are all recorded, and return the number of trials that are now complete."""

    def fail(self, trial: Trial) -> int:
        """Give up a trial whose training failed, and return the number of trials that failed with it."""


def trials_per_job(engine: str, n_trials: int, trainings_per_trial: int, n_workers: int) -> int:
    """The number of trials in a job that uses the width of the engine and leaves work for every worker."""
    return max(1, min(registry.width(engine) // trainings_per_trial, -(-n_trials // n_workers)))
