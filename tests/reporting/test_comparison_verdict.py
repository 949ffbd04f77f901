"""The decision of a comparison: margins, bounds, verdicts, and how often they are right when it is known what is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from harness.errors import ExitStatus
from harness.gate import reference
from harness.reporting.comparison_statistics import FIRST_ZERO, measure
from harness.reporting.comparison_verdict import ComparisonVerdict, Margins
from harness.tracking.run_record import StudyRecord
from tests.reporting.compared import compared, grid, run, study

Floats = NDArray[np.float64]

ROUNDS = 800
# Bounds that are wrong in 5% of comparisons are wrong in more than this share of simulated ones once in a thousand.
MOST_WRONG = 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / ROUNDS)
BUDGET = 100


def errors_of(seed: int) -> int:
    return 20 + 7 * seed % 5


def zero_of(seed: int) -> int:
    return 50 + 3 * seed % 7


def test_small_differences_of_either_sign_are_not_worse() -> None:
    b = grid(lambda seed: errors_of(seed) + (-1) ** seed, lambda seed: zero_of(seed) - (-1) ** seed)
    found = compared(grid(errors_of, zero_of), b)
    assert found.verdict is ComparisonVerdict.NOT_WORSE
    assert found.verdict.exit_status == ExitStatus.OK
    assert found.decision.answer == (
        "B is not worse than A: on average, zero errors come equally early (95% interval -0.894 to +0.894), and there "
        "are equally many errors at the last epoch (95% interval -0.894 to +0.894); 8 shared seeds."
    )
    # The mean of 50, 53, 56, 52, 55, 51, 54, 50 is 52.6. The bound is Student's: 1.895 standard errors of 0.378.
    assert found.decision.explanation == (
        "Harm as large as a margin is excluded with 95% confidence: zero errors come at most 0.716 epochs later "
        "(margin 5.26: 10% of A's first zero epoch), and there are at most 0.716 more errors (margin 1)."
    )


def test_large_differences_of_either_sign_decide_nothing_and_end_with_3() -> None:
    b = grid(lambda seed: errors_of(seed) + 9 * (-1) ** seed, zero_of)
    found = compared(grid(errors_of, zero_of), b)
    assert found.verdict is ComparisonVerdict.CANNOT_TELL
    assert found.verdict.exit_status == ExitStatus.INCONCLUSIVE
    assert found.decision.answer.startswith("These seeds do not show whether B is worse than A: on average, ")
    # The interval's half-width is 1.895 * 9.62 / sqrt(8) = 6.44. For 80% power, 8 * (6.44 * 1.51 / 1)**2 = 757 seeds.
    assert found.decision.explanation == (
        "Harm is not excluded: there may be up to 6.44 more errors (margin 1); if the studies are equal, about 760 "
        "seeds in each would exclude it."
    )


@pytest.mark.parametrize(("margins", "status"), [(Margins(errors=6.4), 3), (Margins(errors=6.5), 0)])
def test_the_margin_of_errors_decides(margins: Margins, status: int) -> None:
    b = grid(lambda seed: errors_of(seed) + 9 * (-1) ** seed, zero_of)
    assert compared(grid(errors_of, zero_of), b, margins).verdict.exit_status == status


@pytest.mark.parametrize(("share", "status"), [(0.13, 0), (0.12, 3)])
def test_the_margin_of_epochs_is_a_share_of_the_first_zero_epoch_of_a(share: float, status: int) -> None:
    a, b = grid(errors_of, zero_of), grid(errors_of, lambda seed: zero_of(seed) + 9 * (-1) ** seed)
    assert 0.12 * 52.6 < 1.895 * 9.62 / math.sqrt(8) < 0.13 * 52.6
    assert compared(a, b, Margins(share=share)).verdict.exit_status == status


def test_no_number_of_seeds_is_named_that_the_studies_already_have() -> None:
    # Six seeds are 6 epochs later and two are 1 epoch earlier: 4.25 epochs, and 1.895 standard errors of 1.15 more.
    found = compared(
        grid(errors_of, zero_of), grid(errors_of, lambda seed: zero_of(seed) + (-1 if seed in {3, 5} else 6))
    )
    assert found.verdict is ComparisonVerdict.CANNOT_TELL
    assert found.decision.explanation == (
        "Harm is not excluded: zero errors may come up to 6.42 epochs later (margin 5.26: 10% of A's first zero "
        "epoch); more seeds can decide."
    )


def test_a_significant_difference_below_the_margins_is_still_worse() -> None:
    found = compared(grid(errors_of, zero_of), grid(errors_of, lambda seed: zero_of(seed) + 1))
    assert found.verdict is ComparisonVerdict.WORSE
    assert found.decision.explanation == (
        "The test over seeds finds later first zero epochs in B (p 0.016). But harm above the margins is excluded."
    )


def test_better_in_one_measure_is_not_enough_if_harm_in_the_other_is_not_excluded() -> None:
    a = grid(errors_of, zero_of)
    fewer = grid(lambda seed: errors_of(seed) - 2, lambda seed: zero_of(seed) + 12 * (-1) ** seed)
    found = compared(a, fewer)
    assert found.verdict is ComparisonVerdict.CANNOT_TELL
    assert found.decision.explanation.startswith("The test over seeds finds fewer errors in B (p 0.016). Harm is not ")
    better = compared(a, grid(lambda seed: errors_of(seed) - 2, zero_of))
    assert better.verdict is ComparisonVerdict.BETTER
    assert better.verdict.exit_status == ExitStatus.OK


def test_a_mean_that_contradicts_the_ranks_is_named() -> None:
    # Seven seeds of eight have one error more, and the last one has 100 fewer.
    seeds = range(16)
    a = grid(lambda seed: 200 if seed == 0 else 10, lambda _: 50, seeds)
    b = grid(lambda seed: 100 if seed == 0 else 11, lambda _: 50, seeds)
    found = compared(a, b)
    assert found.verdict is ComparisonVerdict.WORSE
    assert found.errors.measure.difference.value == pytest.approx((15 - 100) / 16)
    assert "fewer errors at the last epoch" in found.decision.answer
    assert "although most runs of B have more errors" in found.decision.answer


def test_equal_numbers_need_no_seeds_and_other_numbers_do() -> None:
    a = grid(errors_of, zero_of, range(2))
    assert compared(a, a).verdict.exit_status == ExitStatus.OK
    found = compared(a, grid(lambda seed: errors_of(seed) + 1, zero_of, range(2)))
    assert found.verdict is ComparisonVerdict.CANNOT_TELL
    assert found.verdict.exit_status == 3
    assert found.decision.answer == "Too few seeds to tell whether B is worse than A: 2 shared seeds."


def test_a_delay_beyond_the_last_epoch_is_not_expected() -> None:
    # 10% later is 99 for four seeds. The other four would need 104.5 epochs, and only 100 are trained.
    found = compared(grid(errors_of, lambda seed: 90 if seed < 4 else 95), grid(errors_of, lambda _: 95))
    assert found.first_zero.margin == pytest.approx((9 + 5) / 2)
    assert found.first_zero.reason == "a slowdown of 10%, within the trained epochs"


def test_a_delay_cannot_be_excluded_if_no_training_reaches_zero() -> None:
    found = compared(grid(errors_of, lambda _: None), grid(lambda seed: errors_of(seed) + (-1) ** seed, lambda _: None))
    assert found.verdict is ComparisonVerdict.CANNOT_TELL
    assert "no training of either study reaches zero errors" in found.decision.answer
    assert found.decision.explanation == (
        "Harm is not excluded: no training of A reaches zero errors, so a delay is not visible."
    )


def test_pooled_numbers_count_seeds_and_not_runs() -> None:
    def read_off(more: int) -> StudyRecord:
        return study(
            run(3 * seed + place, 9 - 3 * place + more * (-1) ** seed, None, seed=seed, epochs=epochs)
            for seed in range(8)
            for place, epochs in enumerate((20, 40, 60))
        )

    found = compared(read_off(0), read_off(1)).errors.measure
    assert (found.n_a, found.n_b) == (8, 8)
    # The three variants of a seed have the same difference, so they are worth as much as one: 8 values of 1 and -1.
    theirs = scipy_stats.ttest_1samp([1, -1] * 4, 0)
    assert found.difference.high == pytest.approx(theirs.confidence_interval(0.95).high)
    assert found.bound == pytest.approx(theirs.confidence_interval(0.9).high)


def test_bounds_are_those_of_scipys_one_sided_tests() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.poisson(20, 12).astype(float), rng.poisson(22, 12).astype(float)
    paired = scipy_stats.ttest_rel(b, a, alternative="less").confidence_interval(0.95)
    assert measure(FIRST_ZERO, (a, b), is_paired=True).bound == pytest.approx(paired.high)
    groups = scipy_stats.ttest_ind(b[:9], a, equal_var=False, alternative="less").confidence_interval(0.95)
    assert measure(FIRST_ZERO, (a, b[:9]), is_paired=False).bound == pytest.approx(groups.high)
    assert math.isnan(measure(FIRST_ZERO, (a[:1], b[:1]), is_paired=True).bound)


def drawn(pool: NDArray[Any], n: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Two studies of ``n`` seeds, drawn from recorded trainings."""
    rng = np.random.default_rng(n)
    for _ in range(ROUNDS):
        a, b = pool[rng.integers(0, len(pool), (2, n))]
        yield a, b


