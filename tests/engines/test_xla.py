from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from harness.data.digits import Digits
from harness.engines import registry, training
from harness.engines import xla as xla_module
from harness.engines.conformance import same
from harness.engines.registry import WIDTHS
from harness.engines.xla import XlaEngine, _softmax_in_output
from harness.network.variant import Variant
from harness.workers.local import Workers


@pytest.fixture(scope="module")
def xla(digits: Digits) -> XlaEngine:
    made = registry.make("xla", digits)
    assert isinstance(made, XlaEngine)
    return made


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"softmax": "output"},
        {"batch_size": 77},
        *(pytest.param(more, marks=pytest.mark.slow) for more in ({"batch_size": 500}, {"layers": (64, 33, 10)})),
        {"layers": (10,)},
    ],
    ids=str,
)
def test_a_variant_is_the_same_whatever_else_is_in_the_call(xla: XlaEngine, settings: dict[str, object]) -> None:
    variant = Variant.create(epochs=2, seed=7, **settings)
    [alone] = xla.train([variant], snapshots=[1])
    crowd = [
        Variant.create(epochs=2 + (number % 3 == 0), seed=number, learning_rate=0.0005 * (number + 1), **settings)
        for number in range(10)
    ]
    for places in (range(0, 10, 2), range(1, 10, 2)):  # of ten: the last two come into lanes that others have left
        among = xla.train([variant if place in places else crowd[place] for place in range(10)], snapshots=[1])
        assert [place for place in places if not same(among[place], alone)] == []


def test_a_variant_that_diverges_leaves_the_others_alone(xla: XlaEngine) -> None:
    variant = Variant(epochs=2, seed=7)
    [alone] = xla.train([variant])
    diverged, beside = xla.train([Variant(epochs=2, learning_rate=1e30), variant])
    assert not np.isfinite(diverged.losses).all()
    assert same(beside, alone)


@pytest.mark.slow
def test_workers_give_what_this_process_gives(xla: XlaEngine, digits: Digits) -> None:
    """Other processes, other chunks, and another start: the same bits."""
    variants = [Variant(epochs=2, seed=seed) for seed in range(3)]
    expected = training.run(xla, digits, variants)
    with Workers(2, "xla", training.run) as workers:
        workers.load(digits)
        futures = [workers.submit(chunk) for chunk in (variants[:1], variants[1:], variants)]
        results = [result for future in futures for result in future.result(timeout=120).results]
    for result, other in zip(results, 2 * expected, strict=True):
        assert np.array_equal(result.losses, other.losses)
        assert np.array_equal(result.errors, other.errors)
        assert np.array_equal(result.logits_1015, other.logits_1015)
        assert result.softmax == other.softmax


def test_a_shape_is_compiled_once_and_can_be_before_there_are_images(digits: Digits) -> None:
    shape = Variant(layers=(9, 10)).shape
    xla_module.warm(shape, WIDTHS["xla"])
    for count in (1, 3, 8, 20):
        variants = [Variant(epochs=1, layers=(9, 10), seed=seed, learning_rate=0.001 + seed) for seed in range(count)]
        XlaEngine(digits, WIDTHS["xla"]).train(variants)
    assert xla_module._compiled(shape).experimental_get_tracing_count() == 1


def test_a_training_takes_its_share_of_the_time(xla: XlaEngine) -> None:
    trained = xla.train([Variant(epochs=2), Variant(epochs=2, seed=1), Variant(epochs=1, seed=2)])
    assert trained[0].duration_s == trained[1].duration_s > trained[2].duration_s > 0


def test_the_derivative_of_clipped_probabilities_is_what_tensorflow_derives() -> None:
    logits = np.random.default_rng(1).normal(0, 12, (2, 10, 64)).astype(np.float32)  # a third is clipped
    labels = np.random.default_rng(2).integers(0, 10, (2, 64))
    is_label = np.eye(10, dtype=np.float32)[labels].transpose(0, 2, 1)
    losses, derivative = _softmax_in_output(tf.constant(logits), tf.constant(is_label))
    rows = tf.constant(logits.transpose(0, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch(rows)
        clipped = tf.clip_by_value(tf.nn.softmax(rows), 1e-7, 1 - 1e-7)
        expected = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.math.log(clipped))
    # Both take the same steps in float32, in another order: a few of its roundings, of losses of up to 16 and of
    # derivatives of up to 1.
    assert np.abs(losses.numpy() - expected.numpy()).max() < 1e-5
    by_tape = tape.gradient(expected, rows).numpy().transpose(0, 2, 1)
    assert np.abs(derivative.numpy() - by_tape).max() < 1e-6
    assert (np.abs(by_tape).max(axis=1) == 0).any()
