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
from scipy.stats import binom

from harness import fingerprint
from harness.data.digits import Digits
from harness.gate import checks
from harness.gate import training as gate_training
from harness.gate.convergence import STAGES, Found, sample
from harness.gate.reference import Reference
from harness.gate.training import VECTORS, SoftmaxLook, Training
from harness.gate.verdict import Verdict
from harness.network.softmax import WAYS, Floats, SoftmaxCheck, consistency, my_softmax
from harness.network.variant import BASELINE
from tests.gate.test_trace import early, training

GOOD = SoftmaxCheck(1e-8, 4, 0, 1e-7, 0)


def seeds(recorded: Reference, n: int, first_zero: int | None = 60) -> list[Training]:
    """Trainings of other seeds with a first zero epoch."""
    errors = np.where(np.arange(1, 101) < (first_zero or 101), 9, 0)
    own = training(recorded.traces["xla"])
    return [replace(own, variant=BASELINE.model_copy(update={"seed": seed}), errors=errors) for seed in range(7, 7 + n)]


def never(recorded: Reference) -> Training:
    """The baseline's own seed, which always has an error."""
    own = training(recorded.traces["xla"])
    return replace(own, errors=np.maximum(1, own.errors))


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
    assert "later epochs are not compared" not in found.sure


def test_elsewhere_seeds_vote_and_it_is_said_what_differs(recorded: Reference) -> None:
    own = replace(training(recorded.traces["xla"]), weights=())
    found = checks.trace("xla", own, early(recorded, {1: 0.01}), elsewhere(recorded))
    assert found.verdict is Verdict.PASS
    assert "tensorflow" in found.sure
    assert "15 of 16 seeds match within" in found.seen
    wrong = checks.trace("xla", own, early(recorded, dict.fromkeys(range(16), 0.01)), elsewhere(recorded))
    assert wrong.verdict is Verdict.FAIL
    assert "the earliest divergence is at epoch 5" in wrong.seen


def test_the_baseline_that_reaches_zero_passes(recorded: Reference) -> None:
    found = checks.zero(training(recorded.traces["xla"]), [], recorded.repeats, is_exact=True)
    assert found.verdict is Verdict.PASS


def test_the_baseline_that_does_not_fails_where_it_repeats_and_is_one_of_many_elsewhere(recorded: Reference) -> None:
    own, others = never(recorded), seeds(recorded, 15)
    assert checks.zero(own, others, recorded.repeats, is_exact=True).verdict is Verdict.FAIL
    assert checks.zero(own, others, recorded.repeats, is_exact=False).verdict is Verdict.PASS
    missing = [*others[:13], *seeds(recorded, 2, None)]
    assert checks.zero(own, missing, recorded.repeats, is_exact=False).verdict is Verdict.FAIL


def test_zero_is_wrong_no_more_often_than_it_may_be(recorded: Reference) -> None:
    # A share of misses as the reference has it, and one more, for that is how it is estimated.
    share = (recorded.repeats.first_zero.count(None) + 1) / (len(recorded.repeats.seeds) + 2)
    missed = np.random.Generator(np.random.PCG64(1)).binomial(16, share, 100_000)
    assert np.count_nonzero(binom.sf(missed - 1, 16, share) <= checks.ALPHA_ZERO) <= binom.isf(
        1e-4, 100_000, checks.ALPHA_ZERO
    )


@pytest.mark.parametrize(
    ("later", "verdict", "found"),
    [(0, Verdict.PASS, Found.SAME), (12, Verdict.FAIL, Found.SLOWER), (-9, Verdict.CHANGED, Found.FASTER)],
)
def test_seeds_that_learn_as_soon_later_or_sooner(
    later: int, verdict: Verdict, found: Found, recorded: Reference
) -> None:
    theirs = recorded.repeats.sample()
    first_zero = [None if epoch is None else epoch + later for epoch in recorded.repeats.first_zero[:63]]
    now = sample(first_zero, recorded.repeats.errors[:63], 100)
    check, said = checks.convergence(now, theirs, 2, STAGES, 0.07)
    assert (check.verdict, said) == (verdict, found)
    assert "a slowdown of +7% would be detected 9 times in 10" in check.sure


def test_few_seeds_are_inconclusive(recorded: Reference) -> None:
    now = sample(recorded.repeats.first_zero[:3], recorded.repeats.errors[:3], 100)
    check, said = checks.convergence(now, recorded.repeats.sample(), 0, (3,), None)
    assert (check.verdict, said) == (Verdict.INCONCLUSIVE, Found.UNCLEAR)


def pairs(recorded: Reference, off: dict[int, float]) -> list[tuple[Training, Training]]:
    """The first four early seeds by two engines, the second's losses off; both to epoch 40."""
    typical = int(np.median(recorded.repeats.errors))

    def whole(one: Training) -> Training:
        losses = np.concatenate([one.losses, np.full(30, 0.03)])
        return replace(one, variant=one.variant.with_epochs(40), losses=losses, errors=np.full(40, typical))

    mine, theirs = early(recorded, {})[:4], early(recorded, off)[:4]
    return [(whole(a), whole(b)) for a, b in zip(mine, theirs, strict=True)]


def test_engines_that_train_alike_agree(recorded: Reference) -> None:
    found = checks.agreement("xla", "graph", pairs(recorded, {}), recorded, is_exact=True)
    assert found.verdict is Verdict.PASS
    assert "equal printed logs for 40 epochs" in found.seen


def test_engines_that_differ_in_every_seed_do_not_agree(recorded: Reference) -> None:
    found = checks.agreement("xla", "graph", pairs(recorded, dict.fromkeys(range(4), 0.01)), recorded, is_exact=False)
    assert found.verdict is Verdict.FAIL
    assert "4 of 4 seeds diverge, the earliest at epoch 5" in found.seen


def test_where_both_were_recorded_the_log_is_printed_alike_as_long_as_it_was(recorded: Reference) -> None:
    off = pairs(recorded, {0: 0.01})
    assert checks.agreement("xla", "graph", off, recorded, is_exact=False).verdict is Verdict.PASS
    found = checks.agreement("xla", "graph", off, recorded, is_exact=True)
    assert found.verdict is Verdict.FAIL
    assert "the printed logs of the baseline are equal for 4 epochs" in found.seen


@pytest.mark.parametrize("errors", [0, 5000])
def test_an_engine_whose_errors_are_of_another_kind_does_not_agree(errors: int, recorded: Reference) -> None:
    changed = [
        (replace(mine, errors=np.full(40, errors)), replace(theirs, errors=np.full(40, errors)))
        for mine, theirs in pairs(recorded, {})
    ]
    found = checks.agreement("xla", "graph", changed, recorded, is_exact=False)
    assert found.verdict is Verdict.FAIL
    assert f"{errors:.1f} errors at epoch 40" in found.seen


@pytest.mark.parametrize("n", [2, 4])
def test_means_are_found_improbable_no_more_often_than_they_are(n: int, recorded: Reference) -> None:
    random = np.random.Generator(np.random.PCG64(9))
    drawn = random.choice(recorded.repeats.errors, (300, n))
    p = np.array([checks.mean_by_chance(row.tolist(), recorded.repeats.errors) for row in drawn])
    for level in (0.01, 0.05, 0.2):
        assert np.count_nonzero(p <= level) <= binom.isf(1e-4, 300, level)
    assert np.count_nonzero(p <= 0.2) >= binom.isf(1 - 1e-4, 300, 0.1)
