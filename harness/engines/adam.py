"""The constants of Adam, bit for bit the same in the engines `graph` and `xla`. Keras has its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.network.variant import Variant


class Adam(NamedTuple):
    """The ``float32`` constants of an Adam step: numbers, arrays or tensors. ``rest`` is 1 - beta."""

    learning_rate: Any
    beta_1: Any
    beta_2: Any
    rest_1: Any
    rest_2: Any
    epsilon: Any


CLIP = 1e-7  # Keras clips probabilities to this distance from 0 and 1


def adam(variant: Variant) -> Adam:
    """Return the Adam constants of a variant.

    :class:`harness.network.variant.Variant` describes the two ways to compute ``rest``.
    """
    beta_1, beta_2 = np.float32(variant.beta_1), np.float32(variant.beta_2)
    rest_1, rest_2 = np.float32(1) - beta_1, np.float32(1) - beta_2
    if variant.adam == "keras":
        rest_1, rest_2 = np.float32(1 - variant.beta_1), np.float32(1 - variant.beta_2)
    return Adam(np.float32(variant.learning_rate), beta_1, beta_2, rest_1, rest_2, np.float32(variant.epsilon))
