"""The Keras engines: ``compile`` and ``fit``, with the same weights and batches as the other engines.

The engine `keras` uses the package ``keras``. The engine `tf_keras` uses legacy Keras, the package ``tf_keras``, if it
is installed.

One call of ``fit`` trains all epochs. This is five times as fast as one call per epoch with Keras' defaults, for three
reasons:

- A dataset yields the batches, in the order that the seed determines.
- Each epoch is one execution (``steps_per_execution``).
- Steps are not compiled just in time. For such a small network, the compilation takes longer than it saves.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines.stepwise import Recorder, StepwiseEngine
from harness.network.keras_model import build
from harness.network.random_streams import initial_weights, order_dataset
from harness.network.variant import BASELINE, N_IMAGES, Variant


def _loss(variant: Variant, kind: ModuleType) -> Any:  # noqa: ANN401 - Keras has no types
    """Return the cross-entropy loss on the output of the variant's model, which is logits or probabilities.

    Keras silently replaces a softmax layer plus loss by a loss on logits. The loss on probabilities would then equal
    the loss on logits. A reshape between softmax and loss prevents this. The reshape does not change the shape.
    """
    if variant.softmax == "logits":
        return kind.losses.SparseCategoricalCrossentropy(from_logits=True)

    class OnProbabilities(kind.losses.SparseCategoricalCrossentropy):  # type: ignore[misc, name-defined] # no types
        def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ANN401 - Keras defines the signature
            return super().call(y_true, tf.reshape(y_pred, tf.shape(y_pred)))

    return OnProbabilities()


def _optimizer(variant: Variant, kind: ModuleType) -> Any:  # noqa: ANN401 - Keras has no types
    """Return Keras' Adam for a variant.

    For TensorFlow's kind of Adam, the function rounds the betas to ``float32`` first. Keras then computes the same
    constants as TensorFlow.
    """
    betas = variant.beta_1, variant.beta_2
    if variant.adam == "tensorflow":
        betas = float(np.float32(betas[0])), float(np.float32(betas[1]))
    return kind.optimizers.Adam(variant.learning_rate, *betas, epsilon=variant.epsilon)


class _Network:
    """The lab's model, compiled once for all variants that differ only in seed, learning rate and epochs."""

    def __init__(self, variant: Variant, features: tf.Tensor, kind: ModuleType) -> None:
        self._features = features
        self.model = build(variant.layers, variant.softmax, kind)
        self.model.compile(
            loss=_loss(variant, kind),
            optimizer=_optimizer(variant, kind),
            steps_per_execution=variant.steps_per_epoch,
            jit_compile=False,
        )
        self.model.optimizer.build(self.model.trainable_variables)
        last_dense = self.model.layers[len(variant.layers) - 1]
        self._to_logits = tf.function(kind.Model(self.model.inputs[0], last_dense.output), autograph=False)

    def reset(self, variant: Variant) -> None:
        """Set the variant's initial weights and learning rate, and set Adam's moments and step count to zero."""
        for variable in self.model.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self.model.optimizer.learning_rate = variant.learning_rate
        self.model.set_weights(initial_weights(variant))

    def logits(self) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._to_logits(self._features, training=False).numpy()
        return logits

    def weights(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(np.array(weight) for weight in self.model.get_weights())


class KerasEngine(StepwiseEngine):
    """An engine that trains with Keras' ``compile`` and ``fit``.

    Args:
        digits: Images.
        kind: Keras module: ``keras``, or ``tf_keras`` for legacy Keras. The engine has the same name as the module.
    """

    def __init__(self, digits: Digits, kind: ModuleType = keras) -> None:
        super().__init__(digits)
        self.name, self._kind = kind.__name__, kind
        self._features, self._labels = tf.constant(digits.features), tf.constant(digits.labels)
        self._networks: dict[Variant, _Network] = {}

    def _train(self, recorder: Recorder) -> None:
        variant = recorder.variant
        alike = variant.model_copy(update={"seed": 0, "learning_rate": BASELINE.learning_rate, "epochs": 1})
        if alike not in self._networks:
            self._networks[alike] = _Network(variant, self._features, self._kind)
        network = self._networks[alike]
        network.reset(variant)

        def record(_epoch: int, logs: dict[str, float]) -> None:
            recorder.add(float(logs["loss"]), network)

        network.model.fit(
            self._batches(variant),
            epochs=variant.epochs,
            steps_per_epoch=variant.steps_per_epoch,
            shuffle=False,  # the dataset has the order that the seed determines
            verbose=0,
            callbacks=[self._kind.callbacks.LambdaCallback(on_epoch_end=record)],
        )

    def _batches(self, variant: Variant) -> tf.data.Dataset:
        """Return the batches of all epochs, in order: images ``(b, 400) float32`` and labels ``(b,) int64``."""
        size = variant.batch_size
        plain = tf.autograph.experimental.do_not_convert

        def epoch(order: tf.Tensor) -> tf.data.Dataset:
            def batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                images = order[0][start : start + size]
                return tf.gather(self._features, images), tf.gather(self._labels, images)

            return tf.data.Dataset.range(0, N_IMAGES, size).map(plain(batch))

        # Use one thread. Gathering a batch takes microseconds, and waking a second thread would take longer.
        options = tf.data.Options()
        options.threading.private_threadpool_size = 1
        return order_dataset(variant).flat_map(plain(epoch)).with_options(options)
