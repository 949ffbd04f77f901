"""Trains variants for the gate in worker processes, and validates the results that engines return."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines import registry, tensorflow_setup
from harness.engines.contract import Engine, InvalidResultError
from harness.engines.function import FunctionEngine
from harness.engines.history import TrainingHistory, first_zero, wrong_images
from harness.network.softmax import WAYS, SoftmaxCheck, consistency, tensorflow_softmax
from harness.network.variant import BASELINE, N_CLASSES, N_IMAGES, Variant
from harness.text import plural

# The test vectors for softmax: the lab's vector, and vectors with negative entries, with equal entries, with entries
# that are far apart, and with entries near float32's overflow.
VECTORS = np.array(
    [[1, 2, 3, 4], [0, 0, 0, 0], [-4, -3, -2, -1], [5, 5, 4, 5], [40, 1, 0, -40], [80, 79, 78, 0]], np.float32
)


@dataclass(frozen=True)
class SoftmaxLook:
    """The comparison of every ``my_softmax`` implementation with TensorFlow's softmax on rows of logits.

    Attributes:
        rows: Number of rows.
        may_overflow: Number of rows in which an implementation that does not subtract the largest logit may overflow,
            or divide by zero. In these rows, the largest exponential is below the normal range of ``float32``, or ten
            times the largest exponential is above it.
        small_abs_diff: Largest absolute difference from TensorFlow's probability, if one of the two probabilities is
            below the normal range of ``float32``. Such differences are not measured in ULPs.
        checks: Comparison of each implementation, by the name of the implementation.
    """

    rows: int
    may_overflow: int
    small_abs_diff: float
    checks: dict[str, SoftmaxCheck]


@dataclass(frozen=True, eq=False)
class Training:
    """The results of one training that the gate uses.

    Attributes:
        variant: Variant that was trained.
        losses: Mean loss of each epoch, ``(epochs,)``, ``float64``.
        errors: Error count after each epoch, ``(epochs,)``, ``int64``.
        weights: SHA-256 of the weights after each epoch. Empty for every seed but the baseline's.
        softmax: Comparisons of ``my_softmax`` with TensorFlow, on the final logits and on :data:`VECTORS`. Empty for
            every seed but the baseline's.
        duration_s: Duration of the training in seconds. If the engine trained several variants in one call, this is the
            variant's share of the duration.
        data: Hash of a training function's own data, as the function returned it. Empty if it returned none.
    """

    variant: Variant
    losses: NDArray[np.float64]
    errors: NDArray[np.int64]
    weights: tuple[str, ...]
    softmax: dict[str, SoftmaxLook]
    duration_s: float
    data: str = ""

    def prefix(self, epochs: int) -> Training:
        """Return this training with only its first ``epochs`` epochs.

        The softmax comparison remains that of the last trained epoch.
        """
        variant, weights = self.variant.with_epochs(epochs), self.weights[:epochs]
        return replace(self, variant=variant, losses=self.losses[:epochs], errors=self.errors[:epochs], weights=weights)

    @property
    def first_zero_epoch(self) -> int | None:
        """The first epoch (from 1) with zero errors; None if there is none."""
        return self.first_reached(0)

    def first_reached(self, count: int) -> int | None:
        """Return the first epoch (from 1) with at most ``count`` errors; None if there is none."""
        return first_zero(np.maximum(self.errors - count, 0))

    def returned(self, count: int) -> int:
        """Return how many epochs after :meth:`first_reached` have more than ``count`` errors. 0 if that is None."""
        first = self.first_reached(count)
        return 0 if first is None else int(np.count_nonzero(self.errors[first:] > count))

    def errors_at(self, epoch: int) -> int:
        """Return the error count after an epoch (from 1)."""
        return int(self.errors[epoch - 1])


def train(engine: Engine, digits: Digits, variants: Sequence[Variant]) -> list[Training]:
    """Train a batch of variants.

    Variants with the baseline's seed are trained in a separate call. Only this call keeps the weights of every epoch.

    Raises:
        InvalidResultError: The engine did not return a training history for each variant in order, or its error
            counts do not match its logits.
    """
    found: dict[Variant, Training] = {}
    for is_own in (True, False):
        part = [variant for variant in variants if (variant.seed == BASELINE.seed) == is_own]
        if part:
            epochs = max(variant.epochs for variant in part) if is_own else 0
            trained = engine.train(part, snapshots=range(1, epochs + 1))
            _check(trained, part, digits)
            found |= {history.variant: _training(history) for history in trained}
    return [found[variant] for variant in variants]


def train_function(engine: FunctionEngine, _digits: Digits, variants: Sequence[Variant]) -> list[Training]:
    """Train variants with a training function of the user.

    Raises:
        InvalidResultError: The function did not yield one error count for each epoch.
    """
    return [_of_function(engine, variant) for variant in variants]


def _of_function(engine: FunctionEngine, variant: Variant) -> Training:
    began_s = time.monotonic()
    errors, data = engine.errors(variant.seed, variant.epochs)
    losses = np.full(variant.epochs, np.nan)
    return Training(variant, losses, errors, (), {}, time.monotonic() - began_s, data)


def train_with_noise(engine: Engine, digits: Digits, variants: Sequence[Variant]) -> list[Training]:
    """Train each variant on images with random noise in the last bit of every pixel.

    Another order of summation has a similar effect, so the noise shows how rounding alone changes a training. The seed
    of the variant is also the seed of its noise.
    """
    found = []
    for variant in variants:
        noisy = registry.make(engine.name, with_noise(digits, variant.seed))
        [history] = noisy.train([variant])
        found.append(_training(history))
    return found


def conform(engine: Engine, digits: Digits, _variants: Sequence[Variant]) -> list[dict[str, str]]:
    """Check whether the engine follows the engine contract; see :func:`harness.engines.conformance.examine`."""
    from harness.engines import conformance

    return [conformance.examine(engine, digits)]


def with_noise(digits: Digits, seed: int) -> Digits:
    """Return the images with random noise in the last bit of each pixel.

    A pixel moves to the next ``float32`` above or below, or stays unchanged, with equal probability. Pixels that are
    exactly zero stay zero, because products with zero have no rounding error.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    features = digits.features
    steps = np.where(features == 0, 0, random.integers(-1, 2, features.shape))
    moved = np.select(
        [steps > 0, steps < 0],
        [np.nextafter(features, np.float32(9)), np.nextafter(features, np.float32(-9))],
        features,
    )
    return replace(digits, x=moved.astype(np.float64))


