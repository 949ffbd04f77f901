"""The XLA engine, which trains several variants in one compiled call.

A call has a fixed number of lanes, and each lane trains one variant. The lane is the first axis of the arrays of
weights, activations and gradients. Lanes do not affect each other. So a variant's results are the same, bit for bit,
whatever the other lanes train. In activations, the axis of units comes before the axis of examples. The code computes
the gradients with explicit formulas, without automatic differentiation.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.data.digits import Digits
from harness.engines import compilation_cache
from harness.engines.adam import CLIP, Adam, adam
from harness.engines.contract import EpochReport, OnEpoch, wanted_epochs
from harness.engines.history import Snapshot, TrainingHistory
from harness.network.random_streams import batch_orders, initial_weights
from harness.network.variant import N_CLASSES, N_FEATURES, N_IMAGES, Shape, SoftmaxPlace, Variant


class _State(NamedTuple):
    """The weights, Adam's moments and the step counts of all networks that are trained in one call.

    Kernels are ``(lanes, units, fan_in)``, biases are ``(lanes, units)``, and ``step`` is ``(lanes,)``. A lane is an
    index of the first axis. It belongs to one network.
    """

    weights: tuple[Any, ...]
    means: tuple[Any, ...]
    squares: tuple[Any, ...]
    step: Any


@dataclass
class _Lane:
    """A variant in training, with its results so far.

    ``index`` is the variant's index in the list of variants. ``place`` is the variant's index in the arrays of a call;
    it is -1 before the training starts.
    """

    index: int
    variant: Variant
    wanted: frozenset[int]
    losses: list[float] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    duration_s: float = 0.0
    place: int = -1

    @property
    def is_done(self) -> bool:
        return len(self.losses) == self.variant.epochs

    def note(self, losses: NDArray[np.float32], errors: NDArray[np.int32], duration_s: float) -> EpochReport:
        """Record this variant's loss and error count of an epoch, and return the report of the epoch."""
        self.losses.append(float(losses[self.place]))
        self.errors.append(int(errors[self.place]))
        self.duration_s += duration_s
        return EpochReport(self.variant, len(self.losses), self.losses[-1], self.errors[-1], duration_s)

    def history(self) -> TrainingHistory:
        losses, errors = np.array(self.losses), np.array(self.errors)
        return TrainingHistory(self.variant, losses, errors, self.snapshots, self.duration_s)


class XlaEngine:
    """The engine that trains several variants in one call; see :class:`harness.engines.contract.Engine`.

    Each call trains its variants for one epoch. A call has a fixed number of lanes, and a lane trains one variant. All
    variants in a call have the same layers, batch size and place of the softmax. When the training of a variant ends,
    the next waiting variant takes its lane. The duration of a call is divided equally among its variants.

    Args:
        digits: Images to train on.
        width: Number of lanes in a call. With fewer variants, some lanes are idle. The number never changes, because
            with another number XLA compiles other operations, and the last bits of the results differ.
    """

    name = "xla"

    def __init__(self, digits: Digits, width: int) -> None:
        self._width = width
        self._images = tf.constant(digits.features)
        self._labels = tf.constant(digits.labels.astype(np.int32))

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[TrainingHistory]:
        """Train every variant; see :class:`harness.engines.contract.Engine`."""
        groups: dict[Shape, list[_Lane]] = {}
        for index, variant in enumerate(variants):
            lane = _Lane(index, variant, wanted_epochs(variant, snapshots))
            groups.setdefault(variant.shape, []).append(lane)
        for shape, lanes in groups.items():
            self._train_alike(shape, lanes, on_epoch)
        ended = sorted((lane for lanes in groups.values() for lane in lanes), key=lambda lane: lane.index)
        return [lane.history() for lane in ended]

    def _train_alike(self, shape: Shape, lanes: list[_Lane], on_epoch: OnEpoch | None) -> None:
        """Train variants with the same layers, batch size and softmax.

        The variants with the most epochs start first. So the variants end at similar times, and few lanes of a call
        are idle at the end.
        """
        train_epoch = _compiled(shape)
        waiting = deque(sorted(lanes, key=lambda lane: -lane.variant.epochs))
        state, constants = _empty(shape.layers, self._width), np.ones((len(Adam._fields), self._width), np.float32)
        active: list[_Lane] = []
        orders = _Orders(self._width)
        while waiting or active:
            free = sorted(set(range(self._width)) - {lane.place for lane in active})
            arrived = [waiting.popleft() for _ in range(min(len(free), len(waiting)))]
            for place, lane in zip(free, arrived, strict=False):
                lane.place = place
                state = _put(state, place, initial_weights(lane.variant))
                constants[:, place] = adam(lane.variant)
            orders.add(arrived)
            active += arrived
            started = time.perf_counter()
            inputs = (orders.draw(), Adam(*constants), self._images, self._labels)
            *new, losses, errors, logits = train_epoch(state, *inputs)
            state, scores = _State(*new), (losses.numpy(), errors.numpy())
            share_s = (time.perf_counter() - started) / len(active)
            for lane in active:
                report = lane.note(*scores, share_s)
                if report.epoch in lane.wanted:
                    lane.snapshots[report.epoch] = _snapshot(state, logits, lane.place)
                if on_epoch is not None:
                    on_epoch(report)
            active = [lane for lane in active if not lane.is_done]
        compilation_cache.keep()


