"""The checks over seeds: verdicts, answers and effects."""

from __future__ import annotations

import numpy as np
import pytest

from harness.gate import convergence, rule
from harness.gate.reference import Reference
from harness.gate.rule import Sample, sample
from harness.gate.verdict import Check, Verdict


def seeds(recorded: Reference, n: int = 63) -> Sample:
    """Trainings that are like those of the reference: every sixteenth of its seeds, in the order of their epochs."""
    repeats = recorded.repeats
    order = sorted(range(len(repeats.seeds)), key=lambda place: repeats.first_zero[place] or 999)
    chosen = [order[(number * 2 + 1) * len(order) // (2 * n)] for number in range(n)]
    return sample([repeats.first_zero[place] for place in chosen], [repeats.errors[place] for place in chosen], 100)


def found(now: Sample, recorded: Reference) -> dict[str, Check]:
    return {check.name: check for check in convergence.checks(now, recorded)}


def test_training_as_recorded_passes_with_the_bound_of_its_slowdown(recorded: Reference) -> None:
    checks = found(seeds(recorded), recorded)
    assert {check.verdict for check in checks.values()} == {Verdict.PASS}
    answer = checks["epochs to zero errors"].said
    assert answer.startswith("zero errors come as early as in the reference (less than ")
    assert answer.endswith("later with 95% confidence; 63 seeds, reference 1024 seeds)")


def test_later_training_fails_and_says_by_how_much(recorded: Reference) -> None:
    checks = found(rule.slower(seeds(recorded), 0.17), recorded)
    check = checks["epochs to zero errors"]
    assert check.verdict is Verdict.FAIL
    assert check.effect is not None
    assert check.effect.value == pytest.approx(0.17, abs=0.03)
    assert check.effect.low < 0.17 < check.effect.high
    value, low, high = (f"{one:.0%}" for one in (check.effect.value, check.effect.low, check.effect.high))
    interval = f"95% interval {low} to {high}; 63 seeds, reference 1024 seeds"
    assert check.said == f"zero errors come {value} later ({interval})"
    assert check.effect.limit == recorded.margin


def test_sooner_training_is_changed(recorded: Reference) -> None:
    check = found(rule.slower(seeds(recorded), -0.15), recorded)["epochs to zero errors"]
    assert check.verdict is Verdict.CHANGED
    assert "sooner (95% interval 1" in check.said


def test_training_without_a_seed_at_zero_has_no_upper_limit(recorded: Reference) -> None:
    now = seeds(recorded)
    checks = found(Sample(np.full(63, np.inf), now.errors, 100), recorded)
    assert checks["epochs to zero errors"].verdict is Verdict.FAIL
    assert "at least" in checks["epochs to zero errors"].said
    assert checks["seeds that reach zero errors"].verdict is Verdict.FAIL
    assert "0 of 63 seeds reach zero errors, and" in checks["seeds that reach zero errors"].said


def test_more_early_errors_fail(recorded: Reference) -> None:
    now = seeds(recorded)
    check = found(Sample(now.first_zero, now.errors + 20, 100), recorded)["errors at epoch 40"]
    assert check.verdict is Verdict.FAIL
    assert "more errors at epoch 40 (95% interval" in check.said
    fewer = found(Sample(now.first_zero, now.errors * 0.3, 100), recorded)["errors at epoch 40"]
    assert fewer.verdict is Verdict.CHANGED
    assert "fewer errors" in fewer.said


@pytest.mark.parametrize(("n", "said"), [(4, "cannot be excluded, and the limit is 10%"), (2, "exclude")])
def test_few_seeds_are_inconclusive_and_say_why(n: int, said: str, recorded: Reference) -> None:
    check = found(seeds(recorded, n), recorded)["epochs to zero errors"]
    assert check.verdict is Verdict.INCONCLUSIVE
    assert said in check.said


def test_seeds_too_few_for_any_test_say_so(recorded: Reference) -> None:
    columns = {
        name: column[:30] if isinstance(column, list) else column
        for name, column in recorded.repeats.model_dump().items()
    }
    small = recorded.model_copy(update={"repeats": type(recorded.repeats).model_validate(columns)})
    checks = found(seeds(recorded, 2), small)
    assert {check.verdict for check in checks.values()} == {Verdict.INCONCLUSIVE}
    assert "the seeds are too few for a test" in checks["epochs to zero errors"].said


def test_a_goal_above_zero_errors_is_named(recorded: Reference) -> None:
    repeats = recorded.repeats.model_copy(update={"reached_at": 3})
    checks = found(seeds(recorded), recorded.model_copy(update={"repeats": repeats}))
    assert checks["epochs to at most 3 errors"].said.startswith("at most 3 errors come as early")
    assert "seeds reach at most 3 errors" in checks["seeds that reach at most 3 errors"].seen


def test_the_margin_of_the_reference_decides(recorded: Reference) -> None:
    strict = recorded.model_copy(update={"margin": 0.005})
    assert found(seeds(recorded), strict)["epochs to zero errors"].verdict is Verdict.INCONCLUSIVE
