"""The gate's rule: does training reach zero errors as soon as in the reference? Compares seeds in stages.

The rule is written over many gates at once, so that what is simulated is what is run: one gate is an array of one row.
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

# How many seeds have been trained when a stage is looked at.
# With the baseline's own the first fill two calls of the fast engine on two cores, the second two more.
STAGES = (15, 31, 63)

# What of the whole gate's false alarms each measure may use.
ALPHA_MEAN, ALPHA_ERRORS, ALPHA_SHARE = 0.003, 0.002, 0.001

# A mean counts as moved only if ranks agree at this level: a few seeds that never reach zero move the mean of few by
# far more often than a t-test takes for possible, and they have a test of their own.
CROSS_CHECK = 0.01

# The largest probability that a gate stops early with PASS although training is slower by the margin.
BETA = 0.04

# What is to be noticed: this much later, relatively; and so many points fewer seeds that reach zero.
MARGIN_MEAN, MARGIN_SHARE = 0.10, 0.20

# A difference below this is no matter however sure it is.
GAP_EPOCHS = GAP_ERRORS = 1.0


# Gates that are simulated to find out what can be noticed, and the slowdowns that they are tried with.
_SIMULATED = 400
_PERCENTS = (*range(1, 11), 12, 15, 20, 25, 30, 40, 50)


class Found(IntEnum):
    """What the seeds so far say."""

    UNCLEAR = 0
    SAME = 1
    FASTER = 2
    SLOWER = 3


@dataclass(frozen=True, eq=False)
class Sample:
    """Trainings of the baseline with other seeds.

    Attributes:
        first_zero: ``(..., n)``, each training's first epoch without error; infinite where there was none.
        errors: ``(..., n)``, its errors after the early epoch at which these are compared.
        budget: epochs that each was trained.
    """

    first_zero: Floats
    errors: Floats
    budget: int

    @property
    def n(self) -> int:
        """Seeds."""
        return int(self.first_zero.shape[-1])

    @property
    def n_reached(self) -> int:
        """How many reach zero, of all."""
        return int(np.count_nonzero(np.isfinite(self.first_zero)))

    @property
    def epochs(self) -> Floats:
        """The first zero epochs, a miss counted as the budget."""
        return np.minimum(self.first_zero, self.budget)

    @property
    def with_misses_last(self) -> Floats:
        """The first zero epochs in their order, a miss after all of them: what ranks are taken of."""
        return np.minimum(self.first_zero, self.budget + 1)

    def first(self, n: int) -> Sample:
        """The first ``n`` seeds."""
        return Sample(self.first_zero[..., :n], self.errors[..., :n], self.budget)


def stages_of(n: int) -> tuple[int, ...]:
    """The looks of a gate with at most this number of seeds."""
    return (*(stage for stage in STAGES if stage < n), n)


def spent(level: float, n: int, most: int) -> float:
    """How much of an error rate may be used up when ``n`` of at most ``most`` seeds are in: its square law.

    Source: K. Kim and D. L. DeMets, "Design and analysis of group sequential tests based on the type I error spending
    rate function", Biometrika 74 (1987), with rho = 2.
    """
    return level * (n / most) ** 2


def share_of(level: float, stage: int, stages: tuple[int, ...]) -> float:
    """What a stage may use: what has been set free since the one before.

    The tests of the stages are each held to their own part, so the whole holds whatever their dependence.
    """
    before = spent(level, stages[stage - 1], stages[-1]) if stage else 0.0
    return spent(level, stages[stage], stages[-1]) - before


@dataclass(frozen=True, eq=False)
class Stage:
    """One look at the seeds so far, for many gates at once; every array is ``(gates,)``.

    Attributes:
        n: seeds.
        mean: first zero epoch of now, a miss counted as the budget.
        slowest, fastest: between these the mean is no different from the reference's.
        p_later, p_sooner: one-sided, by ranks, that first zero epochs are no later, or no sooner.
        p_errors: one-sided, that errors at the early epoch are no more than the reference's.
        p_errors_fewer: the mirror of it.
        p_share: one-sided, that no fewer reach zero.
        mean_bound: the mean is below this, but for its part of :data:`BETA`.
        share_bound: the share that reaches zero is above this, likewise.
        found: what is concluded.
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
    """Look at the seeds of a stage; the first of ``now``, ``(gates, at least as many)``."""
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
    """What many gates come to, ``(gates,)``, and after how many seeds, ``(gates,)``."""
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
    """One-sided p of Mann and Whitney's test that values are lower, and higher, than the reference's.

    Of first zero epochs with misses last it is Gehan's test for censored data, as all are watched equally long.
    """
    theirs = np.broadcast_to(reference, (*now.shape[:-1], len(reference)))
    lower, higher = (
        mannwhitneyu(now, theirs, axis=-1, alternative=side, method="asymptotic").pvalue for side in ("less", "greater")
    )
    return np.atleast_1d(lower), np.atleast_1d(higher)


