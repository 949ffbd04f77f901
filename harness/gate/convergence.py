"""The gate's rule: does training reach zero errors as early as in the reference? Compares seeds in stages.

A stage is one interim analysis of the seeds trained so far. The functions evaluate many gates at once, so simulations
and real gates run the same code. A single gate is an array with one row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtri, stdtrit
from scipy.stats import hypergeom, mannwhitneyu

Floats = NDArray[np.float64]

# Number of trained seeds at each stage. With the baseline's own seed, the first stage fills two calls of the fast
# engine on two cores, and the second stage fills two more.
STAGES = (15, 31, 63)

# False-alarm rate of each measure: mean first zero epoch, errors, and the share of seeds that reach zero.
ALPHA_MEAN, ALPHA_ERRORS, ALPHA_SHARE = 0.003, 0.002, 0.001

# A mean counts as moved only if the rank test agrees at this level. A few seeds that never reach zero move the mean of
# a small sample far more often than a t-test assumes. Those seeds have a test of their own.
CROSS_CHECK = 0.01

# The largest probability that a gate stops early with PASS although training is slower by the margin.
BETA = 0.04

# The slowdown that PASS must exclude: this relative increase of the mean first zero epoch, or this decrease of the
# share of seeds that reach zero (0.20 is 20 percentage points).
MARGIN_MEAN, MARGIN_SHARE = 0.10, 0.20

# Smaller differences are ignored, however significant they are.
GAP_EPOCHS = GAP_ERRORS = 1.0


# Number of simulated gates for each slowdown, and the slowdowns in percent, to find the smallest one that is detected.
_SIMULATED = 400
_PERCENTS = (*range(1, 11), 12, 15, 20, 25, 30, 40, 50)


class Found(IntEnum):
    """The conclusion from the seeds so far."""

    UNCLEAR = 0
    SAME = 1
    FASTER = 2
    SLOWER = 3


@dataclass(frozen=True, eq=False)
class Sample:
    """Trainings of the baseline with different seeds.

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
        """The number of seeds that reach zero, over all gates."""
        return int(np.count_nonzero(np.isfinite(self.first_zero)))

    @property
    def epochs(self) -> Floats:
        """The first zero epochs. A seed that never reaches zero counts as the budget."""
        return np.minimum(self.first_zero, self.budget)

    @property
    def with_misses_last(self) -> Floats:
        """The first zero epochs for rank tests. A seed that never reaches zero comes after all others."""
        return np.minimum(self.first_zero, self.budget + 1)

    def first(self, n: int) -> Sample:
        """The first ``n`` seeds."""
        return Sample(self.first_zero[..., :n], self.errors[..., :n], self.budget)


def stages_of(n: int) -> tuple[int, ...]:
    """The stages of a gate with at most this number of seeds, as the number of seeds at each stage."""
    return (*(stage for stage in STAGES if stage < n), n)


def spent(level: float, n: int, most: int) -> float:
    """The part of an error rate that may be used up after ``n`` of at most ``most`` seeds.

    It grows with the square of the fraction of seeds.

    Source: K. Kim and D. L. DeMets, "Design and analysis of group sequential tests based on the type I error spending
    rate function", Biometrika 74 (1987), with rho = 2.
    """
    return level * (n / most) ** 2


def share_of(level: float, stage: int, stages: tuple[int, ...]) -> float:
    """The part of an error rate that one stage may use: the increase since the stage before.

    Each stage keeps to its own part. The total rate therefore holds however the stages depend on each other.
    """
    before = spent(level, stages[stage - 1], stages[-1]) if stage else 0.0
    return spent(level, stages[stage], stages[-1]) - before


