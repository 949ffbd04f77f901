"""Each check's line: when it is PASS, when it is not, and how often it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from harness import fingerprint
from harness.data.digits import Digits
from harness.gate import checks
from harness.gate import training as gate_training
from harness.gate.reference import Reference
from harness.gate.training import VECTORS, SoftmaxLook
from harness.gate.verdict import Verdict
from harness.network.softmax import WAYS, Floats, SoftmaxCheck, consistency, my_softmax
from tests.gate.test_trace import early, training

GOOD = SoftmaxCheck(1e-8, 4, 0, 1e-7, 0)


def test_the_images_of_the_reference_pass(digits: Digits, recorded: Reference) -> None:
    assert checks.data(digits, recorded).verdict is Verdict.PASS


@pytest.mark.parametrize("name", ["sha256_x", "sha256_y"])
def test_other_images_fail(name: str, digits: Digits, recorded: Reference) -> None:
    changed: dict[str, Any] = {name: "0" * 64}
    assert checks.data(replace(digits, **changed), recorded).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, max_ulp=105),
        replace(GOOD, argmax_differs=1),
        replace(GOOD, row_sum_error=2e-6),
        replace(GOOD, overflow_rows=1),
        SoftmaxCheck(None, None, 0, None, 6),
    ],
)
@pytest.mark.parametrize("way", ["loop", "stable"])
def test_a_softmax_that_is_off_fails(bad: SoftmaxCheck, way: str, recorded: Reference) -> None:
    look = SoftmaxLook(6, 0, 0.0, {"loop": GOOD, "stable": GOOD})
    own = replace(training(recorded.traces["xla"]), softmax={"vectors": look})
    assert checks.softmax(own).verdict is Verdict.PASS
    off = replace(look, checks={**look.checks, way: bad})
    assert checks.softmax(replace(own, softmax={"vectors": off})).verdict is Verdict.FAIL
    assert (
        checks.softmax(replace(own, softmax={"vectors": replace(look, small_abs_diff=1e-37)})).verdict is Verdict.FAIL
    )


def test_forms_that_have_to_overflow_may(recorded: Reference) -> None:
    look = SoftmaxLook(6, 2, 0.0, {"loop": replace(GOOD, overflow_rows=2), "stable": GOOD})
    own = replace(training(recorded.traces["xla"]), softmax={"vectors": look})
    assert checks.softmax(own).verdict is Verdict.PASS
    stable = replace(look, checks={"loop": GOOD, "stable": replace(GOOD, overflow_rows=2)})
    assert checks.softmax(replace(own, softmax={"vectors": stable})).verdict is Verdict.FAIL


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("wrong", [lambda z: z * np.nan, np.zeros_like, lambda z: np.where(z < -80, 0, my_softmax(z))])
def test_a_softmax_of_ours_that_is_wrong_is_found_out(
    wrong: Callable[[Floats], Floats], recorded: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(training(recorded.traces["xla"]), softmax={"vectors": gate_training._look(VECTORS)})
    assert checks.softmax(own).verdict is Verdict.PASS
    monkeypatch.setitem(WAYS, "vector", wrong)
    hard = np.vstack([VECTORS, np.array([[0, -1, -2, -81]], np.float32)])
    assert checks.softmax(replace(own, softmax={"vectors": gate_training._look(hard)})).verdict is Verdict.FAIL


@pytest.mark.usefixtures("tensorflow")
def test_rows_whose_exponentials_are_no_numbers_are_told_apart() -> None:
    logits = np.array([[88, 0], [89, 0], [86, -80], [-90, -91], [0, 0]], np.float32)
    look = gate_training._look(logits)
    assert (look.rows, look.may_overflow) == (5, 3)


def test_a_softmax_that_was_not_looked_at_fails(recorded: Reference) -> None:
    assert checks.softmax(training(recorded.traces["xla"])).verdict is Verdict.FAIL


@pytest.mark.usefixtures("tensorflow")
@given(
    arrays(
        np.float32,
        (20, 10),
        elements=st.floats(-85, 85, width=32),  # beyond these the forms that do not subtract overflow, as the lab's do
    )
)
def test_no_right_softmax_is_as_far_off_as_the_bound(logits: NDArray[np.float32]) -> None:
    for check in consistency(logits).values():
        assert (check.max_ulp or 0) <= checks.SOFTMAX_ULPS
        assert (check.row_sum_error or 0) <= checks.ROW_SUM_ERROR


@pytest.mark.usefixtures("tensorflow")
def test_the_labs_vectors_are_within_the_bound() -> None:
    assert all((check.max_ulp or 0) <= checks.SOFTMAX_ULPS for check in consistency(VECTORS).values())


def test_a_training_function_must_use_the_data_of_the_reference(recorded: Reference) -> None:
    own = recorded.model_copy(update={"dataset": {**recorded.dataset, "sha256_own": "a" * 64}})
    trained = [replace(training(recorded.traces["xla"]), data=data) for data in ("a" * 64, "a" * 64)]
    assert checks.own_data(trained, own).verdict is Verdict.PASS
    found = checks.own_data([trained[0], replace(trained[0], data="b" * 64)], own)
    assert found.verdict is Verdict.FAIL
    assert "data of the training function changed" in found.said
    assert checks.own_data(trained, recorded).verdict is Verdict.FAIL
    assert checks.own_data([replace(trained[0], data="")], recorded).verdict is Verdict.PASS


def here(recorded: Reference) -> Reference:
    """The reference as if it had been recorded here."""
    traces = {
        name: found.model_copy(update={"fingerprint": fingerprint.here()}) for name, found in recorded.traces.items()
    }
    return recorded.model_copy(update={"traces": traces})


def elsewhere(recorded: Reference) -> Reference:
    """The reference as if it had been recorded by another TensorFlow."""
    traces = {
        name: found.model_copy(update={"fingerprint": {**found.fingerprint, "tensorflow": "2.16.1"}})
        for name, found in recorded.traces.items()
    }
    return recorded.model_copy(update={"traces": traces})


def test_where_it_was_recorded_the_last_bit_counts(recorded: Reference) -> None:
    own, few = training(recorded.traces["xla"]), early(recorded, {})
    assert checks.trace("xla", own, few, here(recorded)).verdict is Verdict.PASS
    changed = replace(own, weights=("other", *own.weights[1:]))
    found = checks.trace("xla", changed, few, here(recorded))
    assert found.verdict is Verdict.FAIL
    assert "epoch 1 is the first that differs" in found.seen
    assert "training with xla differs from the recorded one: epoch 1" in found.said
    assert "later epochs are not compared" not in found.sure


def test_elsewhere_seeds_vote_and_it_is_said_what_differs(recorded: Reference) -> None:
    own = replace(training(recorded.traces["xla"]), weights=())
    found = checks.trace("xla", own, early(recorded, {1: 0.01}), elsewhere(recorded))
    assert found.verdict is Verdict.PASS
    assert "tensorflow" in found.sure
    assert "15 of 16 seeds match exactly" in found.seen
    wrong = checks.trace("xla", own, early(recorded, dict.fromkeys(range(16), 0.01)), elsewhere(recorded))
    assert wrong.verdict is Verdict.FAIL
    assert "the earliest departure is at epoch 5" in wrong.seen
    assert "16 of 16 seeds depart from their recorded losses, the first at epoch 5" in wrong.said
