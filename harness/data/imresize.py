"""MATLAB's bicubic, antialiased ``imresize`` of 2011, in ``float64``.

The function converts MNIST's 28x28 images to the lab's 20x20 images, bit for bit as MATLAB does. The code uses only
exact fractions and basic arithmetic, which IEEE 754 rounds in the same way on every machine. So the result is the same
on every machine.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, inf, nextafter

import numpy as np
from numpy.typing import NDArray

# Each output pixel is a weighted sum of 8 input pixels. For 28 to 20 pixels, the kernel is 5.6 input pixels wide
# (4 * 28/20). MATLAB rounds this width up and adds 2.
_TAPS = 8
_LAB_SIZES = (28, 20)
# MATLAB's pow() returned one cube that is one unit in the last place too large. The first number is the index of the
# output pixel. The second number is the index, among the 8 weights of this pixel, of the weight that is computed from
# the cube. Both count from 0.
_LAB_ENTRY = (3, 1)


def _cube(x: float) -> float:
    """Return the correctly rounded cube of ``x``. Unlike the result of C's ``pow``, it is the same on every machine."""
    return float(Fraction(x) ** 3)


def _cubic(x: float, x3: float) -> float:
    """Return the value of Keys' cubic convolution kernel (a = -0.5) at ``x`` >= 0. ``x3`` is the cube of ``x``.

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
    """Return the weights of the input pixels for each output pixel, and the indices (from 0) of these input pixels.

    Both arrays are ``(size_out, 8)``.
    """
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
    """Resize the first axis of ``images``, from ``(size_in, ...)`` to ``(size_out, ...)``.

    Each product of a pixel and its weight is rounded before it is added to the sum.
    """
    trailing = (1,) * (images.ndim - 1)
    out = np.zeros((len(weights), *images.shape[1:]))
    for tap in range(_TAPS):
        product = images[positions[:, tap]] * weights[:, tap].reshape(-1, *trailing)
        out += product  # a separate NumPy call, so that no compiler can fuse the product and the sum
    return out


def imresize(images: NDArray[np.float64], size: int = 20) -> NDArray[np.float64]:
    """Resize square images, bit for bit as MATLAB's ``imresize`` of 2011 does.

    Args:
        images: Square images, ``(n, side, side)``, ``float64``.
        size: New side in pixels.

    Returns:
        Resized images, ``(n, size, size)``, ``float64``. Values may lie outside the range of the input, because the
        cubic kernel overshoots.
    """
    taps, positions = weights(images.shape[1], size)
    by_row = _shrink_first_axis(images.transpose(1, 2, 0), taps, positions)
    by_column = _shrink_first_axis(by_row.transpose(1, 0, 2), taps, positions)
    return np.ascontiguousarray(by_column.transpose(2, 1, 0))