def below(pairs: Iterator[tuple[Floats, Floats]], margin: float, *, is_paired: bool) -> float:
    """How often the bound is below the margin."""
    found = [measure("", pair, is_paired=is_paired, p=1.0).bound < margin for pair in pairs]
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("dataset", "n", "is_paired"), [("lab-5000", 8, True), ("optdigits-5000", 32, True), ("optdigits-5000", 16, False)]
)
def test_harm_of_a_margin_is_excluded_in_at_most_a_twentieth_of_comparisons(
    dataset: str, n: int, *, is_paired: bool
) -> None:
    repeats = reference.load(reference.path_of(dataset)).repeats.sample()
    more = ((a, b + 1) for a, b in drawn(repeats.errors, n))
    assert below(more, 1, is_paired=is_paired) <= MOST_WRONG
    # Zero errors come 10% later, as far as the trained epochs show it.
    late = np.minimum(repeats.first_zero * 1.1, BUDGET)
    margin = float((late - repeats.epochs).mean())
    seeds = drawn(np.arange(repeats.n), n)
    delayed = ((repeats.epochs[a], late[b]) for a, b in seeds)
    assert below(delayed, margin, is_paired=is_paired) <= MOST_WRONG


def test_equal_studies_exclude_a_slowdown_of_a_tenth_with_enough_seeds() -> None:
    repeats = reference.load(reference.path_of("lab-5000")).repeats.sample()
    found = [below(drawn(repeats.epochs, n), 0.1 * repeats.epochs.mean(), is_paired=True) for n in (8, 32)]
    # For normal values, the bound is below the margin m with the power of Student's test against a shift of m. Its
    # statistic is a noncentral t, where s is the standard deviation of a training.
    s, m = float(repeats.epochs.std()), 0.1 * float(repeats.epochs.mean())
    expected = [scipy_stats.nct.sf(scipy_stats.t.ppf(0.95, n - 1), n - 1, m / (s * math.sqrt(2 / n))) for n in (8, 32)]
    assert found == pytest.approx(expected, abs=0.05)
    assert found[1] > 0.9


def test_the_number_of_seeds_that_is_asked_for_excludes_the_margin_in_four_of_five_comparisons() -> None:
    rng = np.random.default_rng(3)
    n = math.ceil(8 * (1.645 * 1.51 * math.sqrt(2) * 3 / math.sqrt(8)) ** 2)  # for a deviation of 3 and a margin of 1
    pairs = ((rng.normal(20, 3, n), rng.normal(20, 3, n)) for _ in range(ROUNDS))
    assert below(pairs, 1, is_paired=True) == pytest.approx(0.8, abs=0.03)
