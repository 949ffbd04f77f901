"""The initial weights and the batch order of a seed, exactly as TensorFlow drew them for the lab."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.network.variant import N_FEATURES, N_IMAGES, Variant


def initial_weights(variant: Variant) -> tuple[NDArray[np.float32], ...]:
    """The Glorot-uniform kernels of the variant's seed, and zero biases.

    TensorFlow's global seed is set, which restarts its stream of eager operation seeds: the kernels are the first
    three draws of that stream, in layer order.

    Returns:
        kernel and bias of each layer in turn, ``(fan_in, units)`` and ``(units,)``, ``float32``.

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
    """The order in which each epoch takes the images; batches are cut from it from the left.

    The first epochs do not depend on how many follow, nor on what other variants are asked for at the same time:
    that is only cheaper than to ask for each.

    Returns:
        for each epoch of the longest variant in turn ``(variants, 5000)``, ``int32``, permutations of the image
        indices.
    """
    drawn: Iterator[NDArray[np.int32]] = order_dataset(*variants).as_numpy_iterator()
    return drawn


def order_dataset(*variants: Variant) -> tf.data.Dataset:
    """The orders of :func:`batch_orders` as a dataset. Each pass over it starts again at the first epoch."""
    seeds = [variant.seed for variant in variants]

    def shuffled(_: tf.Tensor) -> tf.Tensor:
        # The operation keeps its own state: each call continues the stream, so it is called once per epoch.
        images = tf.range(N_IMAGES)
        return tf.stack([tf.raw_ops.RandomShuffle(value=images, **_operation_seeds(seed)) for seed in seeds])

    epochs = tf.data.Dataset.range(1).repeat(max(variant.epochs for variant in variants))
    orders = epochs.map(tf.autograph.experimental.do_not_convert(shuffled))
    # There is nothing to tune, and an iterator that is let go of would wait seconds for the thread that does it.
    options = tf.data.Options()
    options.autotune.enabled = False
    return orders.with_options(options)


def _operation_seeds(seed: int) -> dict[str, int]:
    """What ``tf.random.set_seed(seed)`` gives to the first random operation of a function.

    Source: ``get_seed`` in ``tensorflow/python/framework/random_seed.py``: two zeros would mean a seed by chance.
    """
    seed %= 2**31 - 1
    return {"seed": seed, "seed2": 0 if seed else 2**31 - 1}
