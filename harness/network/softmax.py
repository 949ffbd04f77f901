"""Three implementations of ``my_softmax``, the lab's softmax function, and a comparison with TensorFlow's softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

_SMALLEST_NORMAL = np.float32(2.0**-126)  # TensorFlow rounds positive float32 numbers below this one to zero


def my_softmax_loop(z: Floats) -> Floats:
    """Compute the softmax with two loops, as the lab does. The result is not finite if ``exp`` overflows.

    Args:
        z: Logits, ``(..., n)``, floating-point. The loops run over the last axis.

    Returns:
        Probabilities over the last axis, with the shape and dtype of ``z``.
    """
    probabilities = np.zeros(z.shape, np.result_type(z, np.float32))
    ez_sum = np.zeros_like(probabilities[..., 0])
    for k in range(z.shape[-1]):
        ez_sum = ez_sum + np.exp(z[..., k])
    for j in range(z.shape[-1]):
        probabilities[..., j] = np.exp(z[..., j]) / ez_sum
    return probabilities


def my_softmax(z: Floats) -> Floats:
    """Compute the softmax with vectorized NumPy, as the lab does. The result is not finite if ``exp`` overflows.

    Args:
        z: Logits, ``(..., n)``, floating-point.

    Returns:
        Probabilities over the last axis, with the shape and dtype of ``z``.
    """
    ez = np.exp(z)
    probabilities: Floats = ez / ez.sum(axis=-1, keepdims=True)
    return probabilities


def my_softmax_stable(z: Floats) -> Floats:
    """Compute the softmax after subtracting the largest logit. ``exp`` then never overflows for finite logits.

    Mathematically, the subtraction does not change the softmax.

    Args:
        z: Logits, ``(..., n)``, floating-point.

    Returns:
        Probabilities over the last axis, with the shape and dtype of ``z``.
    """
    return my_softmax(z - z.max(axis=-1, keepdims=True))


WAYS: Mapping[str, Callable[[Floats], Floats]] = {
    "loop": my_softmax_loop,
    "vector": my_softmax,
    "stable": my_softmax_stable,
}


def tensorflow_softmax(z: Floats) -> Floats:
    """Compute the softmax with TensorFlow.

    Args:
        z: Logits, ``(..., n)``, floating-point.

    Returns:
        Probabilities over the last axis, with the shape and dtype of ``z``.
    """
    import tensorflow as tf

    probabilities: Floats = tf.nn.softmax(tf.constant(z)).numpy()
    return probabilities


@dataclass(frozen=True, slots=True)
class SoftmaxCheck:
    """The comparison of one implementation of the softmax with TensorFlow's softmax on the same logits.

    A row holds the probabilities of one image. A row overflows if it contains NaN or infinity, or if its sum is not
    positive. Rows that overflow in either result are not compared. If no rows are compared, ``argmax_differs``
    is 0, and ``max_abs_diff``, ``max_ulp`` and ``row_sum_error`` are None.

    Attributes:
        max_abs_diff: Largest absolute difference between two probabilities.
        max_ulp: Largest difference between two probabilities in ULPs, the spacing of ``float32`` numbers. Only pairs of
            normal ``float32`` numbers are compared. None if there are no such pairs.
        argmax_differs: Number of rows in which the argmax differs.
        row_sum_error: Largest deviation of a row's sum (in ``float64``) from 1, in the result of the implementation.
        overflow_rows: Number of rows in which the implementation overflows.
    """

    max_abs_diff: float | None
    max_ulp: int | None
    argmax_differs: int
    row_sum_error: float | None
    overflow_rows: int


@dataclass(frozen=True, slots=True)
class SizedCheck:
    """The comparison of every implementation of the softmax with TensorFlow's, for images with logits of similar size.

    The images are grouped by a limit. An image's limit is the smallest power of two above its largest absolute logit,
    but at least :data:`SMALLEST`.

    Attributes:
        below: Limit of the images in this group.
        rows: Number of images in this group.
        checks: Check of each implementation, by its name in :data:`WAYS`.
    """

    below: float
    rows: int
    checks: dict[str, SoftmaxCheck]


SMALLEST = 4.0


def consistency(logits: Floats) -> dict[str, SoftmaxCheck]:
    """Compare every implementation of ``my_softmax`` with ``tf.nn.softmax``.

    Args:
        logits: Logits, ``(n, 10)``, ``float32`` or ``float64``. All implementations compute in this dtype.

    Returns:
        The check of each implementation, by its name: ``loop``, ``vector`` or ``stable``.
    """
    expected = tensorflow_softmax(logits)
    checks = {}
    for name, softmax in WAYS.items():
        # The check counts overflows itself, so NumPy's warnings about them are turned off.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            checks[name] = compare(softmax(logits), expected)
    return checks


def consistency_by_size(logits: Floats) -> list[SizedCheck]:
    """Compare every implementation with ``tf.nn.softmax`` separately for groups of images with logits of similar size.

    :class:`SizedCheck` defines the groups. The group with the smallest logits comes first. Images whose logits contain
    NaN or infinity are ignored.
    """
    sizes = _sizes(logits)
    found = np.unique(sizes[np.isfinite(sizes)]).tolist()
    return [SizedCheck(below, int((sizes == below).sum()), consistency(logits[sizes == below])) for below in found]


def _sizes(logits: Floats) -> NDArray[np.float64]:
    """Return each image's limit, as :class:`SizedCheck` defines it; NaN if the logits contain NaN or infinity."""
    largest = np.abs(logits).max(axis=-1).astype(np.float64)
    _, exponents = np.frexp(largest)  # largest = m * 2**exponent with 0.5 <= m < 1
    sizes: NDArray[np.float64] = np.maximum(SMALLEST, np.ldexp(1.0, exponents))
    sizes[~np.isfinite(largest)] = np.nan
    return sizes


def compare(got: Floats, expected: Floats) -> SoftmaxCheck:
    """Compare probabilities with the expected probabilities, both ``(n, 10)``; see :class:`SoftmaxCheck`."""
    bad = _overflows(got)
    usable = ~(bad | _overflows(expected))
    mine, theirs = got[usable], expected[usable]
    if not len(mine):
        return SoftmaxCheck(None, None, 0, None, int(bad.sum()))
    sums = mine.sum(axis=-1, dtype=np.float64)
    return SoftmaxCheck(
        max_abs_diff=float(np.abs(mine.astype(np.float64) - theirs.astype(np.float64)).max()),
        max_ulp=_max_ulp(mine, theirs),
        argmax_differs=int((mine.argmax(axis=-1) != theirs.argmax(axis=-1)).sum()),
        row_sum_error=float(np.abs(sums - 1).max()),
        overflow_rows=int(bad.sum()),
    )


def _overflows(rows: Floats) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore", over="ignore"):
        positive = np.greater(rows.sum(axis=-1), 0)
    finite = np.isfinite(rows).all(axis=-1)
    bad: NDArray[np.bool_] = np.logical_not(finite & positive)
    return bad


def _max_ulp(a: Floats, b: Floats) -> int | None:
    single_a, single_b = a.astype(np.float32), b.astype(np.float32)
    normal = (single_a >= _SMALLEST_NORMAL) & (single_b >= _SMALLEST_NORMAL)
    if not normal.any():
        return None
    # The bits of consecutive positive floats, read as integers, are consecutive integers. So the difference of these
    # integers is the difference in ULPs.
    bits_a = single_a[normal].view(np.int32).astype(np.int64)
    bits_b = single_b[normal].view(np.int32).astype(np.int64)
    return int(np.abs(bits_a - bits_b).max())
