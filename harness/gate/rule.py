"""The statistical rule of the gate: does training reach zero errors as early as in the reference?

The gate tests all its seeds once, after the last training. The functions judge many gates at once, so simulations and
real gates run the same code. Their arrays have one row for each gate, so the arrays of a real gate have a single row.
Here, "zero errors" means an error count that the reference accepts as its goal (``reached_at``). By default, it accepts
only zero.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import hypergeom, mannwhitneyu

from harness import statistics
from harness.gate.verdict import Verdict
from harness.statistics import Estimate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# The number of seeds that a gate trains by default, in addition to the baseline's seed. Together, these 64 seeds fill
# four calls of the engine ``xla`` on each of two cores.
SEEDS = 63
# The default number of seeds of a gate is at most the number of seeds of its reference divided by this.
SEEDS_FOR_EACH = 4

# The significance levels of the tests for later zero errors, for more errors at the early epoch, and for fewer seeds
# that reach zero errors. A level is the false-alarm rate of its test.
ALPHA_EPOCHS, ALPHA_ERRORS, ALPHA_SHARE = 0.005, 0.002, 0.001

# The smallest difference that counts, in epochs and in errors. The mean or the median must differ by this or more.
GAP_EPOCHS = GAP_ERRORS = 1.0

# The default margin: a gate must rule out this slowdown to pass. It is a fraction of the first zero epoch.
MARGIN = 0.10
# The error rate of the upper confidence bound of the slowdown. The bound must be below the margin.
BETA = 0.05

# If the gate or the reference has fewer seeds than this, the p-values of the Mann-Whitney tests come from permutations.
# Otherwise, they come from the normal approximation.
FEWEST_FOR_NORMAL = 20

# The slowdowns, in thousandths, that the search for the confidence bound tries.
_THOUSANDTHS = range(-950, 20_001)

# The simulation that finds the smallest detectable slowdown: the number of gates for each slowdown, and the slowdowns
# in percent.
_SIMULATED = 400
_PERCENTS = (*range(1, 21), 25, 30, 40, 50)


@dataclass(frozen=True, eq=False)
class Sample:
    """The first zero epochs and error counts of trainings with different seeds.

    Attributes:
        first_zero: First zero epoch of each training, ``(..., n)``. Infinite for a training that never reached zero.
        errors: Error count of each training after the early epoch at which errors are compared, ``(..., n)``.
        budget: Number of epochs of each training.
    """

    first_zero: Floats
    errors: Floats
    budget: int

    @property
    def n(self) -> int:
        """The number of seeds."""
        return int(self.first_zero.shape[-1])

    @property
    def n_reached(self) -> int:
        """The number of seeds that reach zero errors, summed over all gates."""
        return int(np.count_nonzero(np.isfinite(self.first_zero)))

    @property
    def epochs(self) -> Floats:
        """The first zero epoch of each seed. For a seed that never reaches zero errors, it is the budget."""
        return np.minimum(self.first_zero, self.budget)

    @property
    def ranked(self) -> Floats:
        """The first zero epoch of each seed, for rank tests. A seed that never reaches zero errors ranks last."""
        return np.minimum(self.first_zero, self.budget + 1)


@dataclass(frozen=True, eq=False)
class Looked:
    """The test statistics of many gates. Every array has the shape ``(gates,)``. Every p-value is one-sided.

    Attributes:
        p_later, p_sooner: p-values of the Mann-Whitney test for later and for sooner first zero epochs.
        p_more, p_fewer: p-values of the same test for more and for fewer errors at the early epoch.
        p_share: p-value of Fisher's exact test for fewer seeds that reach zero errors.
        gap_epochs: Two differences of each gate from the reference, the smaller one first: that of the mean first zero
            epoch, and that of the median. For a seed that never reaches zero errors, the epoch is the budget.
        gap_errors: The same two differences for the error count at the early epoch.
        is_within: Whether the upper confidence bound of the slowdown is below the margin.
        may_fail: Whether the seeds suffice for the Mann-Whitney tests to reach their significance levels.
        may_fail_share: Whether the seeds suffice for Fisher's test to reach its significance level.
    """

    p_later: Floats
    p_sooner: Floats
    p_more: Floats
    p_fewer: Floats
    p_share: Floats
    gap_epochs: tuple[Floats, Floats]
    gap_errors: tuple[Floats, Floats]
    is_within: Bools
    may_fail: bool
    may_fail_share: bool

    @property
    def is_later(self) -> Bools:
        """Whether zero errors come significantly later than in the reference."""
        return (self.p_later <= ALPHA_EPOCHS) & (self.gap_epochs[1] >= GAP_EPOCHS)

    @property
    def is_sooner(self) -> Bools:
        """Whether zero errors come significantly sooner than in the reference."""
        return (self.p_sooner <= ALPHA_EPOCHS) & (self.gap_epochs[0] <= -GAP_EPOCHS)

    @property
    def is_more(self) -> Bools:
        """Whether there are significantly more errors at the early epoch than in the reference."""
        return (self.p_more <= ALPHA_ERRORS) & (self.gap_errors[1] >= GAP_ERRORS)

    @property
    def is_fewer(self) -> Bools:
        """Whether there are significantly fewer errors at the early epoch than in the reference."""
        return (self.p_fewer <= ALPHA_ERRORS) & (self.gap_errors[0] <= -GAP_ERRORS)

    @property
    def is_rarer(self) -> Bools:
        """Whether significantly fewer seeds reach zero errors than in the reference."""
        return self.p_share <= ALPHA_SHARE

    @property
    def is_red(self) -> Bools:
        """Whether the gate fails: later zero errors, more errors at the early epoch, or fewer seeds at zero errors."""
        return self.is_later | self.is_more | self.is_rarer

    @property
    def is_green(self) -> Bools:
        """Whether the gate passes.

        No test fails, the seeds suffice for all tests, and the upper confidence bound of the slowdown is below the
        margin.
        """
        return ~self.is_red & self.is_within & self.may_fail & self.may_fail_share

    def verdicts(self, row: int = 0) -> dict[str, Verdict]:
        """Return the verdicts of the three checks of one gate.

        ``epochs`` judges the first zero epochs, ``errors`` the error counts at the early epoch, and ``share`` the
        proportion of seeds that reach zero errors.

        Args:
            row: Index of the gate in the arrays.
        """
        unclear = Verdict.PASS if self.may_fail else Verdict.INCONCLUSIVE
        better = Verdict.CHANGED if self.may_fail else Verdict.INCONCLUSIVE
        epochs = unclear if self.is_within[row] else Verdict.INCONCLUSIVE
        if self.is_later[row]:
            epochs = Verdict.FAIL
        elif self.is_sooner[row] and self.is_within[row]:
            epochs = better
        errors = better if self.is_fewer[row] else unclear
        share = Verdict.PASS if self.may_fail_share else Verdict.INCONCLUSIVE
        return {
            "epochs": epochs,
            "errors": Verdict.FAIL if self.is_more[row] else errors,
            "share": Verdict.FAIL if self.is_rarer[row] else share,
        }


def look(now: Sample, reference: Sample, margin: float = MARGIN) -> Looked:
    """Compute the test statistics of gates against a reference.

    Args:
        now: Trainings of the gates, ``(gates, n)``.
        reference: Recorded trainings, ``(n_reference,)``.
        margin: Slowdown that a gate must rule out to pass, as a fraction.
    """
    n, n_reference = now.n, reference.n
    reached = np.isfinite(now.first_zero).sum(axis=-1)
    return Looked(
        p_later=_p_higher(now.ranked, reference.ranked),
        p_sooner=_p_lower(now.ranked, reference.ranked),
        p_more=_p_higher(now.errors, reference.errors),
        p_fewer=_p_lower(now.errors, reference.errors),
        p_share=np.asarray(hypergeom.cdf(reached, n + n_reference, reached + reference.n_reached, n)),
        gap_epochs=_gaps(now.epochs, reference.epochs),
        gap_errors=_gaps(now.errors, reference.errors),
        is_within=_p_lower(now.ranked, slower(reference, margin).ranked) <= BETA,
        may_fail=1 / math.comb(n + n_reference, n) <= min(ALPHA_EPOCHS, ALPHA_ERRORS),
        may_fail_share=bool(hypergeom.cdf(0, n + n_reference, reference.n_reached, n) <= ALPHA_SHARE),
    )


def _gaps(now: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return two differences from the reference, of the mean and of the median, the smaller one first.

    Both arrays have the shape ``(gates,)``.

    A few extreme values can hide a difference of the means. They cannot hide a difference of the medians.
    """
    mean = now.mean(axis=-1) - float(reference.mean())
    median = np.median(now, axis=-1) - float(np.median(reference))
    return np.minimum(mean, median), np.maximum(mean, median)


