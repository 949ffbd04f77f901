"""Keras' own ``fit``: what a user's stack does today, from the same weights and batches as the other engines."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from harness.digits import Digits
from harness.engines.stepwise import StepwiseEngine
from harness.model import build
from harness.streams import initial_weights
from harness.variant import Variant


class _Network:
    def __init__(self, digits: Digits, variant: Variant) -> None:
        self._features, self._labels = digits.features, digits.labels
        self._batch_size = variant.batch_size
        self._model = build(variant.layers)
        self._model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            optimizer=keras.optimizers.Adam(learning_rate=variant.learning_rate),
        )
        self._model.set_weights(initial_weights(variant))

    def train_epoch(self, order: NDArray[np.int64]) -> float:
        # One fit an epoch, on arrays in the epoch's order: with shuffle off, fit cuts its batches from the left.
        history = self._model.fit(
            self._features[order],
            self._labels[order],
            batch_size=self._batch_size,
            epochs=1,
            shuffle=False,
            verbose=0,
        )
        return float(history.history["loss"][0])

    def logits(self) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._model(self._features, training=False).numpy()
        return logits

    def weights(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(np.array(weight) for weight in self._model.get_weights())


class KerasEngine(StepwiseEngine):
    """Trains with ``compile`` and ``fit``."""

    name = "keras"

    def _begin(self, variant: Variant) -> _Network:
        return _Network(self._digits, variant)
