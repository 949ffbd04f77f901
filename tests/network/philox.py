"""TensorFlow's random streams in NumPy: an independent computation of what a seed means.

Sources: J. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", SC11 (Philox4x32-10);
``tensorflow/core/lib/random/philox_random.h`` and ``random_distributions.h``;
``tensorflow/core/kernels/random_shuffle_op.cc``; ``get_seed`` in ``tensorflow/python/framework/random_seed.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from random import Random

import numpy as np
from numpy.typing import NDArray

from harness.network.variant import N_FEATURES, N_IMAGES

Words = NDArray[np.uint32]

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def words(seed: int, seed2: int, first: int, count: int) -> Words:
    """``(count, 4)`` random words: the groups of a stream from one group on."""
    counters = np.arange(first, first + count, dtype=np.uint64)
    a, b = (counters & _LOW).astype(np.uint32), (counters >> _HALF).astype(np.uint32)
    c, d = np.full(count, seed2 & 0xFFFFFFFF, np.uint32), np.full(count, seed2 >> 32, np.uint32)
    keys = [np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)]
    with np.errstate(over="ignore"):
        for _ in range(10):
            one, other = (x.astype(np.uint64) * factor for x, factor in zip((a, c), _MULTIPLIERS, strict=True))
            high = [(product >> _HALF).astype(np.uint32) for product in (one, other)]
            low = [(product & _LOW).astype(np.uint32) for product in (one, other)]
            a, b, c, d = high[1] ^ b ^ keys[0], low[1], high[0] ^ d ^ keys[1], low[0]
            keys = [key + step for key, step in zip(keys, _WEYL, strict=True)]
    return np.stack([a, b, c, d], axis=1)


def kernels(seed: int, layers: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """The kernels of a network: three eager draws of ``tf.random.uniform`` for three layers, in their order."""
    drawn, fan_in = [], N_FEATURES
    operations = Random(seed)
    for units in layers:
        seed2 = operations.randint(0, 2**31 - 1)
        stream = words(seed, seed2, 0, -(-fan_in * units // 4)).ravel()[: fan_in * units]
        # 23 bits of a word make a float from 1 to 2.
        uniform = ((stream & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
        limit = np.float32(sqrt(6 / (fan_in + units)))
        drawn.append((uniform * (limit - -limit) + -limit).reshape(fan_in, units))
        fan_in = units
    return drawn


def orders(seed: int, epochs: int) -> Iterator[NDArray[np.int64]]:
    """The order of the images in each epoch: a shuffle of Fisher and Yates with the words of a stream."""
    groups = N_IMAGES // 4
    for epoch in range(epochs):
        stream = words(seed, 0, epoch * groups, groups).ravel().tolist()
        images = list(range(N_IMAGES))
        for place in range(N_IMAGES - 1):
            other = place + stream[place] % (N_IMAGES - place)
            images[place], images[other] = images[other], images[place]
        yield np.array(images)
