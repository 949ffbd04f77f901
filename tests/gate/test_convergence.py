"""The rule over seeds: false alarms, power and coverage, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_ind

from harness.gate import convergence as rule
from harness.gate.convergence import STAGES, Found, Sample

BUDGET = 100
# Simulated gates. What is simulated is let off where a right rule would fail the test once in 10,000.
GATES, SURE = 10_000, 1e-4
N_REFERENCE = 1024


def most(level: float, n: int = GATES) -> float:
    """So many of n may be wrong if the rate is the level."""
    return float(binom.isf(SURE, n, level))


def trainings(shape: tuple[int, ...], seed: int, later: float = 0.0, missing: float = 0.0) -> Sample:
    """Seeds such as the lab's images give: skewed, in whole epochs, with some that never reach zero.

    Errors at the early epoch and first zero epochs hang together, as they do in trainings.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    pace = random.gamma(60, 1, shape)
    first_zero = np.rint((20 + 0.66 * pace) * (1 + later) + random.normal(0, 3, shape))
    errors = np.rint(np.maximum(0, (pace - 40) * 1.1 + random.gamma(4, 1, shape)))
    first_zero[(random.random(shape) < missing) | (first_zero > BUDGET)] = np.inf
    return Sample(first_zero, errors, BUDGET)


@pytest.fixture(scope="module", params=[0.0, 0.01], ids=["none missing", "one in a hundred missing"])
def missing(request: pytest.FixtureRequest) -> float:
    """The share of seeds that never reach zero, of now and of the reference."""
    found: float = request.param
    return found


