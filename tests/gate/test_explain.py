"""What is said of thresholds and of the baseline is what the reference holds."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from harness.gate import checks, explain, trace
from harness.gate import convergence as rule
from harness.gate.reference import Reference


def test_every_limit_is_named(recorded: Reference) -> None:
    text = " ".join(explain.text(recorded).split())
    for limit in (
        f"at most {checks.SOFTMAX_ULPS} ULPs",
        f"within {trace.TOLERANCE:g}, relatively",
        f"{recorded.early.left} of {recorded.early.tried} right trainings",
        f"may use {rule.ALPHA_MEAN:.1%}",
        f"{rule.ALPHA_ERRORS:.1%}, the share that reaches zero {rule.ALPHA_SHARE:.1%}",
        "after 15, 31, 63 seeds",
        recorded.records[-1].reason,
    ):
        assert limit in text


def test_what_is_said_of_the_baseline_is_counted_from_its_seeds(recorded: Reference) -> None:
    repeats = recorded.repeats
    epochs = np.array([np.inf if epoch is None else epoch for epoch in repeats.first_zero])
    text = "\n".join(explain.baseline(repeats))
    n = len(epochs)
    for epoch in (50, 60, 80):
        by = int((epochs <= epoch).sum())
        interval = binomtest(by, n).proportion_ci(method="wilson")
        share = f"{by / n:.1%} ({interval.low:.1%} to {interval.high:.1%})"
        assert f"{share} of seeds have reached zero errors by epoch {epoch}\n" in text
    assert f"median {np.median(epochs):.0f} (" in text
    assert f"{np.mean(np.array(repeats.returned) > 0):.1%} (" in text
    assert f"{np.mean(np.array(repeats.final_errors) > 0):.1%} (" in text
    assert f"{repeats.errors_at} epochs leave {np.mean(repeats.errors):.1f} errors" in text


def test_no_line_is_too_long_for_a_terminal(recorded: Reference) -> None:
    assert max(map(len, explain.text(recorded).splitlines())) <= 110
