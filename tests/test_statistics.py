"""Intervals and tests against SciPy's and statsmodels', and how often they are right when it is known what is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from harness import statistics
from harness.statistics import Estimate

# Of 4000 simulated intervals of 95% the share that covers has a standard error of 0.0034; three of them are allowed.
ROUNDS = 4000
MONTE_CARLO = 3 * math.sqrt(0.95 * 0.05 / ROUNDS)

Trainings = tuple[NDArray[np.float64], NDArray[np.bool_]]
EPOCHS = st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=1, max_size=40)
COUNTS = st.lists(st.integers(0, 6), min_size=2, max_size=7)
# SciPy goes through thousands of rearrangements an example, in Python.
FEW = settings(max_examples=20, deadline=None)


def trainings(seed: int, n: int, *, budget: float = math.inf, stops: float = math.inf) -> Trainings:
    """First zero epochs as the baseline has them, some cut off at the budget and some stopped before."""
    rng = np.random.default_rng(seed)
    zero = np.round(np.exp(rng.normal(4.09, 0.11, n)))
    watched = np.minimum(budget, np.ceil(rng.exponential(stops, n)) if math.isfinite(stops) else math.inf)
    return np.minimum(zero, watched), zero <= watched


def coverage(made: Iterator[Estimate], truth: float) -> float:
    return float(np.mean([estimate.low <= truth <= estimate.high for estimate in made]))


def test_eight_of_eight_supports_two_thirds() -> None:
    assert statistics.wilson(8, 8).low == pytest.approx(0.676, abs=5e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 8), (8, 8), (1, 1), (3, 8), (31, 32), (128, 256)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_share_is_statsmodels_wilson(successes: int, n: int, level: float) -> None:
    found = statistics.wilson(successes, n, level=level)
    low, high = proportion_confint(successes, n, 1 - level, method="wilson")
    assert (found.value, found.n) == (successes / n, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_no_trial_supports_any_share_and_a_share_above_one_is_none() -> None:
    nothing = statistics.wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0, 1)
    with pytest.raises(ValueError, match="9 of 8"):
        statistics.wilson(9, 8)


@pytest.mark.parametrize("n", [8, 32])
def test_a_share_is_covered_as_often_as_said_on_average(n: int) -> None:
    # Exactly: every count weighed by its probability, over shares spread evenly. Wilson's promise is of the average.
    shares = np.linspace(0.005, 0.995, 199)
    covers = np.array([[e.low <= p <= e.high for e in (statistics.wilson(k, n) for k in range(n + 1))] for p in shares])
    weights = scipy_stats.binom.pmf(np.arange(n + 1), n, shares[:, None])
    assert (covers * weights).sum(axis=1).mean() == pytest.approx(0.95, abs=0.006)


@given(EPOCHS)
def test_a_survival_curve_is_scipys_and_statsmodels(observed: list[tuple[int, bool]]) -> None:
    times, reached = np.array([epoch for epoch, _ in observed], float), np.array([is_so for _, is_so in observed])
    found = statistics.survival(times, reached)
    left = scipy_stats.ecdf(scipy_stats.CensoredData(uncensored=times[reached], right=times[~reached])).sf
    theirs = SurvfuncRight(times, reached.astype(int))
    at = np.isin(theirs.surv_times, found.epoch)
    assert list(found.epoch) == sorted(set(times[reached]))
    assert found.share_left == pytest.approx(left.evaluate(found.epoch), abs=1e-12)
    assert found.share_left == pytest.approx(theirs.surv_prob[at], abs=1e-12)
    assert (found.n, found.n_reached, found.last_epoch) == (len(times), reached.sum(), times.max())
    assert (found.low <= found.share_left).all()
    assert (found.high >= found.share_left).all()


def test_the_bounds_of_a_survival_curve_are_scipys() -> None:
    times, reached = trainings(1, 40, budget=64, stops=200)
    # SciPy warns of its bounds before the first event.
    is_after = times >= times[reached].min()
    times, reached = times[is_after], reached[is_after]
    found = statistics.survival(times, reached, level=0.9)
    assert 0 < reached.sum() < len(times)
    sample = scipy_stats.CensoredData(uncensored=times[reached], right=times[~reached])
    # Its stubs take the bounds for numbers.
    theirs: Any = scipy_stats.ecdf(sample).sf.confidence_interval(0.9, method="log-log")
    assert found.share_left[-1] > 0
    assert found.low == pytest.approx(theirs.low.evaluate(found.epoch), abs=1e-9)
    assert found.high == pytest.approx(theirs.high.evaluate(found.epoch), abs=1e-9)


def test_a_survival_curve_is_drawn_from_epoch_0_to_the_last_that_was_watched() -> None:
    epochs, share, low, high = statistics.survival([50, 60, 100], [True, True, False]).steps()
    assert epochs.tolist() == [0, 50, 60, 100]
    assert share == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3])
    assert low[0] == high[0] == 1
    assert [values.tolist() for values in statistics.survival([], []).steps()] == [[0, 0], [1, 1], [1, 1], [1, 1]]


def test_bounds_stay_where_no_training_is_left() -> None:
    found = statistics.survival([50, 60], [True, True])
    assert (found.low[-1], found.high[-1]) == (0, found.high[0])


def test_what_is_no_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="each training needs a finite epoch number"):
        statistics.survival([math.nan], [True])
    with pytest.raises(ValueError, match="each training needs a finite epoch number"):
        statistics.median_epoch([1.0, 2.0], [True])


def test_the_bounds_of_a_survival_curve_cover_as_often_as_said() -> None:
    truth = 1 - scipy_stats.norm.cdf((math.log(58.5) - 4.09) / 0.11)

    def bounds() -> Iterator[Estimate]:
        for seed in range(ROUNDS):
            found = statistics.survival(*trainings(seed, 32, stops=150))
            place = np.searchsorted(found.epoch, 58, side="right") - 1
            if place >= 0:
                yield Estimate(math.nan, found.low[place], found.high[place], 32)

    # The curve moves in steps of one training in 32, and Greenwood's variance is a large sample's: a hundredth more.
    assert coverage(bounds(), float(truth)) == pytest.approx(0.95, abs=MONTE_CARLO + 0.01)


def test_a_mean_of_trainings_that_were_all_watched_is_a_mean() -> None:
    times, reached = trainings(2, 16, budget=62)
    found = statistics.restricted_mean(times, reached, 62)
    theirs = scipy_stats.ttest_1samp(times, 0).confidence_interval(0.95)
    assert 0 < reached.sum() < 16
    assert found.value == pytest.approx(times.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


@given(EPOCHS, st.integers(1, 30))
def test_a_restricted_mean_is_the_area_under_the_survival_curve(observed: list[tuple[int, bool]], budget: int) -> None:
    times, reached = np.array([epoch for epoch, _ in observed], float), np.array([is_so for _, is_so in observed])
    if times.max() < budget and not reached[times == times.max()].all():
        with pytest.raises(ValueError, match="still had errors"):
            statistics.restricted_mean(times, reached, budget)
        return
    theirs = SurvfuncRight(times, reached.astype(int))
    left = [theirs.surv_prob[theirs.surv_times <= epoch][-1:] for epoch in range(budget)]
    area = sum(float(share[0]) if len(share) else 1.0 for share in left)
    assert statistics.restricted_mean(times, reached, budget).value == pytest.approx(area)


def test_one_training_has_a_mean_and_no_interval_and_none_has_neither() -> None:
    one = statistics.restricted_mean([56], [True], 100)
    assert (one.value, one.n) == (56, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(statistics.restricted_mean([], [], 100).value)


@pytest.mark.parametrize("stops", [math.inf, 150])
def test_a_restricted_mean_is_covered_as_often_as_said(stops: float) -> None:
    truth = float(np.minimum(trainings(-1 % 2**32, 1_000_000)[0], 65).mean())
    found = (statistics.restricted_mean(*trainings(seed, 32, budget=80, stops=stops), 65) for seed in range(ROUNDS))
    # First zero epochs are skewed and, cut at 65, heaped there; stopped trainings make the interval approximate.
    assert coverage(found, truth) == pytest.approx(0.95, abs=MONTE_CARLO + 0.01)


def test_a_median_counts_misses() -> None:
    assert statistics.median_epoch([50, 60, 100], [True, True, False]).value == 60
    assert statistics.median_epoch([50, 100, 100], [True, False, False]).value == math.inf
    none = statistics.median_epoch([100] * 8, [False] * 8)
    assert (none.value, none.low, none.high) == (math.inf, math.inf, math.inf)


def test_the_bounds_of_a_median_are_order_statistics_where_misses_are_last() -> None:
    found = statistics.median_epoch([51, 52, 53, 54, 55, 56, 57, 100], [True] * 7 + [False])
    # Of 8, all lie on one side of the median with 2 / 256, and that is all that 5% allow.
    assert (found.value, found.low, found.high) == (54, 51, math.inf)
    few = statistics.median_epoch([50, 51, 52, 53, 54], [True] * 5)
    assert (few.low, few.high) == (1, math.inf)
    assert math.isnan(statistics.median_epoch([], []).value)


def test_the_bounds_of_a_median_are_brookmeyers_where_some_were_stopped_early() -> None:
    times, reached = trainings(3, 40, stops=150)
    found = statistics.median_epoch(times, reached)
    theirs = SurvfuncRight(times, reached.astype(int))
    assert found.value == theirs.quantile(0.5)
    assert (found.low, found.high) == theirs.quantile_ci(0.5, method="cloglog")


@pytest.mark.parametrize(("n", "stops"), [(8, math.inf), (32, math.inf), (32, 150)])
def test_a_median_is_covered_at_least_as_often_as_said(n: int, stops: float) -> None:
    # The median of whole epochs, so that neither side of it holds more than half.
    truth = round(math.exp(4.09))
    found = (statistics.median_epoch(*trainings(seed, n, budget=80, stops=stops)) for seed in range(ROUNDS))
    assert coverage(found, truth) >= 0.95 - MONTE_CARLO


def test_differences_are_scipys() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.poisson(22, 16).astype(float), rng.poisson(30, 16).astype(float)
    paired = statistics.paired_difference(a, b)
    theirs = scipy_stats.ttest_rel(b, a).confidence_interval(0.95)
    assert paired.value == pytest.approx((b - a).mean())
    assert paired.n == 16
    assert (paired.low, paired.high) == pytest.approx((theirs.low, theirs.high))
    unpaired = statistics.unpaired_difference(a, b[:9])
    theirs = scipy_stats.ttest_ind(b[:9], a, equal_var=False).confidence_interval(0.95)
    assert unpaired.value == pytest.approx(b[:9].mean() - a.mean())
    assert unpaired.n == 25
    assert (unpaired.low, unpaired.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("difference", [statistics.paired_difference, statistics.unpaired_difference])
def test_one_pair_has_a_difference_without_an_interval(difference: Callable[..., Estimate]) -> None:
    found = difference([3], [5])
    assert found.value == 2
    assert math.isnan(found.low)
    assert math.isnan(difference([], []).value)


def test_studies_that_never_vary_differ_by_what_they_do() -> None:
    assert statistics.unpaired_difference([0, 0], [0, 0]) == Estimate(0, 0, 0, 4)


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 values do not form pairs"):
        statistics.paired_difference([1, 2], [1])
    with pytest.raises(ValueError, match="at least one value in each group"):
        statistics.unpaired_test([], [1])


@pytest.mark.parametrize("difference", [statistics.paired_difference, statistics.unpaired_difference])
def test_a_difference_is_covered_as_often_as_said(difference: Callable[..., Estimate]) -> None:
    rng = np.random.default_rng(5)
    found = (difference(rng.normal(20, 5, 12), rng.normal(23, 5, 12)) for _ in range(ROUNDS))
    # Welch's freedom is an approximation: half a hundredth more.
    assert coverage(found, 3) == pytest.approx(0.95, abs=MONTE_CARLO + 0.005)


def mean_difference(a: NDArray[np.float64], b: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(b.mean(axis=axis) - a.mean(axis=axis))


@FEW
@given(COUNTS, st.data())
def test_a_test_of_pairs_is_scipys_over_every_sign(a: list[int], data: st.DataObject) -> None:
    b = data.draw(st.lists(st.integers(0, 6), min_size=len(a), max_size=len(a)))
    theirs = scipy_stats.permutation_test(
        (np.array(a, float), np.array(b, float)), mean_difference, permutation_type="samples", n_resamples=2**8
    )
    assert statistics.paired_test(a, b) == pytest.approx(theirs.pvalue)


@FEW
@given(COUNTS, COUNTS)
def test_a_test_of_groups_is_scipys_over_every_division(a: list[int], b: list[int]) -> None:
    arrays = np.array(a, float), np.array(b, float)
    sums = scipy_stats.permutation_test(arrays, mean_difference, n_resamples=13_000).null_distribution
    seen = abs(arrays[1].mean() - arrays[0].mean())
    # Not its own p, which is twice the smaller tail: ours counts what is as far on either side.
    assert statistics.unpaired_test(a, b) == pytest.approx(np.mean(np.abs(sums) >= seen - 1e-9))


def test_many_pairs_and_groups_are_drawn_by_chance_and_always_the_same() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.poisson(20, 32), rng.poisson(22.5, 32)
    # The p of Student's tests, for these numbers close to normal; 16,383 draws know a p of 0.05 to 0.005.
    for found, theirs in (
        (statistics.paired_test(a, b), scipy_stats.ttest_rel(a, b).pvalue),
        (statistics.unpaired_test(a, b), scipy_stats.ttest_ind(a, b).pvalue),
    ):
        assert found == pytest.approx(theirs, abs=0.015)
    assert statistics.paired_test(a, b) == statistics.paired_test(b[::-1], a[::-1])
    assert statistics.unpaired_test(a, b[:20]) == statistics.unpaired_test(b[19::-1], a)
    assert statistics.paired_test(a, a + 1) == statistics.unpaired_test(a, a + 100) == 2**-14


def test_pairs_without_a_difference_say_nothing() -> None:
    assert statistics.paired_test([0] * 50, [0] * 50) == statistics.paired_test([], []) == 1
    assert statistics.paired_test([0] * 50 + [1] * 8, [0] * 50 + [9] * 8) == 2 / 256


@pytest.mark.parametrize("test", [statistics.paired_test, statistics.unpaired_test])
def test_a_test_finds_nothing_where_there_is_nothing_as_often_as_said(test: Callable[..., float]) -> None:
    # Error counts after a spike: most zero, some large.
    rng = np.random.default_rng(7)
    drawn = rng.poisson(rng.gamma(0.3, 20, (ROUNDS, 2, 10)))
    found = np.array([test(a, b) for a, b in drawn])
    for level in (0.02, 0.05, 0.2):
        assert np.mean(found <= level) <= level + 3 * math.sqrt(level * (1 - level) / ROUNDS)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (3, 10), (10, 3), (5, 5), (0, 40)])
def test_mcnemars_test_is_statsmodels(only_a: int, only_b: int) -> None:
    theirs = statsmodels_mcnemar([[4900, only_a], [only_b, 20]], exact=True).pvalue
    assert statistics.mcnemar(only_a, only_b) == pytest.approx(1 if only_a == only_b == 0 else theirs)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_holms_rule_is_statsmodels(n: int) -> None:
    for p_values in np.random.default_rng(n).beta(0.3, 1, (4, n)):
        assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holms_rule_for_nothing_gives_nothing() -> None:
    assert statistics.holm([]) == []
