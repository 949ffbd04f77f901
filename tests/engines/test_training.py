from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.digits import Digits
from harness.data.held_out import HeldOut
from harness.engines import training
from harness.engines.contract import Engine
from harness.engines.training import by_training
from harness.files import write_json
from harness.network.variant import Variant

few = st.lists(
    st.builds(
        Variant,
        epochs=st.integers(1, 3),
        learning_rate=st.sampled_from([0.001, 0.01]),
        seed=st.integers(0, 2),
    ),
    unique=True,
)


@given(few)
def test_variants_that_differ_in_epochs_alone_share_a_training(variants: list[Variant]) -> None:
    groups = by_training(variants)
    assert sorted(v.key for group in groups for v in group) == sorted(v.key for v in variants)
    for group in groups:
        assert len({variant.with_epochs(1) for variant in group}) == 1
    assert len(groups) == len({variant.with_epochs(1) for variant in variants})


def test_what_is_read_off_one_training_is_what_each_alone_gives(graph: Engine, digits: Digits) -> None:
    variants = [Variant(epochs=2), Variant(epochs=1, seed=5), Variant(epochs=3), Variant(epochs=1)]
    together = training.run(graph, digits, variants)
    assert [result.variant for result in together] == variants
    assert [result.shared_by for result in together] == [3, 1, 3, 3]
    for result, variant in zip(together, variants, strict=True):
        [alone] = training.run(graph, digits, [variant])
        assert np.array_equal(result.losses, alone.losses)
        assert np.array_equal(result.errors, alone.errors)
        assert np.array_equal(result.wrong, alone.wrong)
        assert np.array_equal(result.logits_1015, alone.logits_1015)
        assert result.softmax == alone.softmax


def test_an_outcome_counts_its_wrong_images(graph: Engine, digits: Digits) -> None:
    [result] = training.run(graph, digits, [Variant(epochs=2)])
    assert result.final_errors == len(result.wrong) == result.errors[-1]
    assert result.final_loss == result.losses[-1]
    assert result.first_zero_epoch is None
    assert result.duration_s > 0


def test_an_outcome_in_json_has_null_for_what_is_not_finite(
    graph: Engine, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    [result] = training.run(graph, digits, [Variant(epochs=1)])
    write_json("-", replace(result, losses=np.array([np.nan])).as_json())
    written = json.loads(capsys.readouterr().out)
    assert written["schema"] == 1
    assert written["losses"] == [None]
    assert written["first_zero_epoch"] is None
    assert len(written["logits_1015"]) == 10
    assert set(written["softmax"]) == {"loop", "vector", "stable"}


def held_out(digits: Digits) -> Digits:
    """The images with held-out ones: the training images twice."""
    return replace(digits, held_out=HeldOut(np.vstack([digits.x, digits.x]), np.vstack([digits.y, digits.y])))


def test_each_result_counts_held_out_errors_after_its_own_last_epoch(graph: Engine, digits: Digits) -> None:
    variants = [Variant(epochs=1), Variant(epochs=3)]
    results = training.run(graph, held_out(digits), variants)
    # The held-out images are the training images here. Their logits are computed in another order of summation.
    for result in results:
        assert result.held_out_errors is not None
        assert abs(result.held_out_errors - 2 * result.final_errors) <= 2
    assert results[0].held_out_errors != results[1].held_out_errors


def test_weights_that_are_not_finite_get_every_held_out_image_wrong(digits: Digits) -> None:
    weights = [np.full(shape, np.nan, np.float32) for shape in ((400, 25), (25,), (25, 15), (15,), (15, 10), (10,))]
    assert training.held_out_errors(weights, Variant(), held_out(digits)) == 10_000


def test_weights_of_other_layers_have_no_held_out_errors(digits: Digits) -> None:
    assert training.held_out_errors([np.zeros((400, 10), np.float32)], Variant(), held_out(digits)) is None
    assert training.held_out_errors([], Variant(), replace(digits, held_out=None)) is None
