"""Sentences that are computed: what they say of data of which it is known."""

from __future__ import annotations

import math

import pytest

from harness.reporting import captions
from harness.statistics import Estimate, wilson


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((3, 2), "It did not reach zero errors in 2 epochs. The lowest count was 2."),
        ((3, 0), "It first reached zero errors at epoch 2 of 2, the last epoch."),
        ((3, 0, 0), "It first reached zero errors at epoch 2 of 3 and stayed at zero."),
        (
            (3, 0, 5, 0),
            (
                "It first reached zero errors at epoch 2 of 4. Errors returned in 1 of the next 2 epochs. "
                "From epoch 4 on there were none."
            ),
        ),
        (
            (3, 0, 1),
            (
                "It first reached zero errors at epoch 2 of 3. Errors returned in 1 of the next 1 epoch. "
                "The last epoch had 1 error."
            ),
        ),
    ],
)
def test_whether_a_training_reaches_zero_and_stays_there(errors: tuple[int, ...], said: str) -> None:
    assert captions.own_training(errors) == said


def test_eight_of_eight_seeds_are_not_all() -> None:
    assert captions.supports(8, wilson(8, 8)) == ("With 8 seeds the true share may be as low as 68% (95% confidence)")
    assert captions.supports(6, wilson(6, 8)) == "The 95% interval of the share is 41% to 93%"


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(59.0, 50.0, 71.0, 32), "59 (50 to 71)"),
        (Estimate(59.0, 50.0, math.inf, 8), "59 (50 and up)"),
        (Estimate(59.0, 1.0, math.inf, 4), "59"),
        (Estimate(math.inf, 90.0, math.inf, 8), "none: fewer than half reached zero"),
    ],
)
def test_an_epoch_is_told_with_its_interval_where_it_has_one(estimate: Estimate, said: str) -> None:
    assert captions.epoch(estimate) == said
