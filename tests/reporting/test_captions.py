"""Sentences that are computed: what they say of data of which it is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.reporting import captions
from harness.reporting.findings import HeldOutErrors
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
    assert captions.supports(8, wilson(8, 8)) == (
        "With 8 seeds, the true proportion may be as low as 68% (95% confidence)"
    )
    assert captions.supports(6, wilson(6, 8)) == "The 95% interval of this proportion is 41% to 93%"


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


def test_held_out_errors_are_said_with_their_share_and_whether_more_epochs_help() -> None:
    def found(change: Estimate | None, zero: tuple[float, ...] = (700.0, 720.0)) -> HeldOutErrors:
        return HeldOutErrors(np.array(zero), np.array([800.0]), (25, 100), change)

    helped = captions.held_out(found(Estimate(-50.0, -70.0, -30.0, 8)), "lab-5000")
    assert "In 2 runs with zero training errors, 710 of the 10,000 held-out images are wrong" in helped
    assert "(7.1%; range 700 to 720)" in helped
    assert "In 1 run with training errors, 800 of the 10,000 held-out images are wrong" in helped
    fewer = (
        "With 100 instead of 25 epochs, the baseline gets 50 fewer of these images wrong "
        "(95% interval -70 to -30, 8 seeds)."
    )
    assert fewer in helped
    assert "5 more of these images wrong" in captions.held_out(found(Estimate(5.0, 1.0, 9.0, 8)), "lab-5000")
    unclear = "the interval includes 0"
    assert unclear in captions.held_out(found(Estimate(5.0, -1.0, 9.0, 8)), "lab-5000")
    assert unclear not in helped
    assert "one seed does not show" in captions.held_out(found(Estimate(5.0, math.nan, math.nan, 1)), "lab-5000")
    none = captions.held_out(found(None, ()), "lab-5000", is_objective=True)
    assert none == (
        "These images are no longer unseen: the search chose variants by them. In 1 run with training errors, 800 of "
        "the 10,000 held-out images are wrong on average."
    )


def test_without_held_out_images_the_reason_is_said() -> None:
    assert captions.held_out(None, "optdigits-5000").startswith("No held-out errors: optdigits-5000 has no held-out")
