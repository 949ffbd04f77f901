"""Intervals and tests for proportions, error counts and first zero epochs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import scipy  # scipy.stats is loaded on first use, because loading takes a third of a second
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95

# A permutation test enumerates all rearrangements if there are at most this many. Otherwise, it draws this number minus
# one at random. A fixed seed makes p-values reproducible. The standard error of a drawn p-value of 0.02 is 0.001.
_REARRANGEMENTS = 2**14
_SEED = 20120731

# Sums with a smaller relative difference are ties, because rounding alone can cause such a difference.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """An estimate from ``n`` observations, with its confidence interval. Missing numbers are NaN."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, eq=False)
class Survival:
    """A survival curve: the proportion of trainings that have not reached zero errors, by epoch.

    Attributes:
        epoch: Epochs at which at least one training first reached zero errors, ``(k,)``, ascending.
        share_left: Estimated proportion of trainings that have not reached zero after each of these epochs, ``(k,)``.
        low: Pointwise lower bounds of the proportion, ``(k,)``.
        high: Pointwise upper bounds of the proportion, ``(k,)``.
        n: Number of trainings.
        n_reached: Number of trainings that reached zero errors while they were observed.
        last_epoch: Number of epochs of the longest training; 0 without trainings.
    """

    epoch: NDArray[np.float64]
    share_left: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int
    n_reached: int
    last_epoch: float

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return epochs, proportion, lower bound and upper bound for Matplotlib's ``step(where="post")``.

        The curve starts at epoch 0 with a proportion of 1 and ends at the last observed epoch.
        """
        epochs = np.concatenate([[0.0], self.epoch, [self.last_epoch]])
        share, low, high = (
            np.concatenate([[1.0], values, values[-1:] if len(values) else [1.0]])
            for values in (self.share_left, self.low, self.high)
        )
        return epochs, share, low, high


def wilson(successes: int, n: int, *, level: float = LEVEL) -> Estimate:
    """Estimate a proportion with Wilson's score interval. For 8 of 8, the lower bound is 68%.

    Raises:
        ValueError: ``successes`` is negative or above ``n``.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= successes <= n:
        msg = f"{successes} of {n} is not a valid proportion"
        raise ValueError(msg)
    if n == 0:
        return Estimate(math.nan, 0.0, 1.0, 0)
    found = scipy.stats.binomtest(successes, n).proportion_ci(level, "wilson")
    return Estimate(successes / n, float(found.low), float(found.high), n)


def survival(epochs: ArrayLike, reached: ArrayLike, *, level: float = LEVEL) -> Survival:
    """Estimate the Kaplan-Meier curve of trainings that have not reached zero errors, with log-log bounds.

    The bounds use Greenwood's variance. They are undefined where the curve is zero. The function then sets the lower
    bound to zero, and the upper bound to its last defined value.

    Args:
        epochs: First zero epoch of each training, or the last epoch if it never reached zero errors, ``(n,)``.
        reached: Whether each training reached zero errors, ``(n,)``.
        level: Level of the pointwise bounds.

    Sources: E. L. Kaplan and P. Meier, "Nonparametric estimation from incomplete observations", JASA 53 (1958);
    J. D. Kalbfleisch and R. L. Prentice, "The statistical analysis of failure time data", 2nd ed. (2002), 1.4.
    """
    times, is_reached = _observed(epochs, reached)
    at = np.unique(times[is_reached])
    share, low, high = (np.ones(0),) * 3
    if len(at):
        left = scipy.stats.ecdf(scipy.stats.CensoredData.right_censored(times, ~is_reached)).sf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SciPy warns of undefined bounds.
            bounds: Any = left.confidence_interval(level, method="log-log")  # SciPy's type stubs are wrong.
        share, low, high = (curve.evaluate(at) for curve in (left, bounds.low, bounds.high))
        if share[-1] == 0:
            low[-1], high[-1] = 0.0, high[-2] if len(at) > 1 else 1.0
    return Survival(at, share, low, high, len(times), int(is_reached.sum()), float(times.max(initial=0.0)))


