"""What every engine must do; a new engine joins by its name in ``harness.engines.NAMES``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from harness.digits import Digits
from harness.engines.contract import Engine, EpochReport
from harness.streams import batch_orders, initial_weights
from harness.trajectory import Trajectory, wrong_images
from harness.variant import Variant

Weights = list[NDArray[np.float64]]


def forward(weights: Weights, x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The activations of every layer, the input among them; the last are the logits."""
    activations = [x]
    for number, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True), start=1):
        z = activations[-1] @ kernel + bias
        activations.append(z if number == len(weights) // 2 else np.maximum(z, 0))
    return activations


def reference(variant: Variant, digits: Digits, *, drop_remainder: bool = False) -> tuple[Weights, list[float]]:
    """Train in NumPy's float64 from the engines' own weights and batches; weights and the loss of each epoch."""
    weights: Weights = [weight.astype(np.float64) for weight in initial_weights(variant)]
    means, squares = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    x, y = digits.features.astype(np.float64), digits.labels
    losses, step = [], 0
    for [order] in batch_orders(variant):
        total = 0.0
        for start in range(0, 5000, variant.batch_size):
            batch = order[start : start + variant.batch_size]
            if drop_remainder and len(batch) < variant.batch_size:
                continue
            activations = forward(weights, x[batch])
            logits = activations[-1]
            rows = np.arange(len(batch))
            if variant.softmax == "output":
                probabilities = softmax(logits, axis=1)
                inside = (probabilities >= 1e-7) & (probabilities <= 1 - 1e-7)
                logits = np.log(np.clip(probabilities, 1e-7, 1 - 1e-7))
            total -= float(log_softmax(logits, axis=1)[rows, y[batch]].sum())
            delta = softmax(logits, axis=1)
            delta[rows, y[batch]] -= 1
            if variant.softmax == "output":
                delta = np.divide(delta, probabilities, where=inside, out=np.zeros_like(delta))
                delta = probabilities * (delta - (delta * probabilities).sum(axis=1, keepdims=True))
            delta /= len(batch)
            gradients: Weights = []
            for layer in reversed(range(len(weights) // 2)):
                gradients = [activations[layer].T @ delta, delta.sum(axis=0), *gradients]
                delta = (delta @ weights[2 * layer].T) * (activations[layer] > 0)
            step += 1
            beta_1, beta_2 = variant.beta_1, variant.beta_2
            rate = variant.learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
            for weight, mean, square, gradient in zip(weights, means, squares, gradients, strict=True):
                mean[...] = beta_1 * mean + (1 - beta_1) * gradient
                square[...] = beta_2 * square + (1 - beta_2) * gradient * gradient
                weight[...] = weight - rate * mean / (np.sqrt(square) + variant.epsilon)
        losses.append(total / 5000)
    return weights, losses


def same(a: Trajectory, b: Trajectory) -> bool:
    """Whether two trajectories are equal to the last bit, times aside."""
    return (
        a.variant == b.variant
        and np.array_equal(a.losses, b.losses, equal_nan=True)
        and np.array_equal(a.errors, b.errors)
        and a.snapshots.keys() == b.snapshots.keys()
        and all(
            np.array_equal(a.snapshots[epoch].logits, b.snapshots[epoch].logits, equal_nan=True)
            and all(
                np.array_equal(mine, theirs, equal_nan=True)
                for mine, theirs in zip(a.snapshots[epoch].weights, b.snapshots[epoch].weights, strict=True)
            )
            for epoch in a.snapshots
        )
    )


def test_the_first_steps_are_those_of_the_float64_reference(engine: Engine, digits: Digits) -> None:
    variant = Variant(epochs=3, batch_size=1000)
    [trained] = engine.train([variant])
    weights, losses = reference(variant, digits)
    # Fifteen steps in float32: losses were seen to differ by up to 5e-6. A learning rate that is 1% off moves them by
    # 2e-3, a beta of 0.998 for 0.999 by 3e-5.
    assert np.abs(trained.losses - losses).max() < 2e-5
    # Adam divides a gradient by its own size, so where a gradient nearly cancels, float32 decides its sign, and one
    # weight may be steps away. Nine of ten agree to 1e-5; the same two faults move those by more than 2e-4.
    for mine, theirs in zip(trained.final.weights, weights, strict=True):
        assert np.quantile(np.abs(mine - theirs), 0.9) < 5e-5


@pytest.mark.parametrize(
    ("changes", "without"),
    [
        ({"beta_1": 0.8}, {}),
        ({"beta_2": 0.99}, {}),
        ({"epsilon": 1e-3}, {}),
        # Large steps, so that probabilities come so near to 0 and 1 that they are clipped.
        ({"learning_rate": 0.5, "softmax": "output"}, {"learning_rate": 0.5}),
    ],
    ids=["beta_1", "beta_2", "epsilon", "softmax"],
)
@pytest.mark.parametrize("adam", ["tensorflow", "keras"])
def test_what_a_variant_says_of_optimizer_and_softmax_is_done(
    engine: Engine, digits: Digits, adam: Any, changes: dict[str, Any], without: dict[str, Any]
) -> None:
    variant = Variant(epochs=4, batch_size=1000, adam=adam, **changes)
    [trained] = engine.train([variant])
    _, losses = reference(variant, digits)
    _, other = reference(Variant(epochs=4, batch_size=1000, **without), digits)
    # Twenty steps in float32: losses were seen to differ by up to 4e-6, of ones of up to 16. What is changed moves
    # them a hundred times further.
    assert np.abs(trained.losses - losses).max() < 1e-5
    assert np.abs(np.array(other) - losses).max() > 3e-4


def test_the_smaller_last_batch_is_trained(engine: Engine, digits: Digits) -> None:
    variant = Variant(epochs=1, batch_size=4992)
    [trained] = engine.train([variant])
    _, losses = reference(variant, digits)
    _, dropped = reference(variant, digits, drop_remainder=True)
    assert abs(losses[0] - dropped[0]) > 1e-4
    assert abs(trained.losses[0] - losses[0]) < 2e-5


def test_every_image_is_scored_once(engine: Engine, digits: Digits) -> None:
    [trained] = engine.train([Variant(epochs=1)])
    logits = forward([weight.astype(np.float64) for weight in trained.final.weights], digits.x)[-1]
    assert trained.final.logits.shape == (5000, 10)
    # Sums of 400 products of float32: seven digits of logits of size 10.
    assert np.abs(trained.final.logits - logits).max() < 1e-4
    assert trained.errors[0] == len(wrong_images(trained.final.logits, digits.labels))


def test_a_variant_does_not_depend_on_its_list_and_repeats(engine: Engine) -> None:
    variant = Variant(epochs=2, seed=7, batch_size=1000)
    others = [
        Variant(epochs=1, learning_rate=0.01, batch_size=1000),
        Variant(epochs=3, seed=8, batch_size=1000),
        Variant(epochs=1, batch_size=64),
    ]
    [alone] = engine.train([variant])
    among = engine.train([others[0], variant, *others[1:], variant])
    assert same(among[1], alone)
    assert same(among[4], alone)
    assert [trajectory.variant for trajectory in among] == [others[0], variant, *others[1:], variant]


def test_a_prefix_of_a_long_training_is_the_short_training(engine: Engine) -> None:
    [long] = engine.train([Variant(epochs=4, batch_size=1000)], snapshots=[2])
    [short] = engine.train([Variant(epochs=2, batch_size=1000)])
    assert same(long.prefix(2), short)


def test_snapshots_are_taken_where_they_are_asked_for(engine: Engine) -> None:
    first, second = engine.train([Variant(epochs=epochs, batch_size=1000) for epochs in (3, 1)], snapshots=[1, 2, 9])
    assert sorted(first.snapshots) == [1, 2, 3]
    assert sorted(second.snapshots) == [1]
    assert not np.array_equal(first.snapshots[1].logits, first.snapshots[2].logits)


# A learning rate of 1e30 sends the weights beyond float32 in the second step: what comes after is NaN or infinity,
# and NumPy warns of the same when it looks at it.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_divergence_comes_back_as_data(engine: Engine) -> None:
    [diverged] = engine.train([Variant(epochs=2, learning_rate=1e30)])
    assert not np.isfinite(diverged.losses).all()
    assert diverged.errors.tolist() == [5000, 5000]
    assert diverged.first_zero_epoch is None


def test_other_layers_and_batch_sizes_are_trained(engine: Engine) -> None:
    trained = engine.train([Variant(epochs=1, layers=(10,)), Variant(epochs=1, layers=(8, 10), batch_size=5000)])
    assert [weight.shape for weight in trained[0].final.weights] == [(400, 10), (10,)]
    assert [weight.shape for weight in trained[1].final.weights] == [(400, 8), (8,), (8, 10), (10,)]


def test_every_epoch_is_told_as_it_ends(engine: Engine) -> None:
    reports: list[EpochReport] = []
    variants = [Variant(epochs=2, batch_size=1000), Variant(epochs=1, seed=5, batch_size=1000)]
    trained = engine.train(variants, on_epoch=reports.append)
    for trajectory in trained:
        own = [report for report in reports if report.variant == trajectory.variant]
        assert [report.epoch for report in own] == list(range(1, trajectory.variant.epochs + 1))
        assert [report.loss for report in own] == trajectory.losses.tolist()
        assert [report.errors for report in own] == trajectory.errors.tolist()
        assert sum(report.duration_s for report in own) <= trajectory.duration_s * 1.001


def test_no_variants_give_no_trajectories(engine: Engine) -> None:
    assert engine.train([]) == []
