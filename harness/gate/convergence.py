"""The gate's checks over many seeds.

They compare first zero epochs, error counts at an early epoch, and the number of seeds that reach zero errors.
"""

from __future__ import annotations

import math

from harness import statistics
from harness.gate import rule
from harness.gate.reference import Reference
from harness.gate.rule import Sample
from harness.gate.verdict import ERRORS, SURVIVAL, Check, Effect, Verdict
from harness.statistics import Estimate


def checks(now: Sample, reference: Reference) -> list[Check]:
    """Compare the trainings of a gate with the trainings of its reference.

    Args:
        now: Trainings of the gate, ``(n,)``.
        reference: Reference to compare with.
    """
    theirs = reference.repeats.sample()
    looked = rule.look(Sample(now.first_zero[None], now.errors[None], now.budget), theirs, reference.margin)
    verdicts = looked.verdicts()
    counts = f"{now.n} seeds, reference {theirs.n} seeds"
    return [
        _epochs(now, reference, looked, verdicts["epochs"], counts),
        _share(now, reference, looked, verdicts["share"]),
        _errors(now, reference, looked, verdicts["errors"], counts),
    ]


def _epochs(now: Sample, reference: Reference, looked: rule.Looked, verdict: Verdict, counts: str) -> Check:
    theirs, goal = reference.repeats.sample(), reference.goal
    slowdown, bound = rule.slowdown(now, theirs), rule.bound(now, theirs)
    answers = {
        Verdict.FAIL: f"{goal} come {_later(slowdown)}; {counts})",
        Verdict.CHANGED: f"{goal} come {-slowdown.value:.0%} sooner (95% interval {_sooner(slowdown)}; {counts})",
        Verdict.PASS: f"{goal} come as early as in the reference ({_at_most(bound)}; {counts})",
        Verdict.INCONCLUSIVE: f"{_unclear(bound, reference.margin, looked)} ({counts})",
    }
    advice = {
        Verdict.FAIL: "the differences from the environment of the reference; the latest code changes",
        Verdict.CHANGED: "the cause of the change. If it is intended, record a new reference: harness gate record",
        Verdict.INCONCLUSIVE: "the number of seeds. Train more seeds: harness gate run --seeds N",
    }
    mean, expected = float(now.epochs.mean()), float(theirs.epochs.mean())
    return Check(
        f"epochs to {goal}",
        verdict,
        f"{expected:.1f} epochs on average, as in the reference, or less than {reference.margin:.0%} more",
        f"{mean:.1f} epochs on average: {_interval(slowdown)}",
        ("" if verdict is Verdict.FAIL else f"{_at_most(bound)}; ")
        + f"p = {min(looked.p_later[0], looked.p_sooner[0]):.2g}",
        advice.get(verdict, ""),
        answer=answers[verdict],
        effect=Effect(
            f"change in epochs to {goal}",
            slowdown.value,
            slowdown.low,
            slowdown.high,
            0.0,
            reference.margin,
            is_share=True,
        ),
        figure=SURVIVAL,
        details={
            "n": now.n,
            "n_reference": theirs.n,
            "mean_first_zero": mean,
            "reference_mean_first_zero": expected,
            "slowdown": slowdown.value,
            "slowdown_low": slowdown.low,
            "slowdown_high": slowdown.high,
            "slowdown_bound": bound,
            "margin": reference.margin,
            "p_later": float(looked.p_later[0]),
            "p_sooner": float(looked.p_sooner[0]),
            "detectable": reference.detectable if now.n == reference.n_gate_seeds else None,
        },
    )


def _errors(now: Sample, reference: Reference, looked: rule.Looked, verdict: Verdict, counts: str) -> Check:
    theirs, epoch = reference.repeats.sample(), reference.repeats.errors_at
    gap = statistics.unpaired_difference(theirs.errors, now.errors)
    kind = "fewer" if gap.value < 0 else "more"
    ends = sorted((abs(gap.low), abs(gap.high))) if gap.low * gap.high > 0 else [gap.low, gap.high]
    answer = (
        f"{abs(gap.value):.1f} {kind} errors at epoch {epoch} (95% interval {ends[0]:.1f} to {ends[1]:.1f}; {counts})"
    )
    return Check(
        f"errors at epoch {epoch}",
        verdict,
        f"{theirs.errors.mean():.1f} errors at epoch {epoch}",
        f"{now.errors.mean():.1f} errors at epoch {epoch}",
        f"p = {min(looked.p_more[0], looked.p_fewer[0]):.2g}",
        "the differences from the environment of the reference; the learning rate and the optimizer",
        answer=answer,
        effect=Effect(
            f"change in errors at epoch {epoch}", gap.value, gap.low, gap.high, 0.0, rule.GAP_ERRORS, is_share=False
        ),
        figure=ERRORS,
        details={
            "mean_errors": float(now.errors.mean()),
            "reference_mean_errors": float(theirs.errors.mean()),
            "p_more_errors": float(looked.p_more[0]),
            "p_fewer_errors": float(looked.p_fewer[0]),
        },
    )


def _share(now: Sample, reference: Reference, looked: rule.Looked, verdict: Verdict) -> Check:
    theirs, goal = reference.repeats.sample(), reference.goal
    found = statistics.wilson(now.n_reached, now.n)
    expected = theirs.n_reached / theirs.n
    return Check(
        f"seeds that reach {goal}",
        verdict,
        f"{theirs.n_reached} of {theirs.n} seeds reach {goal} within {now.budget} epochs",
        f"{now.n_reached} of {now.n} seeds reach {goal} within {now.budget} epochs",
        f"p = {looked.p_share[0]:.2g} for this number of seeds or fewer",
        "the training histories of the seeds that never reach the goal. gate.json lists these seeds",
        answer=f"{now.n_reached} of {now.n} seeds reach {goal}, and {theirs.n_reached} of {theirs.n} in the reference",
        effect=Effect(
            f"proportion of seeds that reach {goal}", found.value, found.low, found.high, expected, None, is_share=True
        ),
        figure=SURVIVAL,
        details={
            "reached": now.n_reached,
            "reference_reached": theirs.n_reached,
            "p_share": float(looked.p_share[0]),
        },
    )


def _interval(slowdown: Estimate) -> str:
    if not math.isfinite(slowdown.high):
        return f"at least {_change(slowdown.low)} (95% limit)"
    return f"{_change(slowdown.value)} (95% interval {slowdown.low:+.1%} to {slowdown.high:+.1%})"


def _change(slowdown: float) -> str:
    return f"{slowdown:.1%} later" if slowdown >= 0 else f"{-slowdown:.1%} sooner"


def _later(slowdown: Estimate) -> str:
    if math.isfinite(slowdown.high):
        return f"{slowdown.value:.0%} later (95% interval {slowdown.low:.0%} to {slowdown.high:.0%}"
    return f"at least {slowdown.low:.0%} later (95% limit"


def _sooner(slowdown: Estimate) -> str:
    return f"{-slowdown.high:.0%} to {-slowdown.low:.0%}"


def _at_most(bound: float) -> str:
    if not math.isfinite(bound):
        return "no slowdown is excluded, however large"
    if bound < 0:
        return f"at least {-bound:.1%} sooner with 95% confidence"
    return f"less than {bound:.1%} later with 95% confidence"


def _unclear(bound: float, margin: float, looked: rule.Looked) -> str:
    if not looked.may_fail:
        return "the seeds are too few for a test"
    if not math.isfinite(bound):
        return f"no slowdown can be excluded, however large, and the limit is {margin:.0%}"
    return f"a slowdown of up to {bound:.1%} cannot be excluded, and the limit is {margin:.0%}"
