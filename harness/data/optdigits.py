"""Builds the embedded images: 5000 images of handwritten digits, made from scikit-learn's data without a network.

scikit-learn contains 1797 images of digits with 8x8 pixels (E. Alpaydin and C. Kaynak, "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository, 1998, doi 10.24432/C50P49, CC BY 4.0). Each digit gets 500 images:
first all original images in order, then copies of them with small random affine distortions. The seed is fixed. Cubic
convolution resamples each image to 20x20 pixels.

The bytes are the same on every machine and with every version of the libraries, for three reasons:

- Each operation is one NumPy call, so no compiler can fuse or reorder operations.
- All operations are additions, products and floors, which every machine rounds alike.
- The random numbers are computed from raw bits of PCG64, without NumPy's distributions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 20
IMAGES_A_DIGIT = 500

_SOURCE_SIDE = 8
_SEED = 400_25_15_10
# Three constants of the embedded images: the side, in pixels, to which an 8x8 image is enlarged inside the 20x20 image;
# the largest change of an entry of the affine matrix; and the largest shift, in pixels of the 8x8 image. With these
# values, the images are as hard for the baseline as the lab's. Do not change them.
_GLYPH_SIDE = 18.0
_MAX_SKEW = 0.09
_MAX_SHIFT = 0.45


def _uniform(count: int) -> NDArray[np.float64]:
    """Return uniform random numbers in [-1, 1), ``(count, 6)``. Each is made from 53 random bits without rounding."""
    raw = np.random.PCG64(_SEED).random_raw(count * 6)
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0).reshape(count, 6)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of Keys' cubic convolution kernel (a = -0.5) at ``x``. Each operation is rounded separately."""
    x = np.abs(x)
    x2 = x * x
    x3 = x2 * x
    near = 1.5 * x3 - 2.5 * x2 + 1.0
    far = -0.5 * x3 + 2.5 * x2 - 4.0 * x + 2.0
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _draw(sources: NDArray[np.float64], jitter: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the images, distorted and resampled to 20x20 pixels, ``(n, 20, 20)``.

    Args:
        sources: Original images, ``(n, 8, 8)``.
        jitter: Distortion of each image, ``(n, 6)``, from -1 to 1: four numbers for the affine matrix and two for the
            shift. Zeros mean no distortion.
    """
    skew, shift = jitter[:, :4] * _MAX_SKEW, jitter[:, 4:] * _MAX_SHIFT
    page = (np.arange(SIDE) - (SIDE - 1) / 2) * (_SOURCE_SIDE / _GLYPH_SIDE)
    rows, columns = page[None, :, None], page[None, None, :]
    a, b, c, d, down, right = (part[:, None, None] for part in (*skew.T, *shift.T))
    source_row = rows + a * rows + b * columns + down + (_SOURCE_SIDE - 1) / 2
    source_column = columns + c * rows + d * columns + right + (_SOURCE_SIDE - 1) / 2
    top, left = np.floor(source_row) - 1, np.floor(source_column) - 1
    # Surround each original image with zeros, because the kernel also reads pixels outside the image.
    border = SIDE
    padded = np.pad(sources, ((0, 0), (border, border), (border, border)))
    image = np.arange(len(sources))[:, None, None]
    drawn = np.zeros((len(sources), SIDE, SIDE))
    for row_tap in range(4):
        row = top + row_tap
        row_weight = _cubic(source_row - row)
        for column_tap in range(4):
            column = left + column_tap
            weight = row_weight * _cubic(source_column - column)
            drawn += weight * padded[image, row.astype(np.intp) + border, column.astype(np.intp) + border]
    return drawn


def build() -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Build the upright images, ``(5000, 20, 20)``, ``float64``, and their labels, ``(5000,)``, ``uint8``."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels, targets = bunch.images / 16.0, bunch.target
    labels = np.repeat(np.arange(10), IMAGES_A_DIGIT)
    chosen: list[int] = []
    repeated: list[bool] = []
    for digit in range(10):
        own = np.flatnonzero(targets == digit)
        chosen += [int(own[index % len(own)]) for index in range(IMAGES_A_DIGIT)]
        repeated += [index >= len(own) for index in range(IMAGES_A_DIGIT)]
    jitter = np.where(np.array(repeated)[:, None], _uniform(len(labels)), 0.0)
    return _draw(pixels[chosen], jitter), labels.astype(np.uint8)