def restricted_mean(epochs: ArrayLike, reached: ArrayLike, budget: float, *, level: float = LEVEL) -> Estimate:
    """Estimate the restricted mean of the first zero epoch: the mean of ``min(first zero epoch, budget)``.

    The restricted mean is the area under the survival curve up to the budget. If every training was observed for the
    whole budget, the estimate is the plain mean with Student's t interval. Trainings that stopped earlier are censored
    at their last epoch. The interval is then approximate: it uses Greenwood's variance with n - 1 degrees of freedom.

    Args:
        epochs: First zero epoch of each training, or the last epoch if it never reached zero errors, ``(n,)``.
        reached: Whether each training reached zero errors, ``(n,)``.
        budget: Number of epochs.
        level: Level of the interval.

    Raises:
        ValueError: The longest training ended before the budget and without zero errors, so the mean is unknown.

    Source: P. Royston and M. K. B. Parmar, "Restricted mean survival time", BMC Med. Res. Methodol. 13:152 (2013);
    variance: J. P. Klein and M. L. Moeschberger, "Survival analysis", 2nd ed. (2003), 4.5.
    """
    times, is_reached = _observed(epochs, reached)
    n = len(times)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    last = times.max()
    if last < budget and not is_reached[times == last].all():
        msg = f"no training was observed for {budget:g} epochs, and some still had errors after epoch {last:g}"
        raise ValueError(msg)
    is_late = times >= budget
    at, events, at_risk = _table(np.where(is_late, budget, times), is_reached & ~is_late)
    share = np.cumprod(1 - events / at_risk)
    areas = np.diff([0.0, *at, budget]) * np.concatenate([[1.0], share])
    left = np.cumsum(areas[::-1])[::-1][1:]  # the area under the curve after each of these epochs
    open_ = at_risk > events
    variance = float(np.sum(left[open_] ** 2 * events[open_] / (at_risk[open_] * (at_risk[open_] - events[open_]))))
    # The factor n / (n - 1) turns the variance into that of a plain mean if no training is censored.
    return _with_t(float(areas.sum()), math.sqrt(variance * n / (n - 1)) if n > 1 else math.nan, n, n - 1, level)


