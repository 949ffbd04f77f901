"""The statistics of a comparison: tests, means and bounds over seeds, pooled over all variants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness import statistics
from harness.reporting.comparison_tables import Floats
from harness.statistics import Estimate

ERRORS, FIRST_ZERO, HELD_OUT = "errors at the last epoch", "first zero epoch", "held-out errors"

# The false-alarm rate: two equal studies are found different with this probability, over both tests, corrected by Holm.
FAMILY_LEVEL = 0.02

# The upper end of this two-sided interval is a one-sided bound. The true difference is above the bound in 5% of
# comparisons.
_BOUND_LEVEL = 0.90


@dataclass(frozen=True)
class Measure:
    """A measure of two studies, over all common variants or over one.

    Attributes:
        name: Name of the measure.
        is_paired: Whether runs with the same seed are compared in pairs.
        n_a: Number of seeds of A; if paired, of both.
        n_b: Number of seeds of B.
        mean_a: Mean over the seeds of A.
        mean_b: Mean over the seeds of B.
        difference: Difference of the means, B minus A, with its 95% interval.
        bound: One-sided 95% upper bound of the difference; NaN with fewer than two seeds.
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
    """The result of a test over seeds: its p-value, the p-value for the family of tests, and whether B has more."""

    p: float
    p_family: float
    b_has_more: bool

    @property
    def is_found(self) -> bool:
        """Whether the test is significant at the level of the family."""
        return self.p_family <= FAMILY_LEVEL


def judge(errors: tuple[Floats, Floats], zeros: tuple[Floats, Floats], *, is_paired: bool) -> tuple[Finding, Finding]:
    """Test errors and first zero epochs of two studies over seeds, each pooled over all variants.

    In each variant, the score of a run is the share of all other runs with less, minus the share with more. The score
    of a seed is the mean over its variants. So no variant outweighs the others because its numbers are large, trainings
    that never reach zero rank last, and runs that share a training or a seed are one observation. A sign-flip or
    permutation test over seeds compares the scores. Holm's method corrects for the two tests.

    Args:
        errors: Errors of A and B, ``(seeds, variants)`` each; NaN if a seed lacks a variant.
        zeros: First zero epochs of A and B, in the same form; infinite if a training never reached zero.
        is_paired: Whether the rows of both are the same seeds.

    Source of the pooling: P. C. O'Brien, "Procedures for comparing samples with multiple endpoints", Biometrics 40
    (1984); of counting misses as last: E. A. Gehan, "A generalized Wilcoxon test for comparing arbitrarily
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
    """The share of the other values in a column that are less, minus the share that are more. NaN stays."""
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
    """The means of the seeds over their variants, corrected for missing variants.

    Without the correction, a seed that lacks a variant with many errors would seem better.
    """
    of_variants = np.nanmean(np.concatenate([a, b]), axis=0)
    level = of_variants.mean()
    return _seed_means(a - of_variants) + level, _seed_means(b - of_variants) + level


def measure(name: str, seeds: tuple[Floats, Floats], *, is_paired: bool, p: float | None = None) -> Measure:
    """Compare a measure over the seeds of A and B, ``(n,)`` each.

    If no p-value is given, compute it with a test of this measure. The interval and the bound are Student's (paired) or
    Welch's. They need means over seeds that are roughly normal: a fault that affects few seeds can remain unseen.
    """
    a, b = seeds
    if p is None:
        p = statistics.paired_test(a, b) if is_paired else statistics.unpaired_test(a, b)
    estimate = statistics.paired_difference if is_paired else statistics.unpaired_difference
    bound = estimate(a, b, level=_BOUND_LEVEL).high
    return Measure(name, is_paired, len(a), len(b), float(a.mean()), float(b.mean()), estimate(a, b), bound, p)
