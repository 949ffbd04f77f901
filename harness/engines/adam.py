"""The constants of the Adam optimizer for the engines `graph` and `xla`. Keras computes its own constants."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.network.variant import Variant


class Adam(NamedTuple):
    """The ``float32`` constants of an Adam step, as numbers, arrays or tensors.

    ``rest_1`` is 1 - ``beta_1``, and ``rest_2`` is 1 - ``beta_2``.
    """

    learning_rate: Any
    beta_1: Any
    beta_2: Any
    rest_1: Any
    rest_2: Any
    epsilon: Any


CLIP = 1e-7  # Keras clips probabilities to the range from CLIP to 1 - CLIP


def adam(variant: Variant) -> Adam:
    """Return the Adam constants of a variant.

    The variant's field ``adam`` determines how 1 - beta is computed; see :class:`harness.network.variant.Variant`.
    """
    beta_1, beta_2 = np.float32(variant.beta_1), np.float32(variant.beta_2)
    rest_1, rest_2 = np.float32(1) - beta_1, np.float32(1) - beta_2
    if variant.adam == "keras":
        rest_1, rest_2 = np.float32(1 - variant.beta_1), np.float32(1 - variant.beta_2)
    return Adam(np.float32(variant.learning_rate), beta_1, beta_2, rest_1, rest_2, np.float32(variant.epsilon))
