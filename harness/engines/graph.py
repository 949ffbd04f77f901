"""Plain TensorFlow operations: the reference engine, which prints the lab's log to every digit."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.digits import Digits
from harness.engines.stepwise import StepwiseEngine
from harness.streams import initial_weights
from harness.variant import N_FEATURES, N_IMAGES, Variant

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class _Network:
    """A network of a given shape with its Adam state, and an epoch of training traced for it."""

    def __init__(self, layers: tuple[int, ...], batch_size: int, images: tf.Tensor, labels: tf.Tensor) -> None:
        self._batch_size = batch_size
        self._images, self._labels = images, labels
        shapes: list[tuple[int, ...]] = []
        for fan_in, units in zip((N_FEATURES, *layers), layers, strict=False):
            shapes += [(fan_in, units), (units,)]
        self._weights = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._means = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._squares = [tf.Variable(tf.zeros(shape)) for shape in shapes]
        self._step = tf.Variable(0, dtype=tf.int64)
        self._learning_rate = tf.Variable(0.0)

    def reset(self, variant: Variant) -> None:
        """Forget all training and begin as the variant does."""
        for variable, value in zip(self._weights, initial_weights(variant), strict=True):
            variable.assign(value)
        for moment in (*self._means, *self._squares):
            moment.assign(tf.zeros_like(moment))
        self._step.assign(0)
        self._learning_rate.assign(variant.learning_rate)

    def train_epoch(self, order: NDArray[np.int64]) -> float:
        return float(self._train_epoch(tf.constant(order)))

    def logits(self) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._score().numpy()
        return logits

    def weights(self) -> tuple[NDArray[np.float32], ...]:
        return tuple(weight.numpy().copy() for weight in self._weights)

    # The loop is written as the operation it becomes: AutoGraph, which could write it, warns on newer Pythons.
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
        """Take one Adam step on the images of these indices, ``(b,) int64``; return the sum of their losses."""
        labels = tf.gather(self._labels, batch)
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, self._forward(tf.gather(self._images, batch))
            )
            mean_loss = tf.reduce_mean(losses)
        self._step.assign_add(1)
        step = tf.cast(self._step, tf.float32)
        gradients = tape.gradient(mean_loss, self._weights)
        for weight, mean, square, gradient in zip(self._weights, self._means, self._squares, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=tf.pow(BETA_1, step),
                beta2_power=tf.pow(BETA_2, step),
                lr=self._learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )
        return tf.reduce_sum(losses)


class GraphEngine(StepwiseEngine):
    """Trains with TensorFlow operations in a graph."""

    name = "graph"

    def __init__(self, digits: Digits) -> None:
        super().__init__(digits)
        self._tensors = tf.constant(digits.features), tf.constant(digits.labels)
        self._networks: dict[tuple[tuple[int, ...], int], _Network] = {}

    def _begin(self, variant: Variant) -> _Network:
        shape = (variant.layers, variant.batch_size)
        if shape not in self._networks:
            self._networks[shape] = _Network(*shape, *self._tensors)
        network = self._networks[shape]
        network.reset(variant)
        return network
