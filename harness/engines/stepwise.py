"""The base class of engines that train one variant at a time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines.contract import EpochReport, OnEpoch, wanted_epochs
from harness.engines.history import Snapshot, TrainingHistory, wrong_images
from harness.network.variant import Variant


class Network(Protocol):
    """A network in training. A :class:`Recorder` reads its logits and weights after each epoch."""

    def logits(self) -> NDArray[np.float32]:
        """Return the logits of every image with the current weights, ``(5000, 10)``."""
        ...

    def weights(self) -> tuple[NDArray[np.float32], ...]:
        """Return a copy of the kernel and bias of each layer in turn."""
        ...


class Recorder:
    """Collects the training history of one training, epoch by epoch."""

    def __init__(
        self, variant: Variant, labels: NDArray[np.int64], snapshots: Collection[int], on_epoch: OnEpoch | None
    ) -> None:
        self.variant = variant
        self._labels, self._on_epoch = labels, on_epoch
        self._wanted = wanted_epochs(variant, snapshots)
        self._losses: list[float] = []
        self._errors: list[int] = []
        self._snapshots: dict[int, Snapshot] = {}
        self._started_s = self._epoch_started_s = time.perf_counter()

    def add(self, loss: float, network: Network) -> None:
        """Record the epoch that has just ended: its mean loss, and the error count of the current network."""
        self._losses.append(loss)
        epoch, logits = len(self._losses), network.logits()
        self._errors.append(len(wrong_images(logits, self._labels)))
        if epoch in self._wanted:
            self._snapshots[epoch] = Snapshot(network.weights(), logits)
        now_s = time.perf_counter()
        if self._on_epoch is not None:
            duration_s = now_s - self._epoch_started_s
            self._on_epoch(EpochReport(self.variant, epoch, loss, self._errors[-1], duration_s))
        self._epoch_started_s = now_s

    def history(self) -> TrainingHistory:
        """Return the history of the epochs recorded so far."""
        duration_s = time.perf_counter() - self._started_s
        return TrainingHistory(
            self.variant, np.array(self._losses), np.array(self._errors), self._snapshots, duration_s
        )


class StepwiseEngine(ABC):
    """An engine that trains variants one after another. A subclass implements :meth:`_train`."""

    name: str

    def __init__(self, digits: Digits) -> None:
        self._digits = digits

    @abstractmethod
    def _train(self, recorder: Recorder) -> None:
        """Train the recorder's variant from its initial weights, and record each epoch."""

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Train each variant; see :class:`harness.engines.contract.Engine`."""
        trained = []
        for variant in variants:
            recorder = Recorder(variant, self._digits.labels, snapshots, on_epoch)
            self._train(recorder)
            trained.append(recorder.history())
        return trained
