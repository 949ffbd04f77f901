"""The forward pass of the network in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def forward(weights: Sequence[NDArray[np.floating]], x: NDArray[np.floating]) -> list[NDArray[Any]]:
    """Return the input, followed by the activations of each layer. The last array holds the logits, ``(n, 10)``.

    Args:
        weights: Kernel and bias of each layer in turn, ``(fan_in, units)`` and ``(units,)``.
        x: Images, ``(n, 400)``, of the same dtype as the weights.
    """
    activations: list[NDArray[Any]] = [x]
    for number, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True), start=1):
        z = activations[-1] @ kernel + bias
        activations.append(z if number == len(weights) // 2 else np.maximum(z, 0))
    return activations