@dataclass(frozen=True, eq=False)
class Stage:
    """The statistics of one stage, for many gates at once. Every array is ``(gates,)``; every p-value is one-sided.

    Attributes:
        n: Number of seeds.
        mean: Mean first zero epoch. A seed that never reaches zero counts as the budget.
        slowest, fastest: Limits of the mean. Between them it does not differ from the reference's.
        p_later, p_sooner: p-values of the rank test for later and for sooner first zero epochs.
        p_errors: p-value for more errors at the early epoch.
        p_errors_fewer: p-value for fewer errors at the early epoch.
        p_share: p-value for fewer seeds that reach zero.
        mean_bound: Upper confidence bound of the mean. Its error rate is this stage's part of :data:`BETA`.
        share_bound: Lower confidence bound of the share of seeds that reach zero, with the same error rate.
        found: Conclusion, as a value of :class:`Found`.
    """

    n: int
    mean: Floats
    slowest: Floats
    fastest: Floats
    p_later: Floats
    p_sooner: Floats
    p_errors: Floats
    p_errors_fewer: Floats
    p_share: Floats
    mean_bound: Floats
    share_bound: Floats
    found: NDArray[np.int_]


def look(now: Sample, reference: Sample, stage: int, stages: tuple[int, ...] = STAGES) -> Stage:
    """Compute the statistics and the conclusion of one stage.

    Args:
        now: Trainings of the gates, ``(gates, n)``. The stage uses the first seeds; ``n`` may be larger.
        reference: Recorded trainings, ``(n_reference,)``.
        stage: Index of the stage, from 0.
        stages: Number of seeds at each stage.
    """
    seeds = now.first(stages[stage])
    n, n_reference = seeds.n, reference.n
    epochs, theirs = seeds.epochs, reference.epochs
    mean, expected = epochs.mean(axis=-1), float(theirs.mean())
    spread = np.sqrt(
        ((n - 1) * epochs.var(axis=-1, ddof=1) + (n_reference - 1) * theirs.var(ddof=1)) / (n + n_reference - 2)
    )
    error = spread * np.sqrt(1 / n + 1 / n_reference)
    alpha = share_of(ALPHA_MEAN, stage, stages)
    reach = np.maximum(GAP_EPOCHS, stdtrit(n + n_reference - 2, 1 - alpha) * error)
    sooner, later = _ranks(seeds.with_misses_last, reference.with_misses_last)
    fewer, more = _ranks(seeds.errors, reference.errors)
    reached, n_reached = np.isfinite(seeds.first_zero).sum(axis=-1), reference.n_reached
    p_share = hypergeom.cdf(reached, n + n_reference, reached + n_reached, n)
    is_slower = (mean > expected + reach) & (later <= CROSS_CHECK)
    further = seeds.errors.mean(axis=-1) - float(reference.errors.mean())
    is_slower |= (more <= share_of(ALPHA_ERRORS, stage, stages)) & (further >= GAP_ERRORS)
    is_slower |= p_share <= share_of(ALPHA_SHARE, stage, stages)
    is_faster = (mean < expected - reach) & (sooner <= CROSS_CHECK)
    is_faster |= (fewer <= share_of(ALPHA_ERRORS, stage, stages)) & (further <= -GAP_ERRORS)
    beta = share_of(BETA, stage, stages)
    mean_bound = mean + _welch_half(epochs, theirs, beta)
    share_bound = _share_bound(reached, n, beta)
    wanted = n_reached / n_reference - MARGIN_SHARE
    is_same = (mean_bound < expected * (1 + MARGIN_MEAN)) & (share_bound > wanted)
    found = np.select(
        [is_slower, is_same & is_faster, is_same], [Found.SLOWER, Found.FASTER, Found.SAME], Found.UNCLEAR
    )
    return Stage(
        *(n, mean, expected + reach, expected - reach, later, sooner, more, fewer, p_share),
        *(mean_bound, share_bound, found),
    )


