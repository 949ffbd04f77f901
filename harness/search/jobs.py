"""Defines jobs and job sources. A job is a group of trials that one worker trains together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from harness.engines import registry
from harness.network.variant import Variant


@dataclass(frozen=True)
class Trial:
    """A trial to train.

    Attributes:
        number: Number of the trial.
        variants: Variants of the trial's trainings.
        parent_id: Id of the parent run of the trainings: the study's run for a grid, else the trial's own run.
    """

    number: int
    variants: tuple[Variant, ...]
    parent_id: str


@dataclass(frozen=True)
class Job:
    """A group of trials that one worker trains together.

    Attributes:
        trials: Trials of the job.
        missing: Variants of the trials that still have to be trained.
    """

    trials: tuple[Trial, ...]
    missing: tuple[Variant, ...]


class JobSource(Protocol):
    """The interface of a job source: a grid or a sampler, which decides which trials come next."""

    n_done: int

    def most_jobs(self, n_workers: int) -> int:
        """Return the largest number of jobs that may be submitted at the same time."""

    def jobs(self, n_workers: int) -> Iterator[Job]:
        """Yield jobs for the trials that are not complete. Each job is created only when it is requested."""

    def finish(self, trial: Trial) -> int:
        """Complete a trial whose trainings are all recorded.

        Return the number of trials that this completes: the trial itself and the trials that repeat it.
        """

    def fail(self, trial: Trial) -> int:
        """Mark a trial whose training failed as failed.

        Return the number of trials that this marks: the trial itself and the trials that repeat it.
        """


def trials_per_job(engine: str, n_trials: int, trainings_per_trial: int, n_workers: int) -> int:
    """Return the number of trials in a job, at least 1.

    A job has at most as many trainings as the engine trains in one call, unless a single trial has more. It also has at
    most the number of trials that each worker gets if all of them are divided equally.
    """
    return max(1, min(registry.width(engine) // trainings_per_trial, -(-n_trials // n_workers)))
