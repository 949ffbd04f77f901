"""Trains variants. Variants that differ only in their number of epochs share one training.

The training has as many epochs as the longest of these variants. The results of the shorter variants are read from its
history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.contract import Engine, OnEpoch
from harness.engines.history import TrainingHistory, wrong_images
from harness.network.forward import forward
from harness.network.softmax import SizedCheck, SoftmaxCheck, consistency, consistency_by_size
from harness.network.variant import N_FEATURES, Variant, training_key

LAB_IMAGE_OF_TWO = 1015


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The recorded result of one trained variant.

    Attributes:
        variant: Variant that was trained.
        engine: Name of the engine that trained it.
        losses: Mean loss of each epoch, ``(epochs,)``.
        errors: Number of wrong images after each epoch, ``(epochs,)``.
        first_zero_epoch: First epoch (from 1) without errors, or None.
        held_out_errors: Number of held-out images that are wrong after the last epoch. None if the dataset has no
            held-out images, or if the weights do not have the shapes of the variant's layers.
        softmax: Comparison of each implementation of ``my_softmax`` with TensorFlow's softmax on the final logits.
        softmax_by_size: The same comparison, separately for images with small logits and with large logits; see
            :class:`harness.network.softmax.SizedCheck`.
        wrong: Indices (from 0) of the images that are wrong after the last epoch.
        answers: Predicted digit of each wrong image, the argmax of its logits; -1 if its logits are not finite.
        logits_1015: Final logits, ``(10,)``, of image 1015, the digit 2 for which the lab prints its prediction.
        started_s: Start of the training in seconds since 1970. Trainings that ran at the same time are recorded as if
            they had run one after another.
        duration_s: Wall time, in seconds, of the training that this result was read from. If several variants are
            trained in one call, this is the training's share of the time. The time includes any compilation.
        shared_by: Number of results that were read from the same training, including this result.
        weights: Kernel and bias of each layer after the last epoch. None if the network cannot be registered as a
            model in MLflow; see :func:`run`.
    """

    variant: Variant
    engine: str
    losses: NDArray[np.float64]
    errors: NDArray[np.int64]
    first_zero_epoch: int | None
    held_out_errors: int | None
    softmax: dict[str, SoftmaxCheck]
    softmax_by_size: list[SizedCheck]
    wrong: NDArray[np.intp]
    answers: NDArray[np.int64]
    logits_1015: NDArray[np.float32]
    started_s: float
    duration_s: float
    shared_by: int
    weights: tuple[NDArray[np.float32], ...] | None = None

    @property
    def final_errors(self) -> int:
        """The number of wrong images after the last epoch."""
        return int(self.errors[-1])

    @property
    def final_loss(self) -> float:
        """The mean loss of the last epoch."""
        return float(self.losses[-1])

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values, as ``harness train --json`` writes it."""
        return {
            "variant": {**self.variant.model_dump(mode="json"), "key": self.variant.key},
            "engine": self.engine,
            "losses": self.losses.tolist(),
            "errors": self.errors.tolist(),
            "first_zero_epoch": self.first_zero_epoch,
            "final_errors": self.final_errors,
            "held_out_errors": self.held_out_errors,
            "logits_1015": self.logits_1015.tolist(),
            "softmax": {name: asdict(check) for name, check in self.softmax.items()},
            "duration_s": self.duration_s,
        }


def by_training(variants: Sequence[Variant]) -> list[list[Variant]]:
    """Group the variants that differ only in their number of epochs. Each group needs only one training."""
    groups: dict[frozenset[tuple[str, str]], list[Variant]] = {}
    for variant in variants:
        groups.setdefault(training_key(variant.settings()), []).append(variant)
    return list(groups.values())


def run(
    engine: Engine, digits: Digits, variants: Sequence[Variant], on_epoch: OnEpoch | None = None
) -> list[TrainingResult]:
    """Train variants. Variants that differ only in their epochs share one training.

    Returns:
        The result of each variant, in order. A result has weights only if the network may be registered as a model in
        MLflow. Such a variant is the baseline, or it has zero errors after the last epoch. See
        :mod:`harness.tracking.model_selection`.
    """
    groups = by_training(variants)
    longest = [max(group, key=lambda variant: variant.epochs) for group in groups]
    wanted = {variant.epochs for variant in variants}
    started_s = time.time()
    histories = engine.train(longest, snapshots=wanted, on_epoch=on_epoch)
    results: dict[Variant, TrainingResult] = {}
    for group, history in zip(groups, histories, strict=True):
        for variant in group:
            prefix = history.prefix(variant.epochs)
            results[variant] = _result(engine.name, digits, prefix, started_s, len(group))
        started_s += history.duration_s
    kept = _kept(engine.name, list(results.values()))
    return [results[variant] if variant in kept else replace(results[variant], weights=None) for variant in variants]


def _kept(engine: str, results: Sequence[TrainingResult]) -> set[Variant]:
    """Return the variants whose weights are kept, because the networks may be registered as models in MLflow.

    These are the baseline and the variants with zero errors, if their loss is finite. Weights from an engine of another
    package are not kept, because they may not fit the Keras model.
    """
    finite = [result for result in results if math.isfinite(result.final_loss)]
    if engine not in registry.NAMES or not finite:
        return set()
    own = registry.baseline(engine)
    kept = {result.variant for result in finite if not result.final_errors}
    kept |= {result.variant for result in finite if result.variant == own.with_epochs(result.variant.epochs)}
    return kept


def held_out_errors(weights: Sequence[NDArray[np.float32]], variant: Variant, digits: Digits) -> int | None:
    """Count the held-out images that the network gets wrong.

    Args:
        weights: Kernel and bias of each layer in turn.
        variant: Variant that was trained.
        digits: Images, including the held-out images.

    Returns:
        The number of wrong images. None if there are no held-out images, or if the weights do not have the shapes of
        the variant's layers.
    """
    sizes = (N_FEATURES, *variant.layers)
    expected = [shape for fan_in, units in pairwise(sizes) for shape in ((fan_in, units), (units,))]
    if digits.held_out is None or [np.shape(weight) for weight in weights] != expected:
        return None
    with np.errstate(all="ignore"):  # after divergence, logits are not finite, and the images count as wrong
        logits = forward(weights, digits.held_out.features)[-1]
    return len(wrong_images(logits, digits.held_out.labels))


def _result(engine: str, digits: Digits, history: TrainingHistory, started_s: float, shared_by: int) -> TrainingResult:
    logits = history.final.logits
    wrong = wrong_images(logits, digits.labels)
    return TrainingResult(
        variant=history.variant,
        engine=engine,
        losses=history.losses,
        errors=history.errors,
        first_zero_epoch=history.first_zero_epoch,
        held_out_errors=held_out_errors(history.final.weights, history.variant, digits),
        softmax=consistency(logits),
        softmax_by_size=consistency_by_size(logits),
        wrong=wrong,
        answers=np.where(np.isfinite(logits[wrong]).all(axis=1), logits[wrong].argmax(axis=1), -1),
        logits_1015=logits[LAB_IMAGE_OF_TWO],
        started_s=started_s,
        duration_s=history.duration_s,
        shared_by=shared_by,
        weights=history.final.weights,
    )
