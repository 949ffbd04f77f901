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
        """Something that an interrupted run left was put right."""

    def begin(self, done: int, total: int) -> None:
        """The study starts with this number of its trials done."""

    def repeated(self) -> None:
        """A trial repeats a complete trial and needs no training."""

    def trial(self, variants: Sequence[Variant], results: Sequence[TrainingResult] | None) -> None:
        """A trial ended; without results, it failed."""

    def stopping(self, batches: int) -> None:
        """No batch is started any more; this number is still training."""


@dataclass(frozen=True)
class StudyResult:
    """How a study ended.

    Attributes:
        before: trials that were done before.
        trained: trials that were trained now.
        failed: trials that failed now.
        total: trials that the study has when it is complete.
        mlflow_s: seconds that recording them in MLflow took this process.
        optuna_s: seconds that asking for them and telling of them took this process.
        busy_share: of the workers' time from the first batch's start to the last one's end, the share in which they
            trained; 0 where nothing was trained.
    """

    before: int
    trained: int
    failed: int
    total: int
    mlflow_s: float
    optuna_s: float
    busy_share: float


class Costs:
    """Where the time of a study goes."""

    def __init__(self) -> None:
        self.spent_s = {"mlflow": 0.0, "optuna": 0.0}
        self._trained_s = 0.0
        self._first_s, self._last_s = float("inf"), 0.0

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time that is spent in this context."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.spent_s[what] += time.perf_counter() - started_s

    def trained(self, batch: Batch[TrainingResult]) -> None:
        """Count a batch that a worker trained."""
        self._trained_s += batch.ended_s - batch.began_s
        self._first_s, self._last_s = min(self._first_s, batch.began_s), max(self._last_s, batch.ended_s)

    def busy_share(self, n_workers: int) -> float:
        """The share of the workers' time in which they trained."""
        whole_s = self._last_s - self._first_s
        return self._trained_s / (n_workers * whole_s) if whole_s > 0 else 0.0