def _p_higher(now: Floats, reference: Floats) -> Floats:
    """Return the p-value of each gate, ``(gates,)``: one-sided Mann-Whitney test for values above the reference's.

    For :attr:`Sample.ranked`, this is Gehan's test for censored data: a seed that never reaches zero errors ranks last,
    and all trainings have the same budget.
    """
    if min(now.shape[-1], len(reference)) < FEWEST_FOR_NORMAL:
        return np.array([statistics.rank_test(row, reference) for row in now])
    theirs = np.broadcast_to(reference, (*now.shape[:-1], len(reference)))
    found = mannwhitneyu(now, theirs, axis=-1, alternative="greater", method="asymptotic")
    return np.atleast_1d(found.pvalue)


def _p_lower(now: Floats, reference: Floats) -> Floats:
    return _p_higher(-now, -reference)


def slowdown(now: Sample, reference: Sample) -> Estimate:
    """Estimate the slowdown of one gate as a fraction of the first zero epoch, with its 95% interval.

    The interval inverts the Mann-Whitney test. The test compares the gate with the reference slowed by ``f``. The
    interval contains every slowdown ``f`` that the test does not reject. The upper limit is infinite if the test does
    not even reject the largest ``f`` that is tried.

    Args:
        now: Trainings of the gate, ``(n,)``.
        reference: Recorded trainings, ``(n_reference,)``.
    """
    tail = (1 - statistics.LEVEL) / 2
    ranked = now.ranked[None]
    low = _first(lambda slowed: _p_higher(ranked, slowed)[0] > tail, reference)
    value = _first(lambda slowed: _p_higher(ranked, slowed)[0] > 0.5, reference)
    high = _first(lambda slowed: _p_lower(ranked, slowed)[0] <= tail, reference)
    return Estimate(value, low, high, now.n)


