from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.history import Snapshot, TrainingHistory, wrong_images
from harness.network.variant import Variant


def history(errors: list[int], kept: list[int]) -> TrainingHistory:
    snapshots = {epoch: Snapshot((), np.full((1, 10), float(epoch), np.float32)) for epoch in kept}
    losses = np.arange(len(errors), dtype=float)
    return TrainingHistory(Variant(epochs=len(errors)), losses, np.array(errors), snapshots, 1.0)


@pytest.mark.parametrize(("errors", "first"), [([3, 0, 2, 0], 2), ([0], 1), ([5, 4], None)])
def test_the_first_zero_epoch_counts_from_one(errors: list[int], first: int | None) -> None:
    assert history(errors, [len(errors)]).first_zero_epoch == first


def test_a_prefix_ends_where_it_was_cut() -> None:
    whole = history([3, 2, 0, 1], [2, 4])
    short = whole.prefix(2)
    assert short.variant.epochs == 2
    assert short.errors.tolist() == [3, 2]
    assert short.losses.tolist() == [0, 1]
    assert short.first_zero_epoch is None
    assert short.final is whole.snapshots[2]
    assert list(short.snapshots) == [2]


def test_a_prefix_without_a_snapshot_is_refused() -> None:
    with pytest.raises(KeyError):
        history([3, 2, 0], [3]).prefix(2)


@given(st.integers(0, 9), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_logits_that_are_not_finite_are_an_error_whatever_their_argmax(place: int, value: float) -> None:
    logits = np.zeros((2, 10))
    logits[:, 3] = 1
    logits[1, place] = value
    assert wrong_images(logits, np.array([3, 3])).tolist() == [1]


def test_wrong_images_are_those_whose_largest_logit_is_another_digit() -> None:
    logits = np.eye(10)
    labels = np.arange(10)
    labels[[2, 7]] = [3, 0]
    assert wrong_images(logits, labels).tolist() == [2, 7]
