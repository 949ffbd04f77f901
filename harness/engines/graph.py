"""The engine `graph`: plain TensorFlow operations that reproduce every digit of the lab's log."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines.adam import CLIP, Adam, adam
from harness.engines.stepwise import Recorder, StepwiseEngine
from harness.network.random_streams import batch_orders, initial_weights
from harness.network.variant import N_FEATURES, N_IMAGES, Variant

_Moments = tuple[tf.Variable, tf.Variable, tf.Variable]  # weight, mean gradient, mean squared gradient


class _Network:
    """A network, its Adam state, and the TensorFlow function that trains the network for one epoch.

    Variants with the same layers, batch size, softmax and kind of Adam share one network. Call :meth:`reset` before
    each training.
    """

    def __init__(self, variant: Variant, images: tf.Tensor, labels: tf.Tensor) -> None:
        self._batch_size, self._softmax, self._adam = variant.batch_size, variant.softmax, variant.adam
        self._images, self._labels = images, labels
        layers = variant.layers
        shapes: list[tuple[int, ...]] = []
        for fan_in, units in zip((N_FEATURES, *layers), layers, strict=False):
            shapes += [(fan_in, units), (units,)]
        self._weights = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._means = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._squares = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._step = tf.Variable(0, dtype=tf.int64)
        self._constants = Adam(*(tf.Variable(value) for value in adam(variant)))

    def reset(self, variant: Variant) -> None:
        """Set the variant's initial weights and Adam constants, and set Adam's moments and step count to zero."""
        for variable, value in zip(self._weights, initial_weights(variant), strict=True):
            variable.assign(value)
        for moment in (*self._means, *self._squares):
            moment.assign(tf.zeros_like(moment))
        self._step.assign(0)
        for constant, number in zip(self._constants, adam(variant), strict=True):
            constant.assign(number)

    def train_epoch(self, order: NDArray[np.int32]) -> float:
        return float(self._train_epoch(tf.constant(order)))

    def logits(self) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._score().numpy()
        return logits

    def weights(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(weight.numpy().copy() for weight in self._weights)

    # The loop is written with tf.while_loop, because AutoGraph prints warnings on newer versions of Python.
    @tf.function(autograph=False)
    def _train_epoch(self, order: tf.Tensor) -> tf.Tensor:
        size, n_full = self._batch_size, N_IMAGES // self._batch_size

        def train_full_batch(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return index + 1, total + self._train_batch(tf.slice(order, [index * size], [size]))

        _, total = tf.while_loop(lambda index, _: index < n_full, train_full_batch, (0, tf.constant(0.0)))
        if N_IMAGES % size:
            total += self._train_batch(order[n_full * size :])
        return total / N_IMAGES

    @tf.function(autograph=False)
    def _score(self) -> tf.Tensor:
        return self._forward(self._images)

    def _forward(self, images: tf.Tensor) -> tf.Tensor:
        activations = images
        for kernel, bias in zip(self._weights[:-2:2], self._weights[1:-2:2], strict=True):
            activations = tf.nn.relu(tf.matmul(activations, kernel) + bias)
        return tf.matmul(activations, self._weights[-2]) + self._weights[-1]

    def _train_batch(self, batch: tf.Tensor) -> tf.Tensor:
        """Take one Adam step on the images with the indices ``batch``, ``(b,) int32``. Return the sum of the losses."""
        labels = tf.gather(self._labels, batch)
        with tf.GradientTape() as tape:
            logits = self._forward(tf.gather(self._images, batch))
            if self._softmax == "output":
                logits = tf.math.log(tf.clip_by_value(tf.nn.softmax(logits), CLIP, 1 - CLIP))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            mean_loss = tf.reduce_mean(losses)
        self._step.assign_add(1)
        step = tf.cast(self._step, tf.float32)
        powers = tf.pow(self._constants.beta_1, step), tf.pow(self._constants.beta_2, step)
        apply = self._apply_tensorflow if self._adam == "tensorflow" else self._apply_keras
        gradients = tape.gradient(mean_loss, self._weights)
        for weight, mean, square, gradient in zip(self._weights, self._means, self._squares, gradients, strict=True):
            apply((weight, mean, square), gradient, powers)
        return tf.reduce_sum(losses)

    def _apply_tensorflow(self, state: _Moments, gradient: tf.Tensor, powers: tuple[tf.Tensor, tf.Tensor]) -> None:
        """Update one weight array with TensorFlow's own Adam operation."""
        weight, mean, square = state
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=self._constants.learning_rate,
            beta1=self._constants.beta_1,
            beta2=self._constants.beta_2,
            epsilon=self._constants.epsilon,
            grad=gradient,
        )

    def _apply_keras(self, state: _Moments, gradient: tf.Tensor, powers: tuple[tf.Tensor, tf.Tensor]) -> None:
        """Update one weight array as Keras' Adam does, with Keras' value of 1 - beta.

        TensorFlow's own Adam operation cannot be used, because it computes 1 - beta itself.
        """
        weight, mean, square = state
        rate = self._constants.learning_rate * tf.sqrt(1 - powers[1]) / (1 - powers[0])
        new_mean = mean.assign_add((gradient - mean) * self._constants.rest_1)
        new_square = square.assign_add((tf.square(gradient) - square) * self._constants.rest_2)
        weight.assign_sub(new_mean * rate / (tf.sqrt(new_square) + self._constants.epsilon))


class GraphEngine(StepwiseEngine):
    """The engine that trains with plain TensorFlow operations in a graph."""

    name = "graph"

    def __init__(self, digits: Digits) -> None:
        super().__init__(digits)
        self._tensors = tf.constant(digits.features), tf.constant(digits.labels)
        self._networks: dict[tuple[object, ...], _Network] = {}

    def _train(self, recorder: Recorder) -> None:
        variant = recorder.variant
        alike = (variant.layers, variant.batch_size, variant.softmax, variant.adam)
        if alike not in self._networks:
            self._networks[alike] = _Network(variant, *self._tensors)
        network = self._networks[alike]
        network.reset(variant)
        for [order] in batch_orders(variant):
            recorder.add(network.train_epoch(order), network)
