"""The engine contract: an engine takes variants and returns their training histories in the same order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.engines.history import TrainingHistory
from harness.network.variant import Variant


@dataclass(frozen=True)
class EpochReport:
    """The result of one epoch, reported as soon as the epoch ends. ``epoch`` counts from 1."""

    variant: Variant
    epoch: int
    loss: float
    errors: int
    duration_s: float


class InvalidResultError(Exception):
    """An engine returned an invalid result."""


OnEpoch = Callable[[EpochReport], None]


class Engine(Protocol):
    """An engine trains variants. It receives the 5000 training images when it is created."""

    name: str

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Train every variant from its own seed.

        A variant's training history does not depend on the other variants in the list. Repeated trainings give
        the same history, bit for bit. NaN losses and divergence are valid results and raise no exception.

        Args:
            variants: Variants to train.
            snapshots: Epochs (from 1) after which the engine takes a snapshot of weights and logits. Epochs after a
                variant's last epoch are ignored. The last epoch always has a snapshot.
            on_epoch: Callback after each epoch of each variant.

        Returns:
            The training history of each variant, in order.
        """
        ...


def wanted_epochs(variant: Variant, snapshots: Collection[int]) -> frozenset[int]:
    """Return the epochs after which the engine takes a snapshot of this variant."""
    return frozenset(epoch for epoch in snapshots if epoch < variant.epochs) | {variant.epochs}
