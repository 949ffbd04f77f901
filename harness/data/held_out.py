"""The held-out images of ``lab-5000``: MNIST's 10,000 test images, resized exactly like the training images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

N_HELD_OUT = 10_000

# SHA-256 of the held-out images, ``(10000, 400) float64`` in Fortran order, and of their labels, ``(10000, 1) uint8``.
# The hashed bytes are those that ``np.save`` writes.
SHA256_X = "88ef36287c1375af2bc78b5c3cacab839677102903fd00e91358b8514d13c952"
SHA256_Y = "f9a6e9df5bfb8a3ba2eb6fabb1bd651c05f5a18ed906cdd04eb229152d6ad795"


@dataclass(frozen=True, eq=False)
class Images:
    """Images of digits and their labels.

    Attributes:
        x: Images, ``(n, 400)``, ``float64``, Fortran order. A row lists the pixels of one image column by column.
            ``x[i].reshape(20, 20).T`` is the upright image.
        y: Labels, ``(n, 1)``, ``uint8``, 0 to 9.
    """

    x: NDArray[np.float64]
    y: NDArray[np.uint8]

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """The input of the network, ``(n, 400)``, ``float32``, C order."""
        return np.ascontiguousarray(self.x, dtype=np.float32)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The digit of each image, ``(n,)``, ``int64``."""
        return self.y[:, 0].astype(np.int64)


class HeldOut(Images):
    """The 10,000 held-out images, which are never used for training. Their hashes have been verified."""


def why_none(dataset: str) -> str:
    """Return the reason why a dataset has no held-out images, as a sentence without a period."""
    if dataset == "optdigits-5000":
        return "optdigits-5000 has no held-out images, because all 1797 original images are training images"
    if dataset == "lab-5000":
        return "MNIST's test images were not available: give a copy of MNIST once (--data mnist.npz)"
    return f"{dataset} has no held-out images"
