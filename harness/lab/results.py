"""Runs the lab, and compares the numbers that the lab's page prints with those of this run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.digits import LAB_NAME, Digits
from harness.engines import registry
from harness.engines.contract import Engine, OnEpoch
from harness.engines.history import TrainingHistory, wrong_images
from harness.engines.training import LAB_IMAGE_OF_TWO, held_out_errors
from harness.lab.published import LAB_LOG
from harness.network.softmax import WAYS, Floats, tensorflow_softmax
from harness.network.variant import BASELINE

EPOCHS = 40  # number of epochs in the lab's published log

# The lab recommends training for more epochs. This is the baseline's number of epochs.
LONGER = BASELINE.epochs

_Values = Sequence[Any] | NDArray[np.floating]

# The vectors that demonstrate `my_softmax`. The exponentials of the large vector overflow.
VECTORS = {"the lab's": (1.0, 2.0, 3.0, 4.0), "large": (1000.0, 1001.0, 1002.0, 1003.0)}


@dataclass(frozen=True, eq=False)
class Softmaxes:
    """The softmax of one vector in ``float64``, from every implementation of ``my_softmax`` and from TensorFlow.

    Attributes:
        name: Name of the vector.
        z: Vector, ``(n,)``.
        ways: Result of each implementation, ``(n,)``, by the implementation's name. NaN where the implementation
            overflows.
        tensorflow: Result of TensorFlow, ``(n,)``.
    """

    name: str
    z: Floats
    ways: dict[str, Floats]
    tensorflow: Floats

    @property
    def distances(self) -> dict[str, float | None]:
        """The largest difference between each implementation and TensorFlow; None if the implementation overflows."""
        apart = {way: float(np.abs(values - self.tensorflow).max()) for way, values in self.ways.items()}
        return {way: distance if isfinite(distance) else None for way, distance in apart.items()}


@dataclass(frozen=True, eq=False)
class NetworkState:
    """The predictions of the network after a number of epochs.

    Attributes:
        epochs: Number of epochs that the network was trained for.
        loss: Mean loss of the last epoch.
        logits: Logits of ``X[1015]``, the lab's image of a two, ``(10,)``, ``float32``.
        probabilities: TensorFlow's softmax of these logits, as in the lab, ``(10,)``, ``float32``.
        predicted: Predicted digit of each image, ``(5000,)``; -1 if its logits are not finite.
        wrong: Indices (from 0) of the misclassified images.
        held_out_errors: Number of misclassified held-out images; None if the dataset has no held-out images.
    """

    epochs: int
    loss: float
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    predicted: NDArray[np.int64]
    wrong: NDArray[np.intp]
    held_out_errors: int | None = None


@dataclass(frozen=True, eq=False)
class Lab:
    """One run of the lab.

    Attributes:
        digits: Images that the network was trained on.
        engine: Name of the engine.
        history: Training history of the baseline's 100 epochs, with a snapshot after each epoch.
        states: Predictions after 40 epochs, as in the lab, and after 100 epochs.
        softmaxes: Results of ``my_softmax`` and TensorFlow for three vectors: the lab's vector, a large vector, and the
            logits of ``X[1015]``.
        summary: Text of Keras' ``model.summary()``.
    """

    digits: Digits
    engine: str
    history: TrainingHistory
    states: tuple[NetworkState, NetworkState]
    softmaxes: tuple[Softmaxes, ...]
    summary: str

    @cached_property
    def parameters(self) -> list[int]:
        """The number of weights and biases of each layer."""
        weights = self.history.final.weights
        return [kernel.size + bias.size for kernel, bias in zip(weights[::2], weights[1::2], strict=True)]

    @cached_property
    def numbers(self) -> list[Number]:
        """The entries of the lab's page, in its order. Each has this run's numbers and the published numbers."""
        is_published = self.digits.name == LAB_NAME
        return [place.beside(self, is_published=is_published) for place in PLACES]

    def nearest(self) -> tuple[int, float]:
        """Find the epoch at which the logits of ``X[1015]`` are nearest to the published logits.

        Returns:
            The epoch (from 1), and the largest of the ten absolute differences at this epoch.
        """
        snapshots = self.history.snapshots
        published = np.array(PUBLISHED_LOGITS, float)
        distances = {
            epoch: float(np.abs(snapshot.logits[LAB_IMAGE_OF_TWO] - published).max())
            for epoch, snapshot in snapshots.items()
        }
        epoch = min(distances, key=lambda one: (distances[one] if isfinite(distances[one]) else np.inf, one))
        return epoch, distances[epoch]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON content that ``harness lab --json`` writes for this run."""
        dataset = {name: self.digits.facts()[name] for name in ("name", "sha256_x", "sha256_y")}
        return {
            "dataset": dataset,
            "engine": self.engine,
            "losses": self.history.losses.tolist(),
            "errors": self.history.errors.tolist(),
            "first_zero_epoch": self.history.first_zero_epoch,
            "states": [
                {
                    "epochs": state.epochs,
                    "errors": len(state.wrong),
                    "held_out_errors": state.held_out_errors,
                    "wrong_images": state.wrong.tolist(),
                    "logits_1015": state.logits.tolist(),
                    "probabilities_1015": state.probabilities.tolist(),
                }
                for state in self.states
            ],
            "numbers": [number.as_json() for number in self.numbers],
        }