def median_epoch(epochs: ArrayLike, reached: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Estimate the median first zero epoch. It is infinite if fewer than half of the trainings reached zero errors.

    The interval is exact (from order statistics) if every training that never reached zero errors lasted at least until
    the latest first zero epoch. Otherwise it contains the epochs at which the bounds of the survival curve enclose one
    half. With too few trainings (fewer than 6 at 95%), the interval is from epoch 1 to infinity.

    Args:
        epochs: First zero epoch of each training, or the last epoch if it never reached zero errors, ``(n,)``.
        reached: Whether each training reached zero errors, ``(n,)``.
        level: Level of the interval.

    Sources: H. A. David and H. N. Nagaraja, "Order statistics", 3rd ed. (2003), 7.1; R. Brookmeyer and J. Crowley,
    "A confidence interval for the median survival time", Biometrics 38 (1982).
    """
    times, is_reached = _observed(epochs, reached)
    n = len(times)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    curve = survival(times, is_reached, level=level)
    value = _first(curve.epoch, curve.share_left <= 0.5 + _ROUNDING)
    tail = (1 - level) / 2
    rank = sum(float(scipy.stats.binom.cdf(k, n, 0.5)) <= tail for k in range(n))
    if rank == 0:
        return Estimate(value, 1.0, math.inf, n)
    if is_reached.all() or times[~is_reached].min() >= times[is_reached].max(initial=0.0):
        ordered = np.sort(np.where(is_reached, times, math.inf))
        return Estimate(value, float(ordered[rank - 1]), float(ordered[n - rank]), n)
    low, high = _first(curve.epoch, curve.low <= 0.5), _first(curve.epoch, curve.high < 0.5)
    return Estimate(value, low, high, n)


def paired_difference(a: ArrayLike, b: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Estimate the mean of ``b - a`` over pairs, with Student's t interval.

    Raises:
        ValueError: The two arrays differ in length.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    differences = _differences(a, b)
    return _with_interval(
        _mean(differences), len(differences), lambda: scipy.stats.ttest_1samp(differences, 0.0), level
    )


def unpaired_difference(a: ArrayLike, b: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Estimate the mean of ``b`` minus the mean of ``a``, with Welch's t interval.

    ``n`` of the estimate counts the values of both groups.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34 (1947).
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    n, value = len(first) + len(second), _mean(second) - _mean(first)
    if min(len(first), len(second)) < 2:
        return Estimate(value, math.nan, math.nan, n)
    if not first.var() and not second.var():
        return Estimate(value, value, value, n)
    return _with_interval(value, n, lambda: scipy.stats.ttest_ind(second, first, equal_var=False), level)


def paired_test(a: ArrayLike, b: ArrayLike) -> float:
    """Return the two-sided p-value of a sign-flip test of the mean of ``b - a`` over pairs.

    The test assumes no distribution, so it suits counts with ties and many zeros. Pairs without a difference have no
    effect. For up to 14 pairs with a difference, the test enumerates every choice of signs. For more pairs, it draws
    signs with a fixed seed. The smallest possible p-value of eight pairs is 2 / 256. SciPy's ``permutation_test`` gives
    the same p-value and takes 50 to 100 times as long.

    Raises:
        ValueError: The two arrays differ in length.

    Source: R. A. Fisher, "The design of experiments" (1935), 21; B. Phipson and G. K. Smyth, "Permutation p-values
    should never be zero", Stat. Appl. Genet. Mol. Biol. 9 (2010), for random draws.
    """
    differences = _differences(a, b)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    signs, is_every = _signs(len(differences))
    # The absolute differences are sorted, so the p-value does not depend on the order of the pairs or of a and b.
    sizes = np.sort(np.abs(differences))
    return _share_as_far(_sums(signs, sizes), float(differences.sum()), sizes.sum(), is_every=is_every)


def unpaired_test(a: ArrayLike, b: ArrayLike) -> float:
    """Return the two-sided p-value of a permutation test of the mean of ``b`` minus the mean of ``a``.

    The test keeps its significance level for any group sizes and any ties. The approximate Mann-Whitney and
    Brunner-Munzel tests do not keep theirs for groups of eight. The test enumerates all divisions of the values into
    two groups of these sizes, if there are at most 16,384. Otherwise, it draws divisions with a fixed seed. SciPy
    defines another two-sided p-value: twice the smaller tail. The two definitions differ for groups of different sizes.

    Raises:
        ValueError: One of the two arrays is empty.

    Sources: see :func:`paired_test`.
    """
    first, second = _groups(a, b)
    pool = np.concatenate([first, second])
    seen = float((second - pool.mean()).sum())
    # The values are sorted, so the p-value does not depend on their order. ``is_chosen`` marks the smaller group.
    sizes = np.sort(pool - pool.mean())
    is_chosen, is_every = _divisions(max(len(first), len(second)), min(len(first), len(second)))
    return _share_as_far(_sums(is_chosen, sizes), seen, np.abs(sizes).sum(), is_every=is_every)


def rank_test(a: ArrayLike, b: ArrayLike) -> float:
    """Return the p-value of a one-sided Mann-Whitney test for values of ``a`` that are higher than values of ``b``.

    The p-value comes from permutations, so it suits any ties and groups too small for the normal approximation. The
    test enumerates all divisions into two groups of these sizes, if there are at most 16,384. Otherwise, it draws some.

    Raises:
        ValueError: One of the two arrays is empty.

    Sources: see :func:`paired_test`.
    """
    first, second = _groups(a, b)
    ranks = scipy.stats.rankdata(np.concatenate([first, second]))
    is_second, is_every = _divisions(len(first), len(second))
    sums = ranks.sum() - _sums(is_second, np.sort(ranks))
    as_high = int(np.count_nonzero(sums >= ranks[: len(first)].sum() - _ROUNDING * len(ranks)))
    return as_high / len(sums) if is_every else (as_high + 1) / (len(sums) + 1)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test, from the binomial distribution.

    ``only_a`` is the number of images that only A misclassifies, and ``only_b`` the number that only B misclassifies.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947).
    """
    n = only_a + only_b
    return float(scipy.stats.binomtest(only_a, n).pvalue) if n else 1.0


def holm(p_values: ArrayLike) -> list[float]:
    """Adjust p-values by Holm's method, which controls the family-wise error rate.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values)
    adjusted = np.empty(len(values))
    factors = np.arange(len(values), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * values[order]))
    return [float(value) for value in adjusted]


def _with_interval(value: float, n: int, test: Callable[[], Any], level: float) -> Estimate:
    """Return a mean with the confidence interval of a SciPy test. The interval is NaN if ``n`` is below 2."""
    if n < 2:
        return Estimate(value, math.nan, math.nan, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy warns if all values are equal.
        found = test().confidence_interval(level)
    return Estimate(value, float(found.low), float(found.high), n)


def _with_t(value: float, error: float, n: int, freedom: float, level: float) -> Estimate:
    half = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * error if freedom > 0 else math.nan
    return Estimate(value, value - half, value + half, n)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _groups(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not (len(first) and len(second)):
        msg = "a test needs at least one value in each group"
        raise ValueError(msg)
    return first, second


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        msg = f"{len(first)} and {len(second)} values do not form pairs"
        raise ValueError(msg)
    return second - first


def _observed(epochs: ArrayLike, reached: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    times, is_reached = np.asarray(epochs, np.float64), np.asarray(reached, np.bool_)
    if times.shape != is_reached.shape or not np.isfinite(times).all():
        msg = "each training needs a finite epoch number, and a flag: whether it reached zero errors"
        raise ValueError(msg)
    return times, is_reached


def _table(
    times: NDArray[np.float64], is_reached: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the distinct first zero epochs. For each: its number of trainings, and the number of trainings at risk."""
    at, events = np.unique(times[is_reached], return_counts=True)
    at_risk = len(times) - np.searchsorted(np.sort(times), at)
    return at, events.astype(np.float64), at_risk.astype(np.float64)


def _first(epochs: NDArray[np.float64], is_so: NDArray[np.bool_]) -> float:
    found = np.flatnonzero(is_so)
    return float(epochs[found[0]]) if len(found) else math.inf


def _sums(rows: NDArray[np.int8], values: NDArray[np.float64]) -> NDArray[np.float64]:
    # ``einsum`` does not use BLAS, whose threads take ten times as long on busy cores.
    return np.asarray(np.einsum("ij,j->i", rows, values))


def _share_as_far(sums: NDArray[np.float64], seen: float, scale: float, *, is_every: bool) -> float:
    """Return the p-value: the fraction of rearrangements whose sum is at least as far from zero as the observed sum."""
    as_far = int(np.count_nonzero(np.abs(sums) >= abs(seen) - _ROUNDING * scale))
    return as_far / len(sums) if is_every else (as_far + 1) / (len(sums) + 1)


@lru_cache(maxsize=16)
def _signs(n: int) -> tuple[NDArray[np.int8], bool]:
    """Return choices of ``n`` signs (1 or -1), ``(choices, n)``, and whether these are all possible choices."""
    is_every = 2**n <= _REARRANGEMENTS
    if is_every:
        is_turned = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        is_turned = np.random.default_rng(_SEED).integers(0, 2, (_REARRANGEMENTS - 1, n))
    return np.where(is_turned, np.int8(-1), np.int8(1)), is_every


@lru_cache(maxsize=16)
def _divisions(n_first: int, n_second: int) -> tuple[NDArray[np.int8], bool]:
    """Return divisions into two groups (0: first, 1: second), ``(divisions, n)``, and whether these are all of them."""
    n = n_first + n_second
    is_every = math.comb(n, n_second) <= _REARRANGEMENTS
    if is_every:
        chosen = np.array(list(combinations(range(n), n_second)))
    else:
        chosen = np.random.default_rng(_SEED).random((_REARRANGEMENTS - 1, n)).argsort(axis=1)[:, :n_second]
    rows = np.zeros((len(chosen), n), np.int8)
    np.put_along_axis(rows, chosen, np.int8(1), axis=1)
    return rows, is_every
