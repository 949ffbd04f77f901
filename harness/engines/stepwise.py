"""Engines that train one variant at a time, an epoch at a time: the loop that they share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.digits import Digits
from harness.engines.contract import EpochReport, OnEpoch, wanted_epochs
from harness.streams import batch_orders
from harness.trajectory import Snapshot, Trajectory, wrong_images
from harness.variant import Variant


class Network(Protocol):
    """A network in training."""

    def train_epoch(self, order: NDArray[np.int32]) -> float:
        """Train on every image once, in this order, ``(5000,)``; return the mean loss of the epoch's examples."""
        ...

    def logits(self) -> NDArray[np.float32]:
        """The logits of every image at the present weights, ``(5000, 10)``."""
        ...

    def weights(self) -> tuple[NDArray[np.float32], ...]:
        """A copy of kernel and bias of each layer in turn."""
        ...


class StepwiseEngine(ABC):
    """Trains variants one after another; a subclass says what a network is."""

    name: str

    def __init__(self, digits: Digits) -> None:
        self._digits = digits

    @abstractmethod
    def _begin(self, variant: Variant) -> Network:
        """A network with the variant's initial weights that has not been trained yet."""

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[Trajectory]:
        """Train each variant; see :class:`harness.engines.contract.Engine`."""
        return [self._train(variant, wanted_epochs(variant, snapshots), on_epoch) for variant in variants]

    def _train(self, variant: Variant, wanted: frozenset[int], on_epoch: OnEpoch | None) -> Trajectory:
        started = time.perf_counter()
        network = self._begin(variant)
        losses: list[float] = []
        errors: list[int] = []
        snapshots: dict[int, Snapshot] = {}
        for epoch, [order] in enumerate(batch_orders(variant), start=1):
            epoch_started = time.perf_counter()
            losses.append(network.train_epoch(order))
            logits = network.logits()
            errors.append(len(wrong_images(logits, self._digits.labels)))
            if epoch in wanted:
                snapshots[epoch] = Snapshot(network.weights(), logits)
            if on_epoch is not None:
                on_epoch(EpochReport(variant, epoch, losses[-1], errors[-1], time.perf_counter() - epoch_started))
        duration_s = time.perf_counter() - started
        return Trajectory(variant, np.array(losses), np.array(errors), snapshots, duration_s)
