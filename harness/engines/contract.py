"""The engine contract: an engine takes variants and returns their training histories in the same order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.engines.history import TrainingHistory
from harness.network.variant import Variant


@dataclass(frozen=True)
class EpochReport:
    """What an engine tells of an epoch as soon as it is over; the epoch counts from 1."""

    variant: Variant
    epoch: int
    loss: float
    errors: int
    duration_s: float


OnEpoch = Callable[[EpochReport], None]


class Engine(Protocol):
    """Trains variants on the 5000 images that it was made with."""

    name: str

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Train every variant from its own seed.

        A variant's training history does not depend on what else is in the list, and repeats bit for bit. NaN losses
        and divergence come back as data.

        Args:
            variants: what to train.
            snapshots: epochs (from 1) after which weights and logits are kept; those past a variant's end are
                passed over, and its last epoch is always kept.
            on_epoch: called after each epoch of each variant.

        Returns:
            a training history for each variant, in order.
        """
        ...


def wanted_epochs(variant: Variant, snapshots: Collection[int]) -> frozenset[int]:
    """The epochs of this variant whose weights and logits are kept."""
    return frozenset(epoch for epoch in snapshots if epoch < variant.epochs) | {variant.epochs}
