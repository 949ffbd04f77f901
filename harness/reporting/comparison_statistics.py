"""The statistics of a comparison: tests, means and confidence bounds over seeds, pooled over all variants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness import statistics
from harness.reporting.comparison_tables import Floats
from harness.statistics import Estimate

ERRORS, FIRST_ZERO, HELD_OUT = "errors at the last epoch", "first zero epoch", "held-out errors"

# The largest probability of a false alarm, that is, that any of the two tests finds a difference between equal studies.
# Holm's method corrects the p-values for two tests.
FAMILY_LEVEL = 0.02

# The level of a two-sided interval, whose upper end is a one-sided 95% bound: the true difference is above the bound in
# 5% of comparisons.
_BOUND_LEVEL = 0.90


@dataclass(frozen=True)
class Measure:
    """The comparison of one measure between two studies, over all common variants or for one of them.

    Attributes:
        name: Name of the measure.
        is_paired: Whether runs with the same seed are compared in pairs.
        n_a: Number of seeds of A; if paired, number of pairs.
        n_b: Number of seeds of B; if paired, number of pairs.
        mean_a: Mean over the seeds of A.
        mean_b: Mean over the seeds of B.
        difference: Difference of the means, B minus A, with its 95% interval.
        bound: One-sided 95% upper confidence bound of the difference; NaN with fewer than two seeds.
        p: p-value of the test over seeds.
    """

    name: str
    is_paired: bool
    n_a: int
    n_b: int
    mean_a: float
    mean_b: float
    difference: Estimate
    bound: float
    p: float


@dataclass(frozen=True)
class Finding:
    """The result of a test over seeds.

    Attributes:
        p: p-value of the test.
        p_family: p-value after Holm's correction for the two tests of a comparison.
        b_has_more: Whether B has more errors, or later first zero epochs, by its mean score.
    """

    p: float
    p_family: float
    b_has_more: bool

    @property
    def is_found(self) -> bool:
        """Whether the test is significant after the correction for two tests."""
        return self.p_family <= FAMILY_LEVEL


def judge(errors: tuple[Floats, Floats], zeros: tuple[Floats, Floats], *, is_paired: bool) -> tuple[Finding, Finding]:
    """Test errors and first zero epochs of two studies over seeds, each pooled over all variants.

    In each variant, the runs of both studies are ranked together. The score of a run is the fraction of these runs with
    a smaller value, minus the fraction with a larger value. The score of a seed is the mean score of its runs. A
    sign-flip test (if paired) or a permutation test compares the scores of A's and B's seeds. Holm's method corrects
    for the two tests.

    Only ranks count, so a variant with large numbers does not outweigh the others. A training that never reaches zero
    ranks last. All runs of a seed are one observation.

    Args:
        errors: Errors of A and B, ``(seeds, variants)`` each; NaN if a seed lacks a variant.
        zeros: First zero epochs of A and B, in the same form; infinite if a training never reached zero.
        is_paired: Whether the rows of A and B have the same seeds in the same order.

    Source of the scores: P. C. O'Brien, "Procedures for comparing samples with multiple endpoints", Biometrics 40
    (1984). Source of the last rank: E. A. Gehan, "A generalized Wilcoxon test for comparing arbitrarily
    singly-censored samples", Biometrika 52 (1965).
    """
    found = []
    for first, second in (errors, zeros):
        scores = _scores(np.concatenate([first, second]))
        a, b = _seed_means(scores[: len(first)]), _seed_means(scores[len(first) :])
        p = statistics.paired_test(a, b) if is_paired else statistics.unpaired_test(a, b)
        found.append((p, bool(b.mean() > a.mean())))
    family = statistics.holm([p for p, _ in found])
    first_found, second_found = (
        Finding(p, of_family, more) for (p, more), of_family in zip(found, family, strict=True)
    )
    return first_found, second_found


def _scores(values: Floats) -> Floats:
    """For each value: the fraction of its column that is smaller, minus the fraction that is larger. NaN stays NaN."""
    scores = np.full(values.shape, np.nan)
    for column, result in zip(values.T, scores.T, strict=True):
        is_there = ~np.isnan(column)
        ordered = np.sort(column[is_there])
        less, not_more = (np.searchsorted(ordered, column[is_there], side) for side in ("left", "right"))
        result[is_there] = (less - (len(ordered) - not_more)) / len(ordered)
    return scores


def _seed_means(values: Floats) -> Floats:
    """The mean of each row over its values that are not NaN."""
    is_there = ~np.isnan(values)
    return np.asarray(np.where(is_there, values, 0).sum(axis=1) / is_there.sum(axis=1), np.float64)


def level_seed_means(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The mean of each seed over its variants, corrected for variants that the seed lacks.

    Without the correction, a seed that lacks a variant with many errors would seem better.
    """
    of_variants = np.nanmean(np.concatenate([a, b]), axis=0)
    level = of_variants.mean()
    return _seed_means(a - of_variants) + level, _seed_means(b - of_variants) + level


def measure(name: str, seeds: tuple[Floats, Floats], *, is_paired: bool, p: float | None = None) -> Measure:
    """Compare the values of a measure between the seeds of A and B, ``(n,)`` each.

    If no p-value is given, compute it with a test of this measure. The interval and the bound are Student's (paired) or
    Welch's. They assume that means over seeds are roughly normal. So a fault that affects few seeds can remain unseen.
    """
    a, b = seeds
    if p is None:
        p = statistics.paired_test(a, b) if is_paired else statistics.unpaired_test(a, b)
    estimate = statistics.paired_difference if is_paired else statistics.unpaired_difference
    bound = estimate(a, b, level=_BOUND_LEVEL).high
    return Measure(name, is_paired, len(a), len(b), float(a.mean()), float(b.mean()), estimate(a, b), bound, p)
