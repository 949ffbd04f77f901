"""What the gate trains, in worker processes: the baseline, its own seed traced epoch by epoch."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness import engines
from harness.digits import Digits
from harness.engines import runtime
from harness.engines.contract import Engine
from harness.softmax import SoftmaxCheck, consistency
from harness.trajectory import Trajectory
from harness.variant import BASELINE, Variant

# What the lab feeds its softmax, and rows that are harder: equal, far apart, and as large as float32 can stand.
VECTORS = np.array(
    [[1, 2, 3, 4], [0, 0, 0, 0], [-4, -3, -2, -1], [5, 5, 4, 5], [40, 1, 0, -40], [80, 79, 78, 0]], np.float32
)


@dataclass(frozen=True, eq=False)
class Training:
    """What the gate looks at of one training.

    Attributes:
        variant: what was trained.
        losses: ``(epochs,)``, ``float64``.
        errors: ``(epochs,)``, ``int64``.
        weights: the SHA-256 of the weights after each epoch, of the baseline's own seed; else empty.
        softmax: each way of ``my_softmax`` against TensorFlow's: on the last logits of the baseline's own seed and on
            :data:`VECTORS`; else empty.
        duration_s: of the training, its share where several trained together.
    """

    variant: Variant
    losses: NDArray[np.float64]
    errors: NDArray[np.int64]
    weights: tuple[str, ...]
    softmax: dict[str, dict[str, SoftmaxCheck]]
    duration_s: float

    def prefix(self, epochs: int) -> Training:
        """The first epochs of this training; its softmax stays that of its end."""
        variant, weights = self.variant.with_epochs(epochs), self.weights[:epochs]
        return replace(self, variant=variant, losses=self.losses[:epochs], errors=self.errors[:epochs], weights=weights)

    @property
    def first_zero_epoch(self) -> int | None:
        """The first epoch (from 1) with no error; None if there is none."""
        zeros = np.flatnonzero(self.errors == 0)
        return int(zeros[0]) + 1 if len(zeros) else None


class UnfitError(Exception):
    """An engine that did not return what it was asked for."""


def train(engine: Engine, _digits: Digits, variants: Sequence[Variant]) -> list[Training]:
    """Train a batch; in which the baseline's own seed is, of that every epoch's weights are kept.

    Raises:
        UnfitError: the engine returned something else than a trajectory for each variant, in order.
    """
    own = [variant.epochs for variant in variants if variant.seed == BASELINE.seed]
    trained = engine.train(variants, snapshots=range(1, max(own, default=0) + 1))
    _check(trained, variants)
    return [_training(trajectory) for trajectory in trained]


def train_with_noise(engine: Engine, digits: Digits, variants: Sequence[Variant]) -> list[Training]:
    """Train each variant on images of its own, whose every number is moved by its last bit, or is not.

    That is in every product of every step, as another order of sums is: a control for what rounding alone does. A
    variant's noise is drawn by its seed.
    """
    found = []
    for variant in variants:
        noisy = engines.make(engine.name, with_noise(digits, variant.seed))
        [trajectory] = noisy.train([variant])
        found.append(_training(trajectory))
    return found


def conform(engine: Engine, digits: Digits, _variants: Sequence[Variant]) -> list[dict[str, str]]:
    """Put the engine to the rules of the contract; see :func:`harness.conformance.examine`."""
    from harness import conformance

    return [conformance.examine(engine, digits)]


def with_noise(digits: Digits, seed: int) -> Digits:
    """The images with every number moved up, down or not at all by one of ``float32``'s steps, by equal chance.

    Pixels that are exactly zero stay so: they come from clean paper, and a product with them has no rounding.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    features = digits.features
    steps = np.where(features == 0, 0, random.integers(-1, 2, features.shape))
    moved = np.select(
        [steps > 0, steps < 0],
        [np.nextafter(features, np.float32(9)), np.nextafter(features, np.float32(-9))],
        features,
    )
    return Digits(moved.astype(np.float64), digits.y, digits.name, digits.source, digits.sha256_x, digits.sha256_y)


def _check(trained: object, variants: Sequence[Variant]) -> None:
    if not isinstance(trained, list) or len(trained) != len(variants):
        raise UnfitError(f"the engine was asked for {len(variants)} trainings and returned {_told(trained)}")
    for variant, trajectory in zip(variants, trained, strict=True):
        if not isinstance(trajectory, Trajectory) or trajectory.variant != variant:
            raise UnfitError(f"the engine was asked for seed {variant.seed} and returned {_told(trajectory)}")
        shapes = np.shape(trajectory.losses), np.shape(trajectory.errors)
        if shapes != ((variant.epochs,), (variant.epochs,)):
            raise UnfitError(f"the engine returned losses and errors of shapes {shapes} for {variant.epochs} epochs")
        if variant.epochs not in trajectory.snapshots:
            raise UnfitError(f"the engine kept no weights and logits of the last epoch, {variant.epochs}")


def _told(value: object) -> str:
    if isinstance(value, list):
        return f"{len(value)}"
    return f"seed {value.variant.seed}" if isinstance(value, Trajectory) else f"{type(value).__name__}"


def _training(trajectory: Trajectory) -> Training:
    is_own = trajectory.variant.seed == BASELINE.seed
    weights: tuple[str, ...] = ()
    softmax: dict[str, dict[str, SoftmaxCheck]] = {}
    if is_own:
        if "tensorflow" not in sys.modules:  # another's engine may do without
            runtime.start(with_keras=False)
        weights = tuple(digest(trajectory.snapshots[epoch].weights) for epoch in sorted(trajectory.snapshots))
        softmax = {"trained logits": consistency(trajectory.final.logits), "vectors": consistency(VECTORS)}
    losses, errors = np.asarray(trajectory.losses, np.float64), np.asarray(trajectory.errors, np.int64)
    return Training(trajectory.variant, losses, errors, weights, softmax, trajectory.duration_s)


def digest(weights: Sequence[NDArray[np.float32]]) -> str:
    """The SHA-256 of all weights' bytes, in order, C-contiguous ``float32``."""
    whole = hashlib.sha256()
    for weight in weights:
        whole.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return whole.hexdigest()