def _check(trained: object, variants: Sequence[Variant], digits: Digits) -> None:
    if not isinstance(trained, list) or len(trained) != len(variants):
        received = plural(len(variants), "variant")
        raise InvalidResultError(f"the engine received {received} and returned {_shown(trained)}")
    for variant, history in zip(variants, trained, strict=True):
        if not isinstance(history, TrainingHistory) or history.variant != variant:
            raise InvalidResultError(f"the engine received seed {variant.seed} and returned {_shown(history)}")
        shapes = np.shape(history.losses), np.shape(history.errors)
        if shapes != ((variant.epochs,), (variant.epochs,)):
            raise InvalidResultError(
                f"the engine returned losses and errors of shapes {shapes} for {variant.epochs} epochs"
            )
        errors = np.asarray(history.errors)
        if errors.dtype.kind not in "iu" or errors.min() < 0 or errors.max() > N_IMAGES:
            raise InvalidResultError(
                f"the engine returned error counts that are not integers from 0 to {N_IMAGES}: {errors[:3]} ..."
            )
        if variant.epochs not in history.snapshots:
            raise InvalidResultError(f"the engine returned no weights and logits for the last epoch, {variant.epochs}")
        _check_counts(history, digits)


def _check_counts(history: TrainingHistory, digits: Digits) -> None:
    """Count the errors in the logits of every snapshot, and compare the counts with the engine's error counts."""
    for epoch, snapshot in history.snapshots.items():
        logits = np.asarray(snapshot.logits)
        if logits.shape != (N_IMAGES, N_CLASSES):
            raise InvalidResultError(f"the engine returned logits of shape {logits.shape}, not {(N_IMAGES, N_CLASSES)}")
        counted, wrong = int(history.errors[epoch - 1]), len(wrong_images(logits, digits.labels))
        if counted != wrong:
            raise InvalidResultError(
                f"the engine counts {counted} errors at epoch {epoch}, but its logits have {wrong}"
            )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"{len(value)}"
    return f"seed {value.variant.seed}" if isinstance(value, TrainingHistory) else f"{type(value).__name__}"


def _training(history: TrainingHistory) -> Training:
    is_own = history.variant.seed == BASELINE.seed
    weights: tuple[str, ...] = ()
    softmax: dict[str, SoftmaxLook] = {}
    if is_own:
        if "tensorflow" not in sys.modules:  # an engine of another package may work without TensorFlow
            tensorflow_setup.start(with_keras=False)
        weights = tuple(digest(history.snapshots[epoch].weights) for epoch in sorted(history.snapshots))
        softmax = {"trained logits": _look(np.asarray(history.final.logits)), "vectors": _look(VECTORS)}
    losses, errors = np.asarray(history.losses, np.float64), np.asarray(history.errors, np.int64)
    return Training(history.variant, losses, errors, weights, softmax, history.duration_s)


def _look(logits: NDArray[np.float32]) -> SoftmaxLook:
    smallest = np.finfo(np.float32).tiny
    expected, small = tensorflow_softmax(logits), 0.0
    with np.errstate(all="ignore"):  # overflow is expected
        largest = np.exp(logits.max(axis=1))
        # Multiply by the number of classes, because the sum of the exponentials may overflow, too.
        plain = np.isfinite(largest * N_CLASSES) & (largest >= smallest)
        for softmax in WAYS.values():
            got = softmax(logits)
            is_small = np.isfinite(got) & ~((got >= smallest) & (expected >= smallest))
            small = max(small, float(np.abs(got - expected)[is_small].max(initial=0)))
    return SoftmaxLook(len(logits), int(np.count_nonzero(~plain)), small, consistency(logits))


def digest(weights: Sequence[NDArray[np.float32]]) -> str:
    """Return the SHA-256 of the bytes of all weights in order, as C-contiguous ``float32``."""
    whole = hashlib.sha256()
    for weight in weights:
        whole.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return whole.hexdigest()
