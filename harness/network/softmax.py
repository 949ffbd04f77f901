"""Three forms of ``my_softmax``, and their differences from TensorFlow's softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

_SMALLEST_NORMAL = np.float32(2.0**-126)  # TensorFlow flushes smaller numbers to zero


def my_softmax_loop(z: Floats) -> Floats:
    """Softmax by the lab's two loops; overflows where ``exp`` does.

    Args:
        z: ``(..., n)``, floating; the loops go over the last axis.

    Returns:
        probabilities, in the shape and dtype of ``z``.
    """
    probabilities = np.zeros(z.shape, np.result_type(z, np.float32))
    ez_sum = np.zeros_like(probabilities[..., 0])
    for k in range(z.shape[-1]):
        ez_sum = ez_sum + np.exp(z[..., k])
    for j in range(z.shape[-1]):
        probabilities[..., j] = np.exp(z[..., j]) / ez_sum
    return probabilities


def my_softmax(z: Floats) -> Floats:
    """Softmax by the lab's vector form; overflows where ``exp`` does.

    Args:
        z: ``(..., n)``, floating.

    Returns:
        probabilities over the last axis, in the shape and dtype of ``z``.
    """
    ez = np.exp(z)
    probabilities: Floats = ez / ez.sum(axis=-1, keepdims=True)
    return probabilities


def my_softmax_stable(z: Floats) -> Floats:
    """Softmax of ``z`` less its largest entry: the same function, which no finite logits overflow.

    Args:
        z: ``(..., n)``, floating.

    Returns:
        probabilities over the last axis, in the shape and dtype of ``z``.
    """
    return my_softmax(z - z.max(axis=-1, keepdims=True))


WAYS: Mapping[str, Callable[[Floats], Floats]] = {
    "loop": my_softmax_loop,
    "vector": my_softmax,
    "stable": my_softmax_stable,
}


def tensorflow_softmax(z: Floats) -> Floats:
    """Softmax by TensorFlow.

    Args:
        z: ``(..., n)``, floating.

    Returns:
        probabilities over the last axis, in the shape and dtype of ``z``.
    """
    import tensorflow as tf

    probabilities: Floats = tf.nn.softmax(tf.constant(z)).numpy()
    return probabilities


@dataclass(frozen=True)
class SoftmaxCheck:
    """How one softmax compares with TensorFlow's on a set of logits.

    The differences are over the rows in which neither overflows, and None where there is no such row.

    Attributes:
        max_abs_diff: the largest absolute difference of an entry.
        max_ulp: the largest distance in ``float32`` representations, over entries in which both are normal numbers;
            None where there is none.
        argmax_differs: rows whose largest entries stand in different places.
        row_sum_error: the largest deviation of a row's sum (in ``float64``) from 1.
        overflow_rows: rows that hold NaN or infinity, or do not sum to a positive number.
    """

    max_abs_diff: float | None
    max_ulp: int | None
    argmax_differs: int
    row_sum_error: float | None
    overflow_rows: int


@dataclass(frozen=True)
class SizedCheck:
    """How every way compares with TensorFlow's on logits of about one size.

    Attributes:
        below: a power of two; the largest of a row's absolute logits is below it and not below half of it. The rows
            of the smallest size, :data:`SMALLEST`, may have smaller logits too.
        rows: how many rows are of this size.
        checks: a check for each way.
    """

    below: float
    rows: int
    checks: dict[str, SoftmaxCheck]


SMALLEST = 4.0


def consistency(logits: Floats) -> dict[str, SoftmaxCheck]:
    """Check every way of ``my_softmax`` against ``tf.nn.softmax``.

    Args:
        logits: ``(n, 10)``, ``float32`` or ``float64``; both sides compute in this dtype.

    Returns:
        a check for each of ``loop``, ``vector`` and ``stable``.
    """
    expected = tensorflow_softmax(logits)
    checks = {}
    for name, softmax in WAYS.items():
        # Overflow, and what comes of it, is what this looks for: a finding, not a warning.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            checks[name] = compare(softmax(logits), expected)
    return checks


def consistency_by_size(logits: Floats) -> list[SizedCheck]:
    """Check the same by the size of the logits, smallest first; a row that holds NaN or infinity has no size."""
    sizes = _sizes(logits)
    found = np.unique(sizes[np.isfinite(sizes)]).tolist()
    return [SizedCheck(below, int((sizes == below).sum()), consistency(logits[sizes == below])) for below in found]


def _sizes(logits: Floats) -> NDArray[np.float64]:
    """The power of two that each row's largest absolute logit is below; NaN for a row that is not finite."""
    largest = np.abs(logits).max(axis=-1).astype(np.float64)
    _, exponents = np.frexp(largest)  # largest = m * 2**exponent with 0.5 <= m < 1
    sizes: NDArray[np.float64] = np.maximum(SMALLEST, np.ldexp(1.0, exponents))
    sizes[~np.isfinite(largest)] = np.nan
    return sizes


def compare(got: Floats, expected: Floats) -> SoftmaxCheck:
    """Compare two sets of softmax rows, ``(n, 10)`` each; ``overflow_rows`` speaks of ``got``."""
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
    # Positive floats are ordered as their bits are, so a difference of bits is a count of representations.
    bits_a = single_a[normal].view(np.int32).astype(np.int64)
    bits_b = single_b[normal].view(np.int32).astype(np.int64)
    return int(np.abs(bits_a - bits_b).max())
