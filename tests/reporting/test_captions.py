"""Sentences that are computed: what they say of data of which it is known."""

from __future__ import annotations

import math

import pytest

from harness.reporting import captions
from harness.statistics import Estimate, wilson


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((3, 2), "It had no epoch without errors within 2; 2 were the fewest."),
        ((3, 0), "It had no error for the first time after epoch 2 of 2, its last."),
        ((3, 0, 0), "It had no error for the first time after epoch 2 of 3, and none after any epoch that followed."),
        (
            (3, 0, 5, 0),
            (
                "It had no error for the first time after epoch 2 of 4; errors came back after 1 of the 2 epochs that "
                "followed, and from epoch 4 on there were none."
            ),
        ),
        (
            (3, 0, 1),
            (
                "It had no error for the first time after epoch 2 of 3; errors came back after 1 of the 1 epoch that "
                "followed, and the last epoch was one of them, with 1 error."
            ),
        ),
    ],
)
def test_whether_a_training_reaches_zero_and_stays_there(errors: tuple[int, ...], said: str) -> None:
    assert captions.own_training(errors) == said


def test_eight_of_eight_seeds_are_not_all() -> None:
    assert captions.supports(8, wilson(8, 8)) == "8 of 8 seeds support a share of at least 68%, not of 100%"
    assert captions.supports(6, wilson(6, 8)) == "6 of 8 seeds support a share of 41% to 93%"


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(59.0, 50.0, 71.0, 32), "59 (50 to 71)"),
        (Estimate(59.0, 50.0, math.inf, 8), "59 (50 and up)"),
        (Estimate(59.0, 1.0, math.inf, 4), "59"),
        (Estimate(math.inf, 90.0, math.inf, 8), "none: half never got there"),
    ],
)
def test_an_epoch_is_told_with_its_interval_where_it_has_one(estimate: Estimate, said: str) -> None:
    assert captions.epoch(estimate) == said
