"""What a run of a study reports: its progress, its costs and its result."""

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
    """Receives the progress of a study."""

    def repaired(self, line: str) -> None:
        """Something that an interrupted run left was repaired."""

    def begin(self, done: int, total: int) -> None:
        """The study starts with this number of complete trials."""

    def repeated(self) -> None:
        """A trial repeats a complete trial and needs no training."""

    def trial(self, variants: Sequence[Variant], results: Sequence[TrainingResult] | None) -> None:
        """A trial ended. It failed if there are no results."""

    def stopping(self, batches: int) -> None:
        """No other batch starts. This number of batches is still training."""


@dataclass(frozen=True)
class StudyResult:
    """The result of a run of a study.

    Attributes:
        before: Number of trials that were complete before.
        trained: Number of trials that were completed in this run.
        failed: Number of trials that failed in this run.
        total: Number of trials of the complete study.
        mlflow_s: Time that this process spent in MLflow, in seconds.
        optuna_s: Time that this process spent in Optuna, in seconds; 0 for a grid.
        busy_share: Share of the workers' time, from the start of the first batch to the end of the last one, in which
            they trained; 0 if nothing was trained.
    """

    before: int
    trained: int
    failed: int
    total: int
    mlflow_s: float
    optuna_s: float
    busy_share: float


class Costs:
    """Measures where the time of a study goes."""

    def __init__(self) -> None:
        self.spent_s = {"mlflow": 0.0, "optuna": 0.0}
        self._trained_s = 0.0
        self._first_s, self._last_s = float("inf"), 0.0

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Add the time that this context takes."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.spent_s[what] += time.perf_counter() - started_s

    def trained(self, batch: Batch[TrainingResult]) -> None:
        """Add a batch that a worker trained."""
        self._trained_s += batch.ended_s - batch.began_s
        self._first_s, self._last_s = min(self._first_s, batch.began_s), max(self._last_s, batch.ended_s)

    def busy_share(self, n_workers: int) -> float:
        """The share of the workers' time in which they trained."""
        whole_s = self._last_s - self._first_s
        return self._trained_s / (n_workers * whole_s) if whole_s > 0 else 0.0