class _Orders:
    """The order of the images for each variant in training. Variants that start together draw their orders together."""

    def __init__(self, width: int) -> None:
        self._orders = np.zeros((width, N_IMAGES), np.int32)
        self._streams: list[tuple[list[_Lane], Iterator[NDArray[np.int32]]]] = []

    def add(self, lanes: list[_Lane]) -> None:
        """Add variants whose training starts with the next call of :meth:`draw`."""
        if lanes:
            self._streams.append((lanes, batch_orders(*(lane.variant for lane in lanes))))

    def draw(self) -> NDArray[np.int32]:
        """Return the order of the images in the next epoch of each variant, ``(lanes, 5000)``.

        A lane is the place of one variant in the arrays. The order is arbitrary in a lane without a variant.
        """
        self._streams = [(lanes, stream) for lanes, stream in self._streams if not all(lane.is_done for lane in lanes)]
        for lanes, stream in self._streams:
            for lane, order in zip(lanes, next(stream), strict=True):
                if not lane.is_done:
                    self._orders[lane.place] = order
        return self._orders


def _empty(layers: tuple[int, ...], width: int) -> _State:
    shapes: list[tuple[int, ...]] = []
    for fan_in, units in zip((N_FEATURES, *layers), layers, strict=False):
        shapes += [(width, units, fan_in), (width, units)]
    zeros = tuple(np.zeros(shape, np.float32) for shape in shapes)
    return _State(zeros, zeros, zeros, np.zeros(width, np.float32))


def _put(state: _State, place: int, weights: Sequence[NDArray[np.float32]]) -> _State:
    """Return the state with one network replaced by a new, untrained network.

    Args:
        state: State of all networks.
        place: Index of the network that is replaced.
        weights: Initial weights of the new network.
    """

    def replaced(old: Any, new: NDArray[np.float32] | float) -> NDArray[np.float32]:  # noqa: ANN401 - an array or a tensor
        array = np.array(old)
        array[place] = new
        return array

    return _State(
        tuple(replaced(old, new.T) for old, new in zip(state.weights, weights, strict=True)),
        tuple(replaced(old, 0) for old in state.means),
        tuple(replaced(old, 0) for old in state.squares),
        replaced(state.step, 0),
    )


def _snapshot(state: _State, logits: tf.Tensor, place: int) -> Snapshot:
    weights = tuple(np.ascontiguousarray(weight[place].numpy().T) for weight in state.weights)
    return Snapshot(weights, np.ascontiguousarray(logits[place].numpy().T))


