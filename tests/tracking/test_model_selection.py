"""Which runs are kept as models: the report's cheapest variant at zero, whatever the order of the records."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from harness.tracking import model_selection
from harness.tracking.run_record import RunRecord


def run(
    trial: int, *, errors: int = 0, loss: float = 0.1, status: str = "FINISHED", **params: float | str
) -> RunRecord:
    told = {"epochs": 60, "learning_rate": 0.001, "seed": 1, **params}
    text = {name: str(value) for name, value in told.items()}
    metrics = {"final_errors": float(errors), "final_loss": loss} if status == "FINISHED" else {}
    return RunRecord(f"run {trial}", "", status, text, metrics, {"harness.trial": str(trial)}, 0)


def best(*runs: RunRecord) -> int:
    """The trial of the best run, which does not depend on the order of the records."""
    shuffled = list(runs)
    found = set()
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        chosen = model_selection.best(shuffled)
        assert chosen is not None
        found.add(int(chosen.tags["harness.trial"]))
    [one] = found
    return one


def test_the_most_reliable_variant_comes_first() -> None:
    half = [run(0, epochs=20), run(1, epochs=20, seed=2, errors=3)]
    every = [run(2, epochs=80, loss=0.2), run(3, epochs=80, seed=2, loss=0.3)]
    assert best(*half, *every) == 2
    # One seed says less than 7 of 8.
    seven = [run(10 + seed, epochs=80, seed=seed, errors=int(seed == 7), loss=0.1 * (seed + 1)) for seed in range(8)]
    assert best(run(0, epochs=20, loss=0.01), *seven) == 10


def test_of_equal_shares_the_fewest_epochs_then_the_lowest_mean_loss() -> None:
    assert best(run(0, epochs=100, loss=0.01), run(1, epochs=60, loss=0.9)) == 1
    assert best(run(0, learning_rate=0.001, loss=0.2), run(1, learning_rate=0.003, loss=0.1)) == 1


def test_of_a_variant_the_run_is_one_at_zero_with_the_lowest_loss() -> None:
    assert best(run(0, errors=5, loss=0.01), run(1, seed=2, loss=0.3), run(2, seed=3, loss=0.2)) == 2


def test_without_a_run_at_zero_there_is_no_best() -> None:
    assert model_selection.best([run(0, errors=3), run(1, errors=2, seed=2)]) is None


def test_what_is_equal_in_all_is_decided_by_the_trials_order() -> None:
    assert best(run(10, learning_rate=0.002), run(9)) == 9


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"loss": math.inf, "errors": 4}, {"status": "FAILED"}])
def test_seeds_that_failed_or_diverged_count_against_their_variant(bad: dict[str, Any]) -> None:
    one_of_eight = [run(0), *(run(seed, seed=seed + 1, **bad) for seed in range(1, 8))]
    seven_of_eight = [run(10 + seed, epochs=100, seed=seed, errors=int(seed == 7), loss=seed + 1) for seed in range(8)]
    assert best(*one_of_eight, *seven_of_eight) == 10
    assert model_selection.best(one_of_eight[1:]) is None


def test_a_seed_that_was_trained_again_after_a_failure_counts_once() -> None:
    runs = [run(0, status="FAILED"), run(1), run(2, epochs=100), run(3, epochs=100, seed=2, errors=9)]
    assert best(*runs) == 1


def test_the_baseline_is_its_longest_run_with_the_adam_of_the_engine() -> None:
    runs = [run(0, epochs=40, seed=1234), run(1, epochs=80, seed=1234), run(2, epochs=100, seed=2)]
    chosen = model_selection.baseline(runs, "xla")
    assert chosen is not None
    assert chosen.run_id == "run 1"
    assert model_selection.baseline(runs, "keras") is None
    assert model_selection.baseline([run(0, seed=1234, adam="keras")], "keras") is not None
    assert model_selection.baseline([run(0, seed=1234, batch_size=64)], "xla") is None
