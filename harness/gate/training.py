"""What the gate trains, in worker processes: the baseline, its own seed traced epoch by epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.digits import Digits
from harness.engines.contract import Engine
from harness.trajectory import Trajectory
from harness.variant import BASELINE, Variant


@dataclass(frozen=True, eq=False)
class Training:
    """What the gate looks at of one training.

    Attributes:
        variant: what was trained.
        losses: ``(epochs,)``, ``float64``.
        errors: ``(epochs,)``, ``int64``.
        weights: the SHA-256 of the weights after each epoch, of the baseline's own seed; else empty.
        logits: ``(5000, 10)``, ``float32``, after the last epoch, of the same; else None.
        duration_s: of the training, its share where several trained together.
    """

    variant: Variant
    losses: NDArray[np.float64]
    errors: NDArray[np.int64]
    weights: tuple[str, ...]
    logits: NDArray[np.float32] | None
    duration_s: float

    @property
    def first_zero_epoch(self) -> int | None:
        """The first epoch (from 1) with no error; None if there is none."""
        zeros = np.flatnonzero(self.errors == 0)
        return int(zeros[0]) + 1 if len(zeros) else None


class UnfitError(Exception):
    """An engine that did not return what it was asked for."""


def train(engine: Engine, _digits: Digits, variants: Sequence[Variant]) -> list[Training]:
    """Train a batch with what the gate looks at; the baseline's own seed by itself, for its weights are kept.

    Raises:
        UnfitError: the engine returned something else than a trajectory for each variant, in order.
    """
    own = [variant for variant in variants if variant.seed == BASELINE.seed]
    others = [variant for variant in variants if variant.seed != BASELINE.seed]
    every = range(1, max((variant.epochs for variant in own), default=0) + 1)
    found = {
        **dict(zip(own, _trained(engine, own, every), strict=True)),
        **dict(zip(others, _trained(engine, others, ()), strict=True)),
    }
    return [_training(found[variant], is_own=variant in own) for variant in variants]


def _trained(engine: Engine, variants: Sequence[Variant], snapshots: Sequence[int]) -> list[Trajectory]:
    if not variants:
        return []
    trained = engine.train(variants, snapshots=snapshots)
    if not isinstance(trained, list) or len(trained) != len(variants):
        raise UnfitError(f"the engine was asked for {len(variants)} trainings and returned {_told(trained)}")
    for variant, trajectory in zip(variants, trained, strict=True):
        if not isinstance(trajectory, Trajectory) or trajectory.variant != variant:
            raise UnfitError(f"the engine was asked for seed {variant.seed} and returned {_told(trajectory)}")
        shapes = np.shape(trajectory.losses), np.shape(trajectory.errors)
        if shapes != ((variant.epochs,), (variant.epochs,)):
            raise UnfitError(f"the engine returned losses and errors of shapes {shapes} for {variant.epochs} epochs")
    return trained


def _told(value: object) -> str:
    return f"{len(value)}" if isinstance(value, list) else f"{type(value).__name__}"


def _training(trajectory: Trajectory, *, is_own: bool) -> Training:
    epochs = range(1, trajectory.variant.epochs + 1) if is_own else ()
    return Training(
        trajectory.variant,
        trajectory.losses,
        trajectory.errors,
        tuple(digest(trajectory.snapshots[epoch].weights) for epoch in epochs if epoch in trajectory.snapshots),
        trajectory.final.logits if is_own else None,
        trajectory.duration_s,
    )


def digest(weights: Sequence[NDArray[np.float32]]) -> str:
    """The SHA-256 of all weights' bytes, in order, C-contiguous ``float32``."""
    whole = hashlib.sha256()
    for weight in weights:
        whole.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return whole.hexdigest()
