"""As much of TensorFlow as the softmax check asks for, without the seconds that the real one takes to load."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray


def _softmax(z: NDArray[np.float32]) -> SimpleNamespace:
    ez = np.exp(z - z.max(axis=-1, keepdims=True))
    return SimpleNamespace(numpy=lambda: ez / ez.sum(axis=-1, keepdims=True))


nn = SimpleNamespace(softmax=_softmax)
constant = np.asarray