def decide(
    now: Sample, reference: Sample, stages: tuple[int, ...] = STAGES
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Run the stages of many gates until each gate has a conclusion.

    Args:
        now: Trainings of the gates, ``(gates, n)``, with at least as many seeds as the last stage.
        reference: Recorded trainings, ``(n_reference,)``.
        stages: Number of seeds at each stage.

    Returns:
        The conclusion of each gate, ``(gates,)``, and the number of seeds that it needed, ``(gates,)``.
    """
    found = np.full(now.first_zero.shape[0], int(Found.UNCLEAR))
    n = np.full(len(found), stages[-1])
    for stage, seeds in enumerate(stages):
        open_ = np.flatnonzero(found == Found.UNCLEAR)
        if not len(open_):
            break
        rows = Sample(now.first_zero[open_], now.errors[open_], now.budget)
        found[open_] = look(rows, reference, stage, stages).found
        n[open_] = seeds
    return found, n


def _ranks(now: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """One-sided p-values of the Mann-Whitney test, for values lower and for values higher than the reference's.

    For first zero epochs with the seeds that never reach zero last, this is Gehan's test for censored data, because all
    trainings have the same budget.
    """
    theirs = np.broadcast_to(reference, (*now.shape[:-1], len(reference)))
    lower, higher = (
        mannwhitneyu(now, theirs, axis=-1, alternative=side, method="asymptotic").pvalue for side in ("less", "greater")
    )
    return np.atleast_1d(lower), np.atleast_1d(higher)


def _welch_half(now: Floats, reference: Floats, level: float) -> Floats:
    """The distance of a one-sided confidence bound from the difference of two means, by Welch's method."""
    parts = now.var(axis=-1, ddof=1) / now.shape[-1], reference.var(ddof=1) / len(reference)
    whole = parts[0] + parts[1]
    with np.errstate(invalid="ignore"):  # equal values have no interval; the bound is NaN and excludes nothing
        freedom = whole**2 / (parts[0] ** 2 / (now.shape[-1] - 1) + parts[1] ** 2 / (len(reference) - 1))
    return np.asarray(stdtrit(freedom, 1 - level) * np.sqrt(whole))


def _share_bound(reached: NDArray[np.int_], n: int, level: float) -> Floats:
    """The exact one-sided lower confidence bound of a share, by Clopper and Pearson."""
    bound = np.where(reached == 0, 0.0, 1 - bdtri(n - reached, n, level))
    return np.asarray(bound)


def resample(pool: Sample, gates: int, n: int, random: np.random.Generator) -> Sample:
    """Simulated gates, ``(gates, n)``, whose seeds are drawn with replacement from recorded trainings."""
    chosen = random.integers(0, pool.n, (gates, n))
    return Sample(pool.first_zero[chosen], pool.errors[chosen], pool.budget)


def sample(first_zero: Sequence[int | None], errors: ArrayLike, budget: int) -> Sample:
    """A sample from plain values. None marks a training that never reached zero."""
    epochs = np.array([np.inf if epoch is None else epoch for epoch in first_zero], np.float64)
    return Sample(epochs, np.asarray(errors, np.float64), budget)


def slower(reference: Sample, by: float) -> Sample:
    """The reference with every first zero epoch later by a relative amount. Its error counts stay unchanged.

    An epoch stands for a random moment within it. Without this, rounding up would add half an epoch to every seed.
    """
    within = np.random.Generator(np.random.PCG64(4)).random(reference.first_zero.shape)
    later = np.ceil((reference.first_zero - within) * (1 + by))
    return Sample(np.where(later > reference.budget, np.inf, later), reference.errors, reference.budget)


def power(reference: Sample, by: float, stages: tuple[int, ...]) -> float:
    """The share of simulated gates that find training slower, if it is slower by a relative amount."""
    random = np.random.Generator(np.random.PCG64(1))
    gates = resample(slower(reference, by), _SIMULATED, stages[-1], random)
    found, _ = decide(gates, reference, stages)
    return float((found == Found.SLOWER).mean())


def detectable(reference: Sample, stages: tuple[int, ...], wanted: float = 0.9) -> float | None:
    """The smallest slowdown that gates detect with the wanted probability; None if they do not detect even +50%."""
    place = bisect_left(_PERCENTS, wanted, key=lambda percent: power(reference, percent / 100, stages))
    return _PERCENTS[place] / 100 if place < len(_PERCENTS) else None
