"""The bicubic, antialiased ``imresize`` of MATLAB in 2011, in ``float64``, equal to the last bit.

This function converts MNIST's 28x28 images to the lab's 20x20 images. It uses only additions, products and exact
rational arithmetic, with one rounding for each operation. So the result is the same on every machine.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, inf, nextafter

import numpy as np
from numpy.typing import NDArray

_TAPS = 8  # the kernel is 4 wide; shrinking to 20/28 widens it to 5.6, which touches at most 8 pixels
_LAB_SIZES = (28, 20)
_LAB_ENTRY = (3, 1)  # the only (output row, tap), from 0, whose cube MATLAB's pow() rounded one ulp too high


def _cube(x: float) -> float:
    """Return the correctly rounded cube, the same on every machine (unlike ``pow`` of a libm)."""
    return float(Fraction(x) ** 3)


def _cubic(x: float, x3: float) -> float:
    """Return Keys' cubic convolution kernel with a = -0.5 at ``x`` >= 0; ``x3`` is the cube of ``x``.

    Source: R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
    Acoustics, Speech, and Signal Processing 29 (1981).
    """
    x2 = x * x
    if x <= 1:
        return 1.5 * x3 - 2.5 * x2 + 1
    if x <= 2:
        return -0.5 * x3 + 2.5 * x2 - 4 * x + 2
    return 0.0


def weights(size_in: int, size_out: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the weights of each output pixel and their input pixels (from 0), both ``(size_out, taps)``."""
    scale = size_out / size_in
    weights = np.empty((size_out, _TAPS))
    positions = np.empty((size_out, _TAPS), dtype=np.intp)
    for row in range(size_out):
        centre = (row + 1) / scale + 0.5 * (1 - 1 / scale)
        left = floor(centre - (4 / scale) / 2)
        distances = [abs(scale * (centre - (left + tap))) for tap in range(_TAPS)]
        cubes = [_cube(distance) for distance in distances]
        if (size_in, size_out) == _LAB_SIZES and row == _LAB_ENTRY[0]:
            cubes[_LAB_ENTRY[1]] = nextafter(cubes[_LAB_ENTRY[1]], inf)
        taps = [scale * _cubic(distance, cube) for distance, cube in zip(distances, cubes, strict=True)]
        total = 0.0
        for weight in taps:
            total += weight
        weights[row] = [weight / total for weight in taps]
        positions[row] = [min(max(left + tap, 1), size_in) - 1 for tap in range(_TAPS)]
    return weights, positions


def _shrink_first_axis(
    images: NDArray[np.float64], weights: NDArray[np.float64], positions: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Resize the first axis of ``(size_in, ...)``. Each product is rounded by itself and added tap by tap."""
    trailing = (1,) * (images.ndim - 1)
    out = np.zeros((len(weights), *images.shape[1:]))
    for tap in range(_TAPS):
        product = images[positions[:, tap]] * weights[:, tap].reshape(-1, *trailing)
        out += product  # a separate call, so that no compiler can fuse the product and the sum
    return out


def imresize(images: NDArray[np.float64], size: int = 20) -> NDArray[np.float64]:
    """Resize square images as MATLAB did.

    Args:
        images: Square images, ``(n, side, side)``, ``float64``.
        size: New side in pixels.

    Returns:
        Resized images, ``(n, size, size)``, ``float64``. The cubic kernel overshoots, so values may lie outside the
        range of the input.
    """
    taps, positions = weights(images.shape[1], size)
    by_row = _shrink_first_axis(images.transpose(1, 2, 0), taps, positions)
    by_column = _shrink_first_axis(by_row.transpose(1, 0, 2), taps, positions)
    return np.ascontiguousarray(by_column.transpose(2, 1, 0))