@dataclass(frozen=True)
class Number:
    """One entry of the lab's page, as computed by this run and as published.

    An entry is a single number or text, such as the loss of an epoch, or several numbers, such as ten logits.

    Attributes:
        part: Part of the lab: ``images``, ``model``, ``training``, ``prediction`` or ``errors``.
        name: Name of the entry.
        ours: Numbers of this run, formatted like the published numbers.
        published: Numbers as the lab's page prints them; None if this run uses other images than the lab.
        difference: Largest absolute difference between ``ours`` and ``published``; None if ``published`` is None or if
            the entry is text.
    """

    part: str
    name: str
    ours: tuple[str, ...]
    published: tuple[str, ...] | None
    difference: float | None

    @property
    def same(self) -> bool | None:
        """Whether all formatted numbers equal the published ones; None if there are no published numbers."""
        return None if self.published is None else self.ours == self.published

    def as_json(self) -> dict[str, Any]:
        """Return the attributes of this entry for JSON, with ``same``."""
        fields = {name: getattr(self, name) for name in ("part", "name", "ours", "published")}
        return {**fields, "same": self.same, "difference": self.difference}


@dataclass(frozen=True)
class Place:
    """One entry of the lab's page as published, and a function that returns the same entry of a run.

    An entry is a single number or text, such as the loss of an epoch, or several numbers, such as ten logits.

    Attributes:
        part: Part of the lab: ``images``, ``model``, ``training``, ``prediction`` or ``errors``.
        name: Name of the entry.
        published: Numbers as the lab's page prints them.
        form: Format specification of each number; empty for text. The comparison uses the formatted text.
        read: Function that returns the numbers of a run.
    """

    part: str
    name: str
    published: tuple[str, ...]
    form: str
    read: Callable[[Lab], _Values]

    def beside(self, lab: Lab, *, is_published: bool) -> Number:
        """Return the numbers of a run beside the published numbers.

        Args:
            lab: Run of the lab.
            is_published: Whether the run uses the lab's images. If not, the result has no published numbers.
        """
        values = self.read(lab)
        ours = tuple(format(value, self.form) for value in values)
        if not is_published:
            return Number(self.part, self.name, ours, None, None)
        difference = None
        if self.form:
            # If the formatted numbers are equal, the difference is zero. Otherwise, it is the difference between this
            # run's unrounded number and the published number.
            pairs = zip(values, ours, self.published, strict=True)
            apart = [0.0 if mine == theirs else abs(float(value) - float(theirs)) for value, mine, theirs in pairs]
            difference = float(np.max(apart))
        return Number(self.part, self.name, ours, self.published, difference)


def run(engine: Engine, digits: Digits, on_epoch: OnEpoch | None = None) -> Lab:
    """Run the lab: train the baseline once, and evaluate it after 40 epochs, as in the lab, and after 100 epochs."""
    from harness.network import keras_model

    every_epoch = range(1, LONGER + 1)
    [history] = engine.train([registry.baseline(engine.name)], snapshots=every_epoch, on_epoch=on_epoch)
    states = (state(digits, history, EPOCHS), state(digits, history, LONGER))
    vectors = {name: np.array(z) for name, z in VECTORS.items()}
    vectors[f"logits of X[{LAB_IMAGE_OF_TWO}], {EPOCHS} epochs"] = states[0].logits.astype(np.float64)
    softmaxes = tuple(softmax(name, z) for name, z in vectors.items())
    return Lab(digits, engine.name, history, states, softmaxes, keras_model.summary())


def state(digits: Digits, history: TrainingHistory, epochs: int) -> NetworkState:
    """Return the predictions of the network after a number of epochs.

    Raises:
        KeyError: The history has no snapshot of this epoch.
    """
    logits = history.snapshots[epochs].logits
    two = logits[LAB_IMAGE_OF_TWO]
    predicted = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)
    loss = float(history.losses[epochs - 1])
    wrong, unseen = (
        wrong_images(logits, digits.labels),
        held_out_errors(history.snapshots[epochs].weights, history.variant, digits),
    )
    return NetworkState(epochs, loss, two, tensorflow_softmax(two), predicted, wrong, unseen)


