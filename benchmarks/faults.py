"""Training faults that the gate should detect.

A worker process applies a fault to the engine ``xla``, to the variants or to the images.
"""
# ruff: noqa: SLF001 - planting a fault requires private members of the engine

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.contract import Engine
from harness.gate.training import Training, train
from harness.network.variant import N_IMAGES, Variant

_SCALE = 255.0  # pixels are divided by this value before training


@dataclass(frozen=True)
class Fault:
    """A training fault: changes to the variant, to the engine or to the images.

    Attributes:
        name: Name of the fault.
        what: Description of the fault in words.
        changes: New values of the variant's fields that the fault changes, by the name of the field.
        plant: Function that changes the engine in this process, called once. None if the engine stays unchanged.
        spoil: Function that changes the images. None if the images stay unchanged.
    """

    name: str
    what: str
    changes: dict[str, Any] = field(default_factory=dict)
    plant: Callable[[], None] | None = None
    spoil: Callable[[Digits], Digits] | None = None


def task(name: str) -> Callable[[Engine, Digits, Sequence[Variant]], list[Training]]:
    """Return the function that a worker calls to train with the named fault.

    The function may train a changed variant. Its results nevertheless name the variant without the change.
    """
    return partial(_train, name)


_planted: set[str] = set()


def _engine() -> Any:  # noqa: ANN401 - a module whose attributes are replaced
    """Clear the compiled functions of the engine ``xla``, and return the module of the engine."""
    from harness.engines import xla

    xla._compiled.cache_clear()
    return xla


def _train(name: str, engine: Engine, digits: Digits, variants: Sequence[Variant]) -> list[Training]:
    fault = FAULTS[name]
    if fault.plant is not None and name not in _planted:
        fault.plant()
        _planted.add(name)
    if fault.spoil is not None:
        digits = fault.spoil(digits)
        engine = registry.make(engine.name, digits)
    changed = [variant.model_copy(update=fault.changes) for variant in variants]
    trained = train(engine, digits, changed)
    return [replace(training, variant=variant) for training, variant in zip(trained, variants, strict=True)]


def _without_bias_correction() -> None:
    xla = _engine()

    def adam_step(state: Any, gradients: Any, constants: Any) -> Any:  # noqa: ANN401 - TensorFlow has no types
        # Adding 1e9 steps removes Adam's bias corrections: they are 1 after this number of steps.
        late = xla._State(state.weights, state.means, state.squares, state.step + 1e9)
        done = whole(late, gradients, constants)
        return xla._State(done.weights, done.means, done.squares, state.step + 1)

    whole, xla._adam_step = xla._adam_step, adam_step


def _without_shuffling() -> None:
    xla = _engine()

    def in_order(*variants: Variant) -> Iterator[NDArray[np.int32]]:
        for _ in range(max(variant.epochs for variant in variants)):
            yield np.tile(np.arange(N_IMAGES, dtype=np.int32), (len(variants), 1))

    xla.batch_orders = in_order


def _shuffled_once() -> None:
    xla = _engine()

    drawn = xla.batch_orders

    def the_first_again(*variants: Variant) -> Iterator[NDArray[np.int32]]:
        first = next(drawn(*variants))
        for _ in range(max(variant.epochs for variant in variants)):
            yield first

    xla.batch_orders = the_first_again


def _dead_unit(layer: int) -> None:
    """Make the first unit of a layer dead: its output is zero for every image, and the unit learns nothing.

    The unit has zero weights and a negative bias, so the input of its ReLU is negative.
    """
    _weights_through(lambda weights: _with_dead(weights, layer, 1))


def _dead_units() -> None:
    """Make the first two units of each hidden layer dead: their output is zero for every image."""
    _weights_through(lambda weights: _with_dead(_with_dead(weights, 0, 2), 1, 2))


def _with_dead(weights: tuple[NDArray[np.float32], ...], layer: int, n: int) -> tuple[NDArray[np.float32], ...]:
    changed = [weight.copy() for weight in weights]
    changed[2 * layer][:, :n], changed[2 * layer + 1][:n] = 0, -1
    return tuple(changed)


def _small_weights() -> None:
    _weights_through(lambda weights: tuple(weight / np.float32(2) for weight in weights))