def bound(now: Sample, reference: Sample) -> float:
    """Return the one-sided upper confidence bound of the slowdown of one gate; see :func:`slowdown`.

    The error rate of the bound is :data:`BETA`.
    """
    ranked = now.ranked[None]
    return _first(lambda slowed: _p_lower(ranked, slowed)[0] <= BETA, reference)


def _first(is_beyond: Callable[[Floats], Any], reference: Sample) -> float:
    """Return the smallest slowdown that fulfils a condition, or infinity if none does.

    The condition is a function of the first zero epochs of the slowed reference, ``(n,)``.
    """

    def is_fulfilled(thousandths: int) -> bool:
        return bool(is_beyond(slower(reference, thousandths / 1000).ranked))

    place = bisect_left(_THOUSANDTHS, True, key=is_fulfilled)  # noqa: FBT003 - the value to search for
    return _THOUSANDTHS[place] / 1000 if place < len(_THOUSANDTHS) else math.inf


def sample(first_zero: Sequence[int | None], errors: ArrayLike, budget: int) -> Sample:
    """Create a sample from plain values. None marks a training that never reached zero errors."""
    epochs = np.array([np.inf if epoch is None else epoch for epoch in first_zero], np.float64)
    return Sample(epochs, np.asarray(errors, np.float64), budget)


def resample(pool: Sample, gates: int, n: int, random: np.random.Generator) -> Sample:
    """Simulate gates, ``(gates, n)``. Their trainings are drawn with replacement from the trainings of ``pool``."""
    chosen = random.integers(0, pool.n, (gates, n))
    return Sample(pool.first_zero[chosen], pool.errors[chosen], pool.budget)


def slower(reference: Sample, by: float) -> Sample:
    """Return the reference with its first zero epochs delayed by the fraction ``by``. Error counts stay unchanged.

    Delayed epochs are rounded up. This would add half an epoch on average, so each recorded epoch is first replaced by
    a random time within the epoch.
    """
    within = np.random.Generator(np.random.PCG64(4)).random(reference.first_zero.shape)
    later = np.ceil((reference.first_zero - within) * (1 + by))
    return Sample(np.where(later > reference.budget, np.inf, later), reference.errors, reference.budget)


def power(reference: Sample, by: float, n: int) -> float:
    """Return the proportion of simulated gates with ``n`` seeds that fail if training slows by the fraction ``by``."""
    random = np.random.Generator(np.random.PCG64(1))
    gates = resample(slower(reference, by), _SIMULATED, n, random)
    return float(look(gates, reference).is_red.mean())


def detectable(reference: Sample, n: int, wanted: float = 0.9) -> float | None:
    """Return the smallest slowdown that gates with ``n`` seeds detect with probability ``wanted``.

    The slowdown is a fraction. None if it is above 50%.
    """
    place = bisect_left(_PERCENTS, wanted, key=lambda percent: power(reference, percent / 100, n))
    return _PERCENTS[place] / 100 if place < len(_PERCENTS) else None


def seeds_for(n_reference: int) -> int:
    """Return the default number of seeds of a gate, if its reference has ``n_reference`` seeds."""
    return min(SEEDS, n_reference // SEEDS_FOR_EACH)