def _welch_half(now: Floats, reference: Floats, level: float) -> Floats:
    """Half the width of a one-sided interval of the difference of two means."""
    parts = now.var(axis=-1, ddof=1) / now.shape[-1], reference.var(ddof=1) / len(reference)
    whole = parts[0] + parts[1]
    with np.errstate(invalid="ignore"):  # values that are all the same have no interval: NaN, which excludes nothing
        freedom = whole**2 / (parts[0] ** 2 / (now.shape[-1] - 1) + parts[1] ** 2 / (len(reference) - 1))
    return np.asarray(stdtrit(freedom, 1 - level) * np.sqrt(whole))


def _share_bound(reached: NDArray[np.int_], n: int, level: float) -> Floats:
    """The exact one-sided lower bound of a share (Clopper and Pearson's)."""
    bound = np.where(reached == 0, 0.0, 1 - bdtri(n - reached, n, level))
    return np.asarray(bound)


def resample(pool: Sample, gates: int, n: int, random: np.random.Generator) -> Sample:
    """Gates with seeds drawn from a pool of recorded trainings, with replacement."""
    chosen = random.integers(0, pool.n, (gates, n))
    return Sample(pool.first_zero[chosen], pool.errors[chosen], pool.budget)


def sample(first_zero: Sequence[int | None], errors: ArrayLike, budget: int) -> Sample:
    """Trainings from plain values; None is one that never had an epoch without error."""
    epochs = np.array([np.inf if epoch is None else epoch for epoch in first_zero], np.float64)
    return Sample(epochs, np.asarray(errors, np.float64), budget)


def slower(reference: Sample, by: float) -> Sample:
    """The reference as if every seed had taken so much longer, relatively; its errors stay as they are.

    An epoch stands for any moment within it: else to round up would add half an epoch to all.
    """
    within = np.random.Generator(np.random.PCG64(4)).random(reference.first_zero.shape)
    later = np.ceil((reference.first_zero - within) * (1 + by))
    return Sample(np.where(later > reference.budget, np.inf, later), reference.errors, reference.budget)


def power(reference: Sample, by: float, stages: tuple[int, ...]) -> float:
    """How often a gate finds that training takes so much longer, relatively."""
    random = np.random.Generator(np.random.PCG64(1))
    gates = resample(slower(reference, by), _SIMULATED, stages[-1], random)
    found, _ = decide(gates, reference, stages)
    return float((found == Found.SLOWER).mean())


def detectable(reference: Sample, stages: tuple[int, ...], wanted: float = 0.9) -> float | None:
    """The smallest of some slowdowns that a gate finds so often; None if it finds not even half again as long."""
    place = bisect_left(_PERCENTS, wanted, key=lambda percent: power(reference, percent / 100, stages))
    return _PERCENTS[place] / 100 if place < len(_PERCENTS) else None
