"""The engines against the lab's printed log, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

from harness import engines
from harness.digits import Digits
from harness.engines.contract import Engine
from harness.gate import REFERENCE_LOGS
from harness.variant import Variant


@pytest.fixture(scope="module")
def lab_graph(lab: Digits) -> Engine:
    return engines.make("graph", lab)


def test_graph_prints_the_labs_log_to_every_digit(lab_graph: Engine) -> None:
    [trained] = lab_graph.train([Variant(epochs=40)])
    printed = {epoch: f"{trained.losses[epoch - 1]:.4f}" for epoch in (1, 2, 3, 38, 39, 40)}
    assert printed == {1: "1.7094", 2: "0.7480", 3: "0.4428", 38: "0.0344", 39: "0.0312", 40: "0.0294"}


def test_graph_prints_the_recorded_log_of_the_embedded_default(optdigits: Digits) -> None:
    [trained] = engines.make("graph", optdigits).train([Variant(epochs=40)])
    reference = REFERENCE_LOGS[optdigits.name]
    assert {epoch: f"{trained.losses[epoch - 1]:.4f}" for epoch in reference} == reference


@pytest.mark.slow
def test_keras_prints_what_its_own_adam_makes_of_the_lab(lab: Digits) -> None:
    # Keras multiplies by 0.1 where TensorFlow's op takes 1 - float32(0.9): the last epochs differ in two digits.
    [trained] = engines.make("keras", lab).train([Variant(epochs=40)])
    printed = [f"{trained.losses[epoch - 1]:.4f}" for epoch in (1, 2, 3, 38, 39, 40)]
    assert printed == ["1.7094", "0.7480", "0.4428", "0.0343", "0.0313", "0.0296"]


def test_keras_and_graph_agree_while_rounding_has_not_grown(digits: Digits, graph: Engine) -> None:
    variant = Variant(epochs=5)
    [ours] = graph.train([variant])
    [theirs] = engines.make("keras", digits).train([variant])
    # The two differ in one constant, by 2e-7 of itself, and in the order of sums. Over five epochs that has grown to
    # some 1e-5 of the loss; a dropped last batch, another epsilon or a shifted batch order moves it by more than 1e-3.
    assert np.abs(ours.losses - theirs.losses).max() < 1e-4
    # An image on the border between two digits may fall on either side.
    assert np.abs(ours.errors - theirs.errors).max() <= 3
