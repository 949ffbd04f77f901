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
        weights: kernel and bias of each layer in turn, ``(fan_in, units)`` and ``(units,)``, ``float32``.
        logits: the last layer's output for every image, ``(5000, 10)``, ``float32``.
    """

    weights: tuple[NDArray[np.float32], ...]
    logits: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainingHistory:
    """One training, epoch by epoch.

    Attributes:
        variant: what was trained.
        losses: ``(epochs,)``, ``float64``: the mean over the epoch's 5000 examples, each at the weights that it
            was trained at. NaN and infinity are data.
        errors: ``(epochs,)``, ``int64``: images whose argmax is not their label, scored after the epoch.
        snapshots: by epoch (from 1); the last epoch is always among them.
        duration_s: wall time of the training, seconds; its share where several trained together.
    """

    variant: Variant
    losses: NDArray[np.float64]
    errors: NDArray[np.int64]
    snapshots: Mapping[int, Snapshot]
    duration_s: float

    @property
    def first_zero_epoch(self) -> int | None:
        """The first epoch (from 1) after which no image was wrong; None if there is none."""
        return first_zero(self.errors)

    @property
    def final(self) -> Snapshot:
        """The network after the last epoch."""
        return self.snapshots[self.variant.epochs]

    def prefix(self, epochs: int) -> TrainingHistory:
        """The first epochs of this training: bit for bit what training only so long gives.

        Raises:
            KeyError: no snapshot was taken after ``epochs`` epochs.
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
    """The first epoch (from 1) of ``(epochs,)`` error counts that is without error; None if there is none."""
    zeros = np.flatnonzero(errors == 0)
    return int(zeros[0]) + 1 if len(zeros) else None


def wrong_images(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """Indices (from 0) of the images that are wrong: argmax is not the label, or the logits are not all finite.

    Args:
        logits: ``(n, 10)``, floating.
        labels: ``(n,)``, the digits.
    """
    right = (logits.argmax(axis=1) == labels) & np.isfinite(logits).all(axis=1)
    return np.flatnonzero(~right)
