"""The rule that recommends a variant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.selection import recommended_order

seeds = st.integers(1, 64)
numbers = st.floats(0, 5000)


def test_of_variants_with_equal_shares_the_one_with_fewer_mean_errors_is_recommended() -> None:
    # One seed of the first ends with 66 errors; the second takes longer.
    assert recommended_order(7, 8, 0.2, 80, 0.01) < recommended_order(7, 8, 8.2, 60, 0.01)


def test_many_seeds_support_a_share_better_than_one() -> None:
    assert recommended_order(31, 32, 0.1, 100, 0.01) < recommended_order(1, 1, 0, 40, 0.01)


def test_at_zero_for_every_seed_the_fewest_epochs_decide() -> None:
    assert recommended_order(8, 8, 0, 60, 0.02) < recommended_order(8, 8, 0, 80, 0.01)


@given(seeds, numbers, numbers, st.integers(1, 500), numbers)
def test_more_seeds_at_zero_are_never_worse(n: int, few: float, many: float, epochs: int, loss: float) -> None:
    more, fewer = recommended_order(n, n, many, epochs, loss), recommended_order(n - 1, n, few, epochs, loss)
    assert more < fewer