def _weights_through(
    function: Callable[[tuple[NDArray[np.float32], ...]], tuple[NDArray[np.float32], ...]],
) -> None:
    xla = _engine()

    drawn = xla.initial_weights
    xla.initial_weights = lambda variant: function(drawn(variant))


def _batches_dropped(n_full: int) -> None:
    """Drop batches at the end of every epoch: the incomplete last batch, and the `n_full` full batches before it."""
    # The engine calls ``divmod`` to split the images into full batches and a remainder. A module attribute of this
    # name replaces the built-in function.
    _engine().divmod = lambda whole, part: (whole // part - n_full, 0)


def _softmax_twice() -> None:
    import tensorflow as tf

    xla = _engine()

    def losses(logits: tf.Tensor, is_label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities = tf.nn.softmax(logits, axis=1)
        found, by_probability = xla._softmax_in_loss(probabilities, is_label)
        mean = tf.reduce_sum(by_probability * probabilities, axis=1, keepdims=True)
        return found, probabilities * (by_probability - mean)

    xla._LOSSES["logits"] = losses


def _bfloat16() -> None:
    import tensorflow as tf

    xla = _engine()

    def adam_step(state: Any, gradients: Any, constants: Any) -> Any:  # noqa: ANN401 - TensorFlow has no types
        done = whole(state, gradients, constants)
        rounded = tuple(tf.cast(tf.cast(weight, tf.bfloat16), tf.float32) for weight in done.weights)
        return xla._State(rounded, done.means, done.squares, done.step)

    whole, xla._adam_step = xla._adam_step, adam_step


def _wrong_labels(digits: Digits) -> Digits:
    random = np.random.Generator(np.random.PCG64(1))
    labels = digits.y.copy()
    chosen = random.choice(N_IMAGES, N_IMAGES // 100, replace=False)
    labels[chosen, 0] = (labels[chosen, 0] + random.integers(1, 10, len(chosen))) % 10
    return replace(digits, y=labels)


def _unscaled(digits: Digits) -> Digits:
    return replace(digits, x=digits.x * _SCALE)


_ALL = (
    Fault("clean", "nothing"),
    Fault("rate-0.95", "learning rate x 0.95", {"learning_rate": 0.00095}),
    Fault("rate-0.9", "learning rate x 0.9", {"learning_rate": 0.0009}),
    Fault("rate-0.8", "learning rate x 0.8", {"learning_rate": 0.0008}),
    Fault("rate-0.5", "learning rate x 0.5", {"learning_rate": 0.0005}),
    Fault("bias-correction", "Adam without bias correction", plant=_without_bias_correction),
    Fault("epsilon", "Adam's epsilon 1e-3", {"epsilon": 1e-3}),
    Fault("beta-2", "Adam's beta_2 0.9", {"beta_2": 0.9}),
    Fault("no-shuffling", "no shuffling: the images stay sorted by digit", plant=_without_shuffling),
    Fault("one-permutation", "the same permutation every epoch", plant=_shuffled_once),
    Fault("dead-unit-1", "1 of the 25 units of layer 1 always outputs 0", plant=partial(_dead_unit, 0)),
    Fault("dead-unit-2", "1 of the 15 units of layer 2 always outputs 0", plant=partial(_dead_unit, 1)),
    Fault("dead-units", "2 units in each of layers 1 and 2 always output 0", plant=_dead_units),
    Fault("labels", "1% of the labels wrong", spoil=_wrong_labels),
    Fault("last-batch", "the last, smaller batch dropped", plant=partial(_batches_dropped, 0)),
    Fault("batches-8", "the last 8 of 157 batches dropped", plant=partial(_batches_dropped, 7)),
    Fault("batches-16", "the last 16 of 157 batches dropped", plant=partial(_batches_dropped, 15)),
    Fault("softmax-twice", "softmax applied twice", plant=_softmax_twice),
    Fault("bfloat16", "weights rounded to bfloat16 after every step", plant=_bfloat16),
    Fault("small-weights", "initial weights x 0.5", plant=_small_weights),
    Fault("unscaled", "inputs not scaled: 0 to 255", spoil=_unscaled),
    Fault("batch-64", "batches of 64", {"batch_size": 64}),
)
FAULTS = {fault.name: fault for fault in _ALL}
