"""The engines against the lab's printed log, and against each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.contract import Engine
from harness.engines.history import TrainingHistory
from harness.gate import reference
from harness.network.random_streams import initial_weights
from harness.network.variant import AdamKind, Variant


def printed(trained: TrainingHistory) -> dict[int, str]:
    """The losses of the epochs that the lab's page shows, as it shows them."""
    return {epoch: f"{trained.losses[epoch - 1]:.4f}" for epoch in (1, 2, 3, 38, 39, 40)}


Train = Callable[[str, AdamKind], TrainingHistory]


@pytest.fixture(scope="module")
def train(lab: Digits) -> Train:
    """Trains the lab's variant on its images with an engine and an Adam; the same again is what it was before."""

    @cache
    def trained(name: str, adam: AdamKind) -> TrainingHistory:
        [history] = registry.make(name, lab).train([Variant(epochs=40, adam=adam)])
        return history

    return trained


@pytest.mark.parametrize("name", ["graph", "xla"])
def test_the_labs_log_is_printed_to_every_digit(name: str, train: Train) -> None:
    trained = train(name, "tensorflow")
    assert printed(trained) == {
        1: "1.7094",
        2: "0.7480",
        3: "0.4428",
        38: "0.0344",
        39: "0.0312",
        40: "0.0294",
    }


@pytest.mark.parametrize("name", ["graph", "xla"])
def test_the_recorded_log_of_the_embedded_default_is_printed(name: str, optdigits: Digits) -> None:
    [trained] = registry.make(name, optdigits).train([Variant(epochs=40)])
    recorded = reference.load(reference.path_of(optdigits.name)).traces[name]
    assert printed(trained) == {epoch: f"{recorded.losses[epoch - 1]:.4f}" for epoch in (1, 2, 3, 38, 39, 40)}


@pytest.mark.parametrize("adam", ["tensorflow", "keras"])
def test_xla_and_graph_print_the_same_and_count_the_same_errors(adam: AdamKind, train: Train) -> None:
    ours, reference = train("xla", adam), train("graph", adam)
    assert [f"{loss:.4f}" for loss in ours.losses] == [f"{loss:.4f}" for loss in reference.losses]
    assert ours.errors.tolist() == reference.errors.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    # Keras multiplies by 0.1 where TensorFlow's op takes 1 - float32(0.9): the last epochs differ in two digits.
    ("adam", "last"),
    [("keras", ["0.0343", "0.0313", "0.0296"]), ("tensorflow", ["0.0344", "0.0312", "0.0294"])],
)
def test_with_the_same_constants_xla_prints_and_counts_what_keras_does(
    adam: AdamKind, last: list[str], train: Train
) -> None:
    ours, theirs = train("xla", adam), train("keras", adam)
    assert list(printed(theirs).values()) == ["1.7094", "0.7480", "0.4428", *last]
    assert [f"{loss:.4f}" for loss in ours.losses] == [f"{loss:.4f}" for loss in theirs.losses]
    assert ours.errors.tolist() == theirs.errors.tolist()


def noisy(variant: Variant) -> tuple[NDArray[np.float32], ...]:
    """Initial weights that are each moved to the next number, up or down."""
    bits = np.random.default_rng(variant.seed)
    return tuple(
        np.nextafter(weight, np.where(bits.random(weight.shape) < 0.5, np.float32(-1), np.float32(1)))
        for weight in initial_weights(variant)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("learning_rate", "epochs"), [(0.001, 12), (0.003, 12), (0.01, 7)])
def test_xla_is_no_farther_from_graph_than_graph_is_from_itself_with_noise_of_one_ulp(
    learning_rate: float, epochs: int, digits: Digits, graph: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.engines import graph as module

    variants = [Variant(epochs=epochs, seed=seed, learning_rate=learning_rate) for seed in range(8)]
    exact = graph.train(variants)
    ours = registry.make("xla", digits).train(variants)
    monkeypatch.setattr(module, "initial_weights", noisy)
    control = graph.train(variants)

    def distances(trained: list[TrainingHistory]) -> NDArray[np.float64]:
        pairs = zip(trained, exact, strict=True)
        return np.array([np.abs(one.losses - other.losses).max() for one, other in pairs])

    # Both were seen at 5e-8 to 9e-8, a rounding of the loss. With Keras' constants in Adam, which differ in the seventh
    # digit, the distance is twenty times the control's at the highest rate and thousands of times at the others.
    assert np.median(distances(ours)) < 5 * np.median(distances(control))


@pytest.mark.slow
def test_where_rounding_decides_xla_and_graph_have_the_same_distribution_over_seeds(
    digits: Digits, graph: Engine
) -> None:
    variants = [Variant(epochs=16, seed=seed, learning_rate=0.01) for seed in range(32)]
    ours, reference = registry.make("xla", digits).train(variants), graph.train(variants)
    differ = [one.errors.tolist() != other.errors.tolist() for one, other in zip(ours, reference, strict=True)]
    assert np.mean(differ) > 0.9
    for figure in (_last_errors, _late_errors, _last_loss):
        both = [np.array([figure(one) for one in trained]) for trained in (ours, reference)]
        # Three looks at fixed seeds; on a machine with other roundings a false alarm in three hundred.
        assert ks_2samp(both[0], both[1]).pvalue > 0.001


def _last_errors(trained: TrainingHistory) -> float:
    return float(trained.errors[-1])


def _late_errors(trained: TrainingHistory) -> float:
    return float(trained.errors[-5:].mean())


def _last_loss(trained: TrainingHistory) -> float:
    return float(trained.losses[-1])


def test_keras_and_graph_agree_while_rounding_has_not_grown(digits: Digits, graph: Engine) -> None:
    variant = Variant(epochs=5, adam="keras")
    [ours] = graph.train([variant])
    [theirs] = registry.make("keras", digits).train([variant])
    # The order of sums differs. Over five epochs that was seen to grow to 2e-7 of the loss; a dropped last batch,
    # another epsilon or a shifted batch order moves it by more than 1e-3.
    assert np.abs(ours.losses - theirs.losses).max() < 1e-5
    # An image on the border between two digits may fall on either side.
    assert np.abs(ours.errors - theirs.errors).max() <= 1
