"""Draws the initial weights and the batch orders of a seed, exactly as TensorFlow drew them in the lab."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.network.variant import N_FEATURES, N_IMAGES, Variant


def initial_weights(variant: Variant) -> tuple[NDArray[np.float32], ...]:
    """Return the initial weights of a variant: Glorot-uniform kernels drawn from its seed, and zero biases.

    The function sets TensorFlow's global seed, which restarts the random numbers of eager operations. The kernels are
    the first random numbers after this restart, in layer order (three draws for the baseline).

    Returns:
        Kernel and bias of each layer in turn, ``(fan_in, units)`` and ``(units,)``, ``float32``.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010.
    """
    tf.random.set_seed(variant.seed)
    weights: list[NDArray[np.float32]] = []
    fan_in = N_FEATURES
    for units in variant.layers:
        limit = sqrt(6 / (fan_in + units))
        weights.append(tf.random.uniform((fan_in, units), -limit, limit).numpy())
        weights.append(np.zeros(units, np.float32))
        fan_in = units
    return tuple(weights)


def batch_orders(*variants: Variant) -> Iterator[NDArray[np.int32]]:
    """Return the order of the images in each epoch. The batches are consecutive slices of this order.

    A variant's orders do not depend on its number of epochs or on the other variants in the call. One call for several
    variants returns the same orders as one call for each variant, in less time.

    Returns:
        An iterator with one array for each epoch, ``(variants, 5000)``, ``int32``. The number of epochs is that of the
        longest variant. Each row is one variant's permutation of the image indices.
    """
    drawn: Iterator[NDArray[np.int32]] = order_dataset(*variants).as_numpy_iterator()
    return drawn


def order_dataset(*variants: Variant) -> tf.data.Dataset:
    """Return the orders of :func:`batch_orders` as a dataset. Each new iterator starts again at the first epoch."""
    seeds = [variant.seed for variant in variants]

    def shuffled(_: tf.Tensor) -> tf.Tensor:
        # RandomShuffle is stateful: each call continues the sequence of random numbers. One call draws one epoch.
        images = tf.range(N_IMAGES)
        return tf.stack([tf.raw_ops.RandomShuffle(value=images, **_operation_seeds(seed)) for seed in seeds])

    epochs = tf.data.Dataset.range(1).repeat(max(variant.epochs for variant in variants))
    orders = epochs.map(tf.autograph.experimental.do_not_convert(shuffled))
    # Autotuning does not speed up this dataset, and its thread delays the deletion of an iterator by seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    return orders.with_options(options)


def _operation_seeds(seed: int) -> dict[str, int]:
    """Return the two seeds that TensorFlow gives to the first random operation in a graph.

    ``seed`` is the argument of an earlier call of ``tf.random.set_seed``. TensorFlow replaces two zeros by a random
    seed. So for ``seed`` 0, ``seed2`` is not 0.

    Source: ``get_seed`` in ``tensorflow/python/framework/random_seed.py``.
    """
    seed %= 2**31 - 1
    return {"seed": seed, "seed2": 0 if seed else 2**31 - 1}
