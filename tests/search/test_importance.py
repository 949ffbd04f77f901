"""How much each parameter explains: where it is known what does."""

from __future__ import annotations

import numpy as np
import pytest

from harness.search.importance import FEWEST, importances

RANDOM = np.random.default_rng(0)
POINTS = [
    {"learning_rate": float(10 ** RANDOM.uniform(-4, -2)), "epochs": int(RANDOM.integers(20, 101))} for _ in range(40)
]


def test_what_alone_decides_explains_nearly_all() -> None:
    found = importances(POINTS, [float(point["epochs"]) for point in POINTS], {"learning_rate"})
    assert list(found) == ["epochs", "learning_rate"]
    assert sum(found.values()) == pytest.approx(1)
    assert found["epochs"] > 0.9  # trees of 40 points see a little of the other by chance


def test_the_same_trials_give_the_same_shares() -> None:
    values = [point["epochs"] * 1e-4 + point["learning_rate"] for point in POINTS]
    assert importances(POINTS, values, set()) == importances(POINTS, values, set())


def test_too_few_trials_or_values_that_are_all_the_same_say_nothing() -> None:
    few = POINTS[: FEWEST - 1]
    assert importances(few, [float(number) for number in range(len(few))], set()) == {}
    assert importances(POINTS, [0.0] * len(POINTS), set()) == {}
    assert importances([POINTS[0]] * 10, [float(number) for number in range(10)], set()) == {}
