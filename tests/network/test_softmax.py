from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.network.softmax import WAYS, Floats, compare, consistency, my_softmax, my_softmax_loop, my_softmax_stable

pytestmark = pytest.mark.usefixtures("tensorflow")

# The ways differ in the order of ten sums and in nothing else: a few roundings of float64.
TOLERANCE = 1e-14

rows = npst.arrays(
    np.float64, npst.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=10), elements=st.floats(-50, 50)
)


def edge(fails: Callable[[float], bool], low: float, high: float) -> float:
    """The value at which ``fails`` changes from false to true, to a thousandth."""
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return high


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_the_labs_vectors(way: Callable[[Floats], Floats]) -> None:
    # The lab's own test: [1, 2, 3, 4], and ten times log 0.1, each to 1e-10.
    expected = [0.03205860328008499, 0.08714431874203257, 0.23688281808991013, 0.6439142598879722]
    assert np.allclose(way(np.array([1.0, 2.0, 3.0, 4.0])), expected, rtol=0, atol=1e-10)
    assert np.allclose(way(np.log(np.full(10, 0.1))), np.full(10, 0.1), rtol=0, atol=1e-10)


@given(rows)
def test_all_ways_are_one_function(z: Floats) -> None:
    loop, vector, stable = (way(z) for way in WAYS.values())
    assert np.abs(loop - vector).max() < TOLERANCE
    assert np.abs(stable - vector).max() < TOLERANCE
    assert np.abs(vector.sum(axis=-1) - 1).max() < TOLERANCE


@given(rows)
def test_a_row_among_others_is_a_row_alone(z: Floats) -> None:
    table = np.atleast_2d(z)
    for way in (my_softmax_loop, my_softmax_stable):
        assert (way(table)[0] == way(table[0])).all()


@given(npst.arrays(np.float64, 10, elements=st.floats(-1e300, 1e300)))
def test_no_finite_logits_overflow_the_stable_way(z: Floats) -> None:
    with np.errstate(over="ignore", under="ignore"):
        assert compare(my_softmax_stable(z[None]), np.full((1, 10), 0.1)).overflow_rows == 0


@pytest.mark.parametrize(
    ("dtype", "above", "ten_above", "below"),
    [
        # exp overflows at the logarithm of the largest number; ten equal ones overflow ln 10 earlier, in their sum;
        # ten equal ones vanish where exp rounds to zero, below half the smallest number.
        (np.float32, 88.7228, 88.7228 - np.log(10), -103.9720),
        (np.float64, 709.7827, 709.7827 - np.log(10), -745.1332),
    ],
)
@pytest.mark.parametrize("way", ["loop", "vector"])
def test_the_naive_ways_overflow_where_exp_does(
    way: str, dtype: type[np.floating], above: float, ten_above: float, below: float
) -> None:
    def overflows(z: Floats) -> bool:
        with np.errstate(all="ignore"):
            return compare(WAYS[way](z[None]), np.full((1, 10), 0.1)).overflow_rows == 1

    def one(value: float) -> Floats:
        z = np.zeros(10, dtype)
        z[0] = value
        return z

    assert abs(edge(lambda value: overflows(one(value)), 50, 1000) - above) < 2e-3
    assert abs(edge(lambda value: overflows(np.full(10, value, dtype)), 50, 1000) - ten_above) < 2e-3
    assert abs(edge(lambda value: overflows(np.full(10, -value, dtype)), 50, 1000) + below) < 2e-3


def test_the_check_reports_overflow_and_leaves_such_rows_out_of_the_differences() -> None:
    logits = np.zeros((3, 10), np.float32)
    logits[1, 4] = 200
    checks = consistency(logits)
    for way in ("loop", "vector"):
        assert checks[way].overflow_rows == 1
        difference = checks[way].max_abs_diff
        assert difference is not None
        assert difference < 1e-7
    assert checks["stable"].overflow_rows == 0


def test_logits_that_are_not_finite_are_reported_not_raised() -> None:
    checks = consistency(np.full((2, 10), np.nan, np.float32))
    for check in checks.values():
        assert check.overflow_rows == 2
        assert check.max_abs_diff is None
        assert check.max_ulp is None
        assert check.row_sum_error is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ordinary_logits_agree_with_tensorflow(dtype: type[np.floating]) -> None:
    logits = np.random.default_rng(0).normal(0, 8, (5000, 10)).astype(dtype)
    for check in consistency(logits).values():
        assert check.argmax_differs == 0
        assert check.overflow_rows == 0
        # exp of a logit of size 40 amplifies its half ulp forty times; 67 was seen on trained logits.
        assert check.max_ulp is not None
        assert check.max_ulp <= 100
        # A probability is at most 1, and float32 has 24 bits.
        assert check.max_abs_diff is not None
        assert check.max_abs_diff < 1e-6


def test_ulps_count_representations_of_normal_numbers_only() -> None:
    expected = np.array([[0.5, 0.5, 1e-39]], np.float32)
    got = expected.copy()
    got[0, 0] = np.nextafter(np.nextafter(np.float32(0.5), np.float32(1)), np.float32(1))
    got[0, 2] = 0
    assert compare(got, expected).max_ulp == 2


def test_an_argmax_that_differs_is_counted() -> None:
    got = np.array([[0.6, 0.4], [0.4, 0.6]])
    expected = np.array([[0.4, 0.6], [0.4, 0.6]])
    assert compare(got, expected).argmax_differs == 1


def test_whole_numbers_are_logits_too() -> None:
    assert np.allclose(my_softmax_loop(np.array([1, 2, 3, 4])), my_softmax(np.array([1.0, 2.0, 3.0, 4.0])))


def test_the_vector_form_is_the_labs() -> None:
    z = np.array([0.5, -1.0, 2.0])
    assert (my_softmax(z) == np.exp(z) / np.sum(np.exp(z))).all()
