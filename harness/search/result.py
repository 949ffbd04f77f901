"""Defines what the execution of a study reports: its progress, its time and its result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from harness.engines.training import TrainingResult
from harness.network.variant import Variant
from harness.workers.local import Batch


class Progress(Protocol):
    """The callbacks that report the progress of a study."""

    def repaired(self, line: str) -> None:
        """Called after a repair of an interrupted study. ``line`` describes the repair."""

    def begin(self, done: int, total: int) -> None:
        """Called when the study starts. ``done`` of its ``total`` trials are already complete."""

    def repeated(self) -> None:
        """Called when a new trial repeats a complete trial, so that no training is needed."""

    def trial(self, variants: Sequence[Variant], results: Sequence[TrainingResult] | None) -> None:
        """Called when a trial ends. ``results`` is None if the trial failed."""

    def stopping(self, batches: int) -> None:
        """Called when no new batch will start. ``batches`` is the number of batches that are still training."""


@dataclass(frozen=True)
class StudyResult:
    """The result of executing a study.

    Attributes:
        before: Number of trials that were complete at the start.
        trained: Number of trials that were completed in this execution.
        failed: Number of trials that failed in this execution.
        total: Number of trials that the study has when it is complete.
        mlflow_s: Time that this process spent in MLflow, in seconds.
        optuna_s: Time that this process spent in Optuna, in seconds; 0 for a grid.
        busy_share: Fraction of the workers' time that was spent on training, 0 to 1. The time is counted from the start
            of the first batch to the end of the last batch. The fraction is 0 if nothing was trained.
    """

    before: int
    trained: int
    failed: int
    total: int
    mlflow_s: float
    optuna_s: float
    busy_share: float


class Costs:
    """Measures the time that a study spends in MLflow, in Optuna and on training."""

    def __init__(self) -> None:
        self.spent_s = {"mlflow": 0.0, "optuna": 0.0}
        self._trained_s = 0.0
        self._first_s, self._last_s = float("inf"), 0.0

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Measure the time of a ``with`` block, and add it to the total of ``what``: ``mlflow`` or ``optuna``."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.spent_s[what] += time.perf_counter() - started_s

    def trained(self, batch: Batch[TrainingResult]) -> None:
        """Add the training time of a batch."""
        self._trained_s += batch.ended_s - batch.began_s
        self._first_s, self._last_s = min(self._first_s, batch.began_s), max(self._last_s, batch.ended_s)

    def busy_share(self, n_workers: int) -> float:
        """Return the fraction of the workers' time that was spent on training, 0 to 1."""
        whole_s = self._last_s - self._first_s
        return self._trained_s / (n_workers * whole_s) if whole_s > 0 else 0.0
