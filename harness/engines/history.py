"""The training history: loss and error count per epoch, and snapshots of weights and logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.network.variant import Variant


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The network after one epoch.

    Attributes:
        weights: Kernel and bias of each layer in turn, ``(fan_in, units)`` and ``(units,)``, ``float32``.
        logits: Output of the last layer for every image, ``(5000, 10)``, ``float32``.
    """

    weights: tuple[NDArray[np.float32], ...]
    logits: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainingHistory:
    """The results of one training, epoch by epoch.

    Attributes:
        variant: Variant that was trained.
        losses: Mean loss of each epoch's 5000 examples, ``(epochs,)``, ``float64``. The loss of an example is computed
            with the weights just before the training step on this example. NaN and infinity are valid values.
        errors: Number of wrong images after each epoch, ``(epochs,)``, ``int64``; see :func:`wrong_images`.
        snapshots: Snapshots by epoch (from 1). The last epoch always has one.
        duration_s: Wall time of the training in seconds. If several variants are trained in one call, this is the
            variant's share of the time.
    """

    variant: Variant
    losses: NDArray[np.float64]
    errors: NDArray[np.int64]
    snapshots: Mapping[int, Snapshot]
    duration_s: float

    @property
    def first_zero_epoch(self) -> int | None:
        """The first epoch (from 1) with zero errors; None if there is none."""
        return first_zero(self.errors)

    @property
    def final(self) -> Snapshot:
        """The snapshot after the last epoch."""
        return self.snapshots[self.variant.epochs]

    def prefix(self, epochs: int) -> TrainingHistory:
        """Return the history of the first ``epochs`` epochs.

        The result equals the history of a training with only ``epochs`` epochs, bit for bit. The exception is
        ``duration_s``, which is still the duration of the whole training.

        Args:
            epochs: Number of epochs to keep.

        Raises:
            KeyError: There is no snapshot of epoch ``epochs``.
        """
        if epochs not in self.snapshots:
            raise KeyError(epochs)
        kept = {epoch: snapshot for epoch, snapshot in self.snapshots.items() if epoch <= epochs}
        return replace(
            self,
            variant=self.variant.with_epochs(epochs),
            losses=self.losses[:epochs],
            errors=self.errors[:epochs],
            snapshots=kept,
        )


def first_zero(errors: NDArray[np.integer]) -> int | None:
    """Return the first epoch (from 1) with zero errors; None if there is none. ``errors`` is ``(epochs,)``."""
    zeros = np.flatnonzero(errors == 0)
    return int(zeros[0]) + 1 if len(zeros) else None


def wrong_images(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the indices (from 0) of the wrong images.

    An image is wrong if the argmax of its logits is not its label, or if one of its logits is not finite.

    Args:
        logits: Logits of each image, ``(n, 10)``, floating-point.
        labels: Digit of each image, ``(n,)``.
    """
    right = (logits.argmax(axis=1) == labels) & np.isfinite(logits).all(axis=1)
    return np.flatnonzero(~right)