def softmax(name: str, z: Floats) -> Softmaxes:
    """Compute the softmax of a vector, ``(n,) float64``, with every implementation and with TensorFlow."""
    with np.errstate(over="ignore", invalid="ignore"):  # one vector overflows intentionally
        ways = {way: function(z) for way, function in WAYS.items()}
    return Softmaxes(name, z, ways, tensorflow_softmax(z))


def _pixels(first: int, *values: str) -> Place:
    """Return the entry of the lab's page for consecutive elements of ``X[0]``; the first one is ``X[0, first]``."""
    end = first + len(values)
    name = f"X[0, {first}]" if len(values) == 1 else f"X[0, {first}:{end}]"
    return Place("images", name, values, ".2e", lambda lab: lab.digits.x[0, first:end])


def _loss(epoch: int, published: str) -> Place:
    return Place("training", f"loss of epoch {epoch}", (published,), ".4f", lambda lab: [lab.history.losses[epoch - 1]])


def _weight(name: str, index: int, published: str) -> Place:
    return Place(
        "model", f"shape of {name}", (published,), "", lambda lab: [str(lab.history.final.weights[index].shape)]
    )


def _parameters(layer: int, published: str) -> Place:
    return Place("model", f"parameters of L{layer}", (published,), "d", lambda lab: [lab.parameters[layer - 1]])


PUBLISHED_LOGITS = (
    *("-12.92", "-3.98", "2.72", "-3.58", "-22.06"),
    *("-15.56", "-19.24", "-8.50", "-10.32", "-12.86"),
)
PUBLISHED_PROBABILITIES = (
    *("1.60e-07", "1.23e-03", "9.97e-01", "1.83e-03", "1.73e-11"),
    *("1.15e-08", "2.91e-10", "1.34e-05", "2.16e-06", "1.71e-07"),
)


def _after(number: int) -> list[Place]:
    """Return the entries of the lab's page for the trained network: its prediction and its errors.

    The lab does not state after how many epochs it printed these numbers. They are therefore compared twice: with this
    run after 40 epochs, and with this run after 100 epochs.

    Args:
        number: 0 for the comparison after 40 epochs, 1 for the comparison after 100 epochs.
    """
    when = f"after {(EPOCHS, LONGER)[number]} epochs"

    def place(
        part: str, name: str, published: tuple[str, ...], form: str, read: Callable[[NetworkState], _Values]
    ) -> Place:
        return Place(part, f"{name}, {when}", published, form, lambda lab: read(lab.states[number]))

    return [
        place("prediction", "logits", PUBLISHED_LOGITS, ".2f", lambda state: state.logits),
        place("prediction", "argmax of the logits", ("2",), "d", lambda state: [state.logits.argmax()]),
        place("prediction", "probabilities", PUBLISHED_PROBABILITIES, ".2e", lambda state: state.probabilities),
        place("prediction", "sum", ("1.000",), ".3f", lambda state: [state.probabilities.sum()]),
        place("prediction", "argmax of the probabilities", ("2",), "d", lambda state: [state.probabilities.argmax()]),
        place("errors", "errors on the 5000 images", ("0",), "d", lambda state: [len(state.wrong)]),
    ]


# The numbers that the lab's page prints about its images, model and training, in the order of the page. Of the 400
# elements of `X[0]`, the list has only the first dark pixels, the first bright pixels, and two elements that are zero
# except for rounding errors.
PLACES = (
    _pixels(67, "8.56e-06", "1.94e-06", "-7.37e-04", "-8.13e-03", "-1.86e-02", "-1.87e-02"),
    _pixels(126, "-2.69e-02", "1.01e-01", "6.42e-01", "1.03e+00", "8.51e-01", "5.43e-01"),
    _pixels(105, "1.28e-17"),
    _pixels(345, "6.21e-18"),
    Place("images", "first element of y", ("0",), "d", lambda lab: [lab.digits.labels[0]]),
    Place("images", "last element of y", ("9",), "d", lambda lab: [lab.digits.labels[-1]]),
    Place("images", "shape of X", ("(5000, 400)",), "", lambda lab: [str(lab.digits.x.shape)]),
    Place("images", "shape of y", ("(5000, 1)",), "", lambda lab: [str(lab.digits.y.shape)]),
    *(_parameters(layer, count) for layer, count in enumerate(("10025", "390", "160"), start=1)),
    Place("model", "parameters in all", ("10575",), "d", lambda lab: [sum(lab.parameters)]),
    *(_weight(f"W{1 + at // 2}", at, shape) for at, shape in ((0, "(400, 25)"), (2, "(25, 15)"), (4, "(15, 10)"))),
    *(_weight(f"b{1 + at // 2}", at, shape) for at, shape in ((1, "(25,)"), (3, "(15,)"), (5, "(10,)"))),
    *(_loss(epoch, loss) for epoch, loss in LAB_LOG.items()),
    *_after(0),
    *_after(1),
)