def looked(missing: float, stage: int, later: float = 0.0) -> list[tuple[rule.Stage, Sample]]:
    """Many gates, each fiftieth with a reference of its own, for the reference is drawn as well."""
    found = []
    for number in range(50):
        reference = trainings((N_REFERENCE,), number, missing=missing)
        now = trainings((GATES // 50, STAGES[-1]), 1000 + number, later, missing)
        found.append((rule.look(now, reference, stage), reference))
    return found


@pytest.mark.slow
def test_no_statistic_is_wrong_more_often_than_it_may_be(missing: float) -> None:
    wrong = dict.fromkeys(("later", "sooner", "errors", "share"), 0)
    for stage in range(len(STAGES)):
        errors, share = (rule.share_of(level, stage, STAGES) for level in (rule.ALPHA_ERRORS, rule.ALPHA_SHARE))
        for look, _ in looked(missing, stage):
            wrong["later"] += int(((look.mean > look.slowest) & (look.p_later <= rule.CROSS_CHECK)).sum())
            wrong["sooner"] += int(((look.mean < look.fastest) & (look.p_sooner <= rule.CROSS_CHECK)).sum())
            wrong["errors"] += int((look.p_errors <= errors).sum())
            wrong["share"] += int((look.p_share <= share).sum())
    assert wrong["later"] <= most(rule.ALPHA_MEAN)
    assert wrong["sooner"] <= most(rule.ALPHA_MEAN)
    assert wrong["errors"] <= most(rule.ALPHA_ERRORS)
    assert wrong["share"] <= most(rule.ALPHA_SHARE)


@pytest.mark.slow
def test_the_whole_rule_is_red_no_more_often_than_its_parts_together(missing: float) -> None:
    red = 0
    for number in range(50):
        reference = trainings((N_REFERENCE,), number, missing=missing)
        found, _ = rule.decide(trainings((GATES // 50, STAGES[-1]), 1000 + number, 0, missing), reference)
        red += int((found == Found.SLOWER).sum())
    assert red <= most(rule.ALPHA_MEAN + rule.ALPHA_ERRORS + rule.ALPHA_SHARE)


def test_what_is_the_same_passes(missing: float) -> None:
    reference = trainings((N_REFERENCE,), 1, missing=missing)
    found, n = rule.decide(trainings((2000, STAGES[-1]), 2, 0, missing), reference)
    assert (found == Found.SAME).mean() > 0.97
    assert np.median(n) <= STAGES[1]


def test_ten_percent_more_epochs_are_red_95_times_in_100(missing: float) -> None:
    reference = trainings((N_REFERENCE,), 1, missing=missing)
    later = trainings((2000, STAGES[-1]), 2, 0, missing)
    found, _ = rule.decide(rule.slower(later, 0.10), reference)
    assert (found == Found.SLOWER).mean() >= 0.95


def test_twenty_points_fewer_that_reach_zero_are_red_95_times_in_100(missing: float) -> None:
    reference = trainings((N_REFERENCE,), 1, missing=missing)
    found, _ = rule.decide(trainings((2000, STAGES[-1]), 2, 0, missing + 0.2), reference)
    assert (found == Found.SLOWER).mean() >= 0.95


def test_more_errors_alone_are_red_95_times_in_100(missing: float) -> None:
    reference = trainings((N_REFERENCE,), 1, missing=missing)
    now = trainings((2000, STAGES[-1]), 2, 0, missing)
    # Half again as many: from 26 to 39 on average, where one seed's spread is 9.
    found, _ = rule.decide(Sample(now.first_zero, now.errors * 1.5, BUDGET), reference)
    assert (found == Found.SLOWER).mean() >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("stage", range(len(STAGES)))
@pytest.mark.parametrize("later", [0.0, 0.1])
def test_the_bound_of_the_mean_covers(stage: int, later: float, missing: float) -> None:
    # The true difference, of very many trainings.
    truth = trainings((400_000,), 5, later, missing).epochs.mean() - trainings((400_000,), 6, 0, missing).epochs.mean()
    uncovered = sum(
        int((look.mean_bound - reference.epochs.mean() < truth).sum())
        for look, reference in looked(missing, stage, later)
    )
    # An upper bound of something that leans to the right is too low more often than it says: 1.3 times as often, and
    # 2.4 times where one seed in a hundred is missing, which most samples of few do not know of.
    times = 3 if missing else 1.5
    assert uncovered <= most(times * rule.share_of(rule.BETA, stage, STAGES))


@pytest.mark.parametrize("stage", range(len(STAGES)))
@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 2**32 - 1))
def test_the_bound_of_the_share_covers(stage: int, share: float, seed: int) -> None:
    n, level = STAGES[stage], rule.share_of(rule.BETA, stage, STAGES)
    reached = np.random.Generator(np.random.PCG64(seed)).binomial(n, share, 5000)
    uncovered = int((rule._share_bound(reached, n, level) > share).sum())
    assert uncovered <= binom.isf(1e-6, 5000, level)


def test_the_parts_of_a_rate_add_up_to_the_rate() -> None:
    assert sum(rule.share_of(0.003, stage, STAGES) for stage in range(len(STAGES))) == pytest.approx(0.003)


def test_the_mean_is_tested_by_the_two_sample_t_test() -> None:
    reference, now = trainings((N_REFERENCE,), 1), trainings((1, STAGES[-1]), 2, 0.05)
    look = rule.look(now, reference, 2)
    level = rule.share_of(rule.ALPHA_MEAN, 2, STAGES)
    expected = reference.epochs.mean()
    # The limit is where SciPy's test has a p of the level.
    at_limit = now.epochs[0] - now.epochs.mean() + look.slowest[0]
    assert ttest_ind(at_limit, reference.epochs, alternative="greater").pvalue == pytest.approx(level)
    assert look.slowest[0] - expected == pytest.approx(expected - look.fastest[0])


def test_a_difference_below_one_epoch_is_none_however_sure() -> None:
    reference = Sample(np.full(4000, 60.0), np.full(4000, 20.0), BUDGET)
    now = Sample(np.full((1, 63), 60.9), np.full((1, 63), 20.0), BUDGET)
    assert rule.look(now, reference, 2).found[0] == Found.SAME


def test_a_miss_counts_as_the_budget() -> None:
    seeds = rule.sample([60, None], [3, 90], BUDGET)
    assert seeds.epochs.tolist() == [60, 100]
    assert seeds.n_reached == 1


def test_many_gates_at_once_come_to_what_each_comes_to_alone() -> None:
    reference, now = trainings((N_REFERENCE,), 1), trainings((40, STAGES[-1]), 2, 0.04)
    found, n = rule.decide(now, reference)
    assert len(set(found.tolist())) > 1
    for row in range(40):
        alone = rule.decide(Sample(now.first_zero[row : row + 1], now.errors[row : row + 1], BUDGET), reference)
        assert (alone[0][0], alone[1][0]) == (found[row], n[row])


@pytest.mark.parametrize("by", [0.01, 0.07, 0.1, 0.5])
def test_what_is_made_slower_is_slower_by_that_much(by: float) -> None:
    seeds = Sample(np.tile(np.arange(40.0, 60), 2000), np.zeros(40_000), 1000)
    # A moment within an epoch, later by so much, and rounded up: as long on average, but for the half that an epoch is.
    expected = (seeds.first_zero.mean() - 0.5) * (1 + by) + 0.5
    assert rule.slower(seeds, by).epochs.mean() == pytest.approx(expected, rel=1e-3)


def test_few_seeds_find_less() -> None:
    reference = trainings((N_REFERENCE,), 1)
    few, many = rule.detectable(reference, rule.stages_of(16)), rule.detectable(reference, STAGES)
    assert few is not None
    assert many is not None
    assert many < few
    assert many <= rule.MARGIN_MEAN


@pytest.mark.parametrize(("n", "stages"), [(63, (15, 31, 63)), (40, (15, 31, 40)), (15, (15,)), (3, (3,)), (0, (0,))])
def test_a_gate_looks_at_the_stages_below_its_seeds_and_at_the_end(n: int, stages: tuple[int, ...]) -> None:
    assert rule.stages_of(n) == stages