def warm(shape: Shape, width: int) -> None:
    """Compile the training of variants with these layers, batch size and softmax in advance.

    XLA compiles a training function when it is first called. So the training function is called for one epoch on blank
    images.
    """
    images, labels = np.zeros((N_IMAGES, N_FEATURES), np.float32), np.zeros(N_IMAGES, np.int32)
    constants = Adam(*np.ones((len(Adam._fields), width), np.float32))
    orders = np.zeros((width, N_IMAGES), np.int32)
    _compiled(shape)(_empty(shape.layers, width), orders, constants, images, labels)
    compilation_cache.keep()


@cache
def _compiled(shape: Shape) -> tf.types.experimental.PolymorphicFunction:
    """Return the function that trains networks for one epoch. The function is compiled when it is first called."""
    n_full, rest = divmod(N_IMAGES, shape.batch_size)

    def train_epoch(
        state: _State, orders: tf.Tensor, constants: Adam, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[Any, ...]:
        def train_batch(start: tf.Tensor, size: int, state: _State, total: tf.Tensor) -> tuple[_State, tf.Tensor]:
            batch = tf.slice(orders, [0, start], [orders.shape[0], size])
            losses, gradients = _gradients(shape, state.weights, tf.gather(images, batch), tf.gather(labels, batch))
            return _adam_step(state, gradients, constants), total + tf.reduce_sum(losses, axis=1)

        def train_full_batch(index: tf.Tensor, state: _State, total: tf.Tensor) -> tuple[tf.Tensor, _State, tf.Tensor]:
            return index + 1, *train_batch(index * shape.batch_size, shape.batch_size, state, total)

        begin = (tf.constant(0), state, tf.zeros_like(state.step))
        _, state, total = tf.while_loop(lambda index, *_: index < n_full, train_full_batch, begin)
        if rest:
            state, total = train_batch(tf.constant(n_full * shape.batch_size), rest, state, total)
        logits = _logits(state.weights, images)
        return *state, total / N_IMAGES, _errors(logits, labels), logits

    return tf.function(train_epoch, autograph=False, jit_compile=True)


def _errors(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return each network's number of wrong images, ``(lanes,)``; see :func:`harness.engines.history.wrong_images`."""
    is_right = (tf.argmax(logits, axis=1, output_type=tf.int32) == labels) & tf.reduce_all(
        tf.math.is_finite(logits), axis=1
    )
    return N_IMAGES - tf.reduce_sum(tf.cast(is_right, tf.int32), axis=1)


def _logits(weights: Sequence[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Return the logits of every network for every image, ``(lanes, 10, 5000)``."""
    units, fan_in = weights[0].shape[1:]
    # One matrix product computes the first layer of all networks. Each row of the product belongs to one unit of one
    # network. The images are the second factor, so that no row depends on the other rows.
    sums = tf.matmul(tf.reshape(weights[0], [-1, fan_in]), images, transpose_b=True)
    activations = tf.reshape(sums, [-1, units, N_IMAGES]) + weights[1][:, :, None]
    for kernel, bias in zip(weights[2::2], weights[3::2], strict=True):
        activations = tf.matmul(kernel, _relu(activations)) + bias[:, :, None]
    return activations


def _relu(values: tf.Tensor) -> tf.Tensor:
    # Do not use tf.nn.relu: compiled for a CPU, it turns NaN into zero. A network that has diverged would look finite.
    return tf.where(values <= 0, 0.0, values)


def _gradients(
    shape: Shape, weights: Sequence[tf.Tensor], images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the losses of a batch, ``(lanes, b)``, and the gradients of each network's mean loss.

    Args:
        shape: Layers, batch size and softmax of the networks.
        weights: Weights of the networks.
        images: Images of the batch, ``(lanes, b, 400)``.
        labels: Labels of the batch, ``(lanes, b)``.
    """
    kernels, biases = weights[::2], weights[1::2]
    sums = [tf.matmul(kernels[0], images, transpose_b=True) + biases[0][:, :, None]]
    inputs: list[tf.Tensor] = []
    for kernel, bias in zip(kernels[1:], biases[1:], strict=True):
        inputs.append(_relu(sums[-1]))
        sums.append(tf.matmul(kernel, inputs[-1]) + bias[:, :, None])
    is_label = tf.cast(labels[:, None, :] == tf.range(N_CLASSES)[None, :, None], tf.float32)
    losses, delta = _LOSSES[shape.softmax](sums[-1], is_label)
    delta *= np.float32(1 / images.shape[1])
    gradients: list[tf.Tensor] = []
    for layer in reversed(range(1, len(kernels))):
        gradients = [tf.matmul(delta, inputs[layer - 1], transpose_b=True), tf.reduce_sum(delta, axis=2), *gradients]
        delta = tf.where(sums[layer - 1] > 0, tf.matmul(kernels[layer], delta, transpose_a=True), 0.0)
    return losses, [tf.matmul(delta, images), tf.reduce_sum(delta, axis=2), *gradients]


def _softmax_in_loss(logits: tf.Tensor, is_label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the cross-entropy of logits and its derivative with respect to the logits.

    Logits, one-hot labels and the derivative are ``(lanes, 10, b)``. The cross-entropy is ``(lanes, b)``.
    """
    shifted = logits - tf.reduce_max(logits, axis=1, keepdims=True)
    powers = tf.exp(shifted)
    total = tf.reduce_sum(powers, axis=1, keepdims=True)
    losses = tf.math.log(total[:, 0]) - tf.reduce_sum(shifted * is_label, axis=1)
    return losses, powers / total - is_label


def _softmax_in_output(logits: tf.Tensor, is_label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the cross-entropy of clipped probabilities and its derivative with respect to the logits.

    The probabilities are clipped first, as in Keras. The cross-entropy then uses the logarithms of the clipped
    probabilities as logits. The arrays have the same shapes as in :func:`_softmax_in_loss`.
    """
    powers = tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True))
    probabilities = powers / tf.reduce_sum(powers, axis=1, keepdims=True)
    clipped = tf.clip_by_value(probabilities, CLIP, 1 - CLIP)
    losses, by_logarithm = _softmax_in_loss(tf.math.log(clipped), is_label)
    is_clipped = (probabilities < CLIP) | (probabilities > 1 - CLIP)
    by_probability = tf.where(is_clipped, 0.0, by_logarithm / clipped)
    mean = tf.reduce_sum(by_probability * probabilities, axis=1, keepdims=True)
    return losses, probabilities * (by_probability - mean)


_LOSSES: dict[SoftmaxPlace, Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]] = {
    "logits": _softmax_in_loss,
    "output": _softmax_in_output,
}


def _adam_step(state: _State, gradients: Sequence[tf.Tensor], constants: Adam) -> _State:
    """Take one Adam step for every network, in the order of operations of TensorFlow's ``ResourceApplyAdam``."""
    step = state.step + 1
    rate = (
        constants.learning_rate
        * tf.sqrt(1 - tf.pow(constants.beta_2, step))
        / (1 - tf.pow(constants.beta_1, step))
    )  # fmt: skip

    def over(values: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        """Reshape one value per network, ``(lanes,)``, so that the values broadcast over another array."""
        return tf.reshape(values, [-1] + [1] * (len(other.shape) - 1))

    weights, means, squares = [], [], []
    for weight, mean, square, gradient in zip(state.weights, state.means, state.squares, gradients, strict=True):
        means.append(mean + (gradient - mean) * over(constants.rest_1, mean))
        squares.append(square + (gradient * gradient - square) * over(constants.rest_2, square))
        divisor = tf.sqrt(squares[-1]) + over(constants.epsilon, square)
        weights.append(weight - means[-1] * over(rate, mean) / divisor)
    return _State(tuple(weights), tuple(means), tuple(squares), step)
