"""Keras' own ``fit``: what a user's stack does today, from the same weights and batches as the other engines."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from harness.digits import Digits
from harness.engines.stepwise import StepwiseEngine
from harness.model import build
from harness.streams import initial_weights
from harness.variant import Variant


class _OnProbabilities(keras.losses.SparseCategoricalCrossentropy):  # type: ignore[misc] # Keras has no types
    """Cross-entropy on the probabilities that the model gives out.

    Keras looks behind a softmax layer for its logits and would take these instead, so that where the softmax stands
    would change nothing: behind a reshape, even to the shape that there is, it does not look.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ANN401 - Keras' own signature
        return super().call(y_true, keras.ops.reshape(y_pred, keras.ops.shape(y_pred)))


def _optimizer(variant: Variant) -> keras.optimizers.Adam:
    """Keras' Adam; betas that are rounded to ``float32`` beforehand give it TensorFlow's constants, exactly."""
    betas = variant.beta_1, variant.beta_2
    if variant.adam == "tensorflow":
        betas = float(np.float32(betas[0])), float(np.float32(betas[1]))
    return keras.optimizers.Adam(variant.learning_rate, *betas, epsilon=variant.epsilon)


class _Network:
    def __init__(self, digits: Digits, variant: Variant) -> None:
        self._features, self._labels = digits.features, digits.labels
        self._batch_size = variant.batch_size
        self._model = build(variant.layers, variant.softmax)
        in_loss = variant.softmax == "logits"
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if in_loss else _OnProbabilities()
        self._model.compile(loss=loss, optimizer=_optimizer(variant))
        last_dense = self._model.layers[len(variant.layers) - 1]
        self._to_logits = keras.Model(self._model.inputs[0], last_dense.output)
        self._model.set_weights(initial_weights(variant))

    def train_epoch(self, order: NDArray[np.int32]) -> float:
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
        logits: NDArray[np.float32] = self._to_logits(self._features, training=False).numpy()
        return logits

    def weights(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(np.array(weight) for weight in self._model.get_weights())


class KerasEngine(StepwiseEngine):
    """Trains with ``compile`` and ``fit``."""

    name = "keras"

    def _begin(self, variant: Variant) -> _Network:
        return _Network(self._digits, variant)
