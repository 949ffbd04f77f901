"""Trains variants: each configuration once, and shorter variants are read from the longest history."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.contract import Engine, OnEpoch
from harness.engines.history import TrainingHistory, wrong_images
from harness.network.softmax import SizedCheck, SoftmaxCheck, consistency, consistency_by_size
from harness.network.variant import Variant, training_key

LAB_IMAGE_OF_TWO = 1015


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What is recorded of one trained variant.

    Attributes:
        variant: what was trained.
        engine: what trained it.
        losses: ``(epochs,)``, mean loss of each epoch.
        errors: ``(epochs,)``, images wrong after each epoch.
        first_zero_epoch: the first epoch (from 1) with no error, or None.
        softmax: how each way of ``my_softmax`` compares with TensorFlow's on the final logits.
        softmax_by_size: the same by the size of the logits.
        wrong: indices (from 0) of the images that are wrong after the last epoch.
        answers: what they are taken for, the digit of the largest logit; -1 where the logits are not finite.
        logits_1015: ``(10,)``, the final logits of the lab's image of a two.
        started_s: when the training began, seconds since 1970; of trainings that shared their time, as if they had
            gone one after another.
        duration_s: wall time of the training that this was read off, its share where several trained together,
            seconds; what is compiled for the first epoch of a shape counts.
        shared_by: The number of results that were read from that training.
        weights: kernel and bias of each layer after the last epoch, of what may be kept as a model; see :func:`run`.
    """

    variant: Variant
    engine: str
    losses: NDArray[np.float64]
    errors: NDArray[np.int64]
    first_zero_epoch: int | None
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
        """Images wrong after the last epoch."""
        return int(self.errors[-1])

    @property
    def final_loss(self) -> float:
        """Mean loss of the last epoch."""
        return float(self.losses[-1])

    def as_json(self) -> dict[str, Any]:
        """The result in plain values, as ``harness train --json`` writes it."""
        return {
            "variant": {**self.variant.model_dump(mode="json"), "key": self.variant.key},
            "engine": self.engine,
            "losses": self.losses.tolist(),
            "errors": self.errors.tolist(),
            "first_zero_epoch": self.first_zero_epoch,
            "final_errors": self.final_errors,
            "logits_1015": self.logits_1015.tolist(),
            "softmax": {name: asdict(check) for name, check in self.softmax.items()},
            "duration_s": self.duration_s,
        }


def by_training(variants: Sequence[Variant]) -> list[list[Variant]]:
    """Group variants that one training serves: those that differ in nothing but their epochs, in order."""
    groups: dict[frozenset[tuple[str, str]], list[Variant]] = {}
    for variant in variants:
        groups.setdefault(training_key(variant.settings()), []).append(variant)
    return list(groups.values())


def run(
    engine: Engine, digits: Digits, variants: Sequence[Variant], on_epoch: OnEpoch | None = None
) -> list[TrainingResult]:
    """Train the variants, one training for all that differ in their epochs alone.

    Returns:
        an outcome for each variant, in order. With weights are those that a study may want to keep as a model: the
        baseline's and those without errors; see :mod:`harness.tracking.model_selection`.
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
    """The variants whose weights are kept: the baseline and those with zero errors, which may become models.

    Weights of an engine of another package are not kept, because the Keras model may not fit them.
    """
    finite = [result for result in results if math.isfinite(result.final_loss)]
    if engine not in registry.NAMES or not finite:
        return set()
    own = registry.baseline(engine)
    kept = {result.variant for result in finite if not result.final_errors}
    kept |= {result.variant for result in finite if result.variant == own.with_epochs(result.variant.epochs)}
    return kept


def _result(engine: str, digits: Digits, history: TrainingHistory, started_s: float, shared_by: int) -> TrainingResult:
    logits = history.final.logits
    wrong = wrong_images(logits, digits.labels)
    return TrainingResult(
        variant=history.variant,
        engine=engine,
        losses=history.losses,
        errors=history.errors,
        first_zero_epoch=history.first_zero_epoch,
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
