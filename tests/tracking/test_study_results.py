"""The results of a study in numbers and in two lines."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import pytest

from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.study_results import StudyResults
from tests.tracking.test_model_selection import run

PARENT = RunRecord("parent", "", "FINISHED", {}, {}, {"harness.engine": "xla"}, 0)


def results(*runs: RunRecord) -> StudyResults:
    return StudyResults.of(StudyRecord(PARENT, runs))


def measured(one: RunRecord, *, zero: int | None = None, held_out: int | None = None) -> RunRecord:
    """A run with the metrics that not every run has."""
    more = {"first_zero_epoch": zero, "held_out_errors": held_out}
    return replace(one, metrics={**one.metrics, **{name: float(value) for name, value in more.items() if value}})


# The baseline's group: four seeds, each with a run of 40 epochs and one of 100, from one training.
ZERO = {1234: 56, 1: 70, 2: 61, 3: None}
HELD_OUT = {1234: 700, 1: 710, 2: 720, 3: 801}
GROUP = [
    measured(
        run(2 * place + (epochs == 100), epochs=epochs, seed=seed, errors=0 if epochs == 100 and zero else 3 + place),
        zero=zero if epochs == 100 else None,
        held_out=HELD_OUT[seed] + (epochs == 40),
    )
    for place, (seed, zero) in enumerate(ZERO.items())
    for epochs in (40, 100)
]
# The recommended variant: both seeds at zero.
FAST = [
    measured(run(20 + seed, epochs=60, learning_rate=0.003, seed=seed), zero=30 + seed, held_out=650 + seed)
    for seed in (1, 2)
] + [measured(run(22, epochs=60, learning_rate=0.003, seed=3), zero=40, held_out=660)]


def test_the_metrics_are_those_of_the_recommended_variant_and_of_the_baselines_seeds() -> None:
    assert results(*GROUP, *FAST, run(30, status="FAILED", learning_rate=0.01)).metrics() == {
        "share_at_zero": 1.0,
        "held_out_errors": pytest.approx(fmean([651, 652, 660])),
        "mean_first_zero_epoch": fmean([56, 70, 61, 100]),
        "baseline_first_zero_epoch": 56,
        "baseline_held_out_errors": fmean(HELD_OUT.values()),
        "failed_runs": 1,
    }


def test_metrics_without_a_value_are_left_out() -> None:
    assert results().metrics() == {"failed_runs": 0}
    assert results(run(0, status="FAILED", seed=1234)).metrics() == {"failed_runs": 1}
    assert results(run(0, errors=7, seed=1234)).metrics() == {"share_at_zero": 0, "failed_runs": 0}
    other = measured(run(0, learning_rate=0.003), zero=20)
    assert results(other).metrics() == {"share_at_zero": 1, "failed_runs": 0}


def test_the_mean_first_zero_epoch_needs_one_budget_and_a_training_at_zero() -> None:
    shorter = measured(run(9, epochs=60, seed=9), zero=50)
    assert "mean_first_zero_epoch" not in results(*GROUP, shorter).metrics()
    never = [one for one in GROUP if one.settings["seed"] == "3"]
    assert "mean_first_zero_epoch" not in results(*never).metrics()


def test_the_lines_say_which_variant_and_how_the_baseline_does() -> None:
    found = results(*GROUP, *FAST)
    assert found.recommended_line == "learning rate 0.003, 60 epochs (3 of 3 seeds at zero errors; mean 0, worst 0)"
    assert found.baseline_line == (
        "3 of 4 seeds reach zero errors within 100 epochs, median epoch 61; 733 of 10,000 unseen images wrong on "
        "average"
    )


def test_errors_and_lost_seeds_of_the_recommended_variant_are_told() -> None:
    shaky = [run(0), run(1, seed=2, errors=1), run(2, seed=3, errors=6), run(3, seed=4, status="FAILED")]
    shaky.append(run(4, seed=5, loss=math.nan))
    assert results(*shaky).recommended_line == (
        "learning rate 0.001, 60 epochs (1 of 5 seeds at zero errors; mean 2.33, worst 6; 2 seeds failed or diverged)"
    )


def test_other_settings_are_named_where_they_differ() -> None:
    found = results(run(0, batch_size=8), run(1, batch_size=16, errors=2), run(2, batch_size=16, seed=2, errors=1))
    assert found.recommended_line.startswith("learning rate 0.001, 60 epochs, batch 8 (")


def test_a_study_without_zero_or_baseline_says_so() -> None:
    nothing = results()
    assert (nothing.recommended_line, nothing.baseline_line) == (
        "none, because no run has finished",
        "not part of this study",
    )
    none = results(run(0, errors=9, epochs=1), run(1, errors=4, epochs=2), run(2, errors=5, epochs=2, seed=2))
    assert none.recommended_line == (
        "none, because no run ended with zero errors; learning rate 0.001, 2 epochs has the fewest errors (mean 4.5)"
    )
    assert none.baseline_line == "0 of 2 seeds reach zero errors within 2 epochs"
    assert results(run(0, status="FAILED"), run(1, learning_rate=0.01)).baseline_line == "1 seed failed"


def test_few_seeds_at_zero_have_no_median() -> None:
    few = [measured(run(0, seed=1), zero=30), run(1, seed=2, errors=1), run(2, seed=3, errors=1)]
    assert results(*few).baseline_line == "1 of 3 seeds reach zero errors within 60 epochs"
    assert results(few[0]).baseline_line == "1 of 1 seed reaches zero errors, median epoch 30"


def test_a_baseline_that_diverged_counts_as_never_at_zero() -> None:
    diverged = run(1, seed=2, loss=math.inf, errors=4500)
    found = results(measured(run(0, seed=1), zero=30), diverged)
    assert found.baseline_line.startswith("1 of 2 seeds reach zero errors within 60 epochs")
    assert found.metrics()["mean_first_zero_epoch"] == fmean([30, 60])
