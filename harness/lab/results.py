"""Computes every number of the lab and compares it with the published one."""

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
from harness.engines.training import LAB_IMAGE_OF_TWO
from harness.lab.published import LAB_LOG
from harness.network.softmax import WAYS, Floats, tensorflow_softmax
from harness.network.variant import BASELINE

EPOCHS = 40  # what the lab's log has
LONGER = BASELINE.epochs  # what it advises: to train on, as far as the baseline does

_Values = Sequence[Any] | NDArray[np.floating]

# What `my_softmax` is shown with: the lab's own vector, and one whose exponentials are infinite.
VECTORS = {"the lab's": (1.0, 2.0, 3.0, 4.0), "large": (1000.0, 1001.0, 1002.0, 1003.0)}


@dataclass(frozen=True, eq=False)
class Softmaxes:
    """One vector's softmax by every way of ``my_softmax`` and by TensorFlow, all in ``float64``.

    Attributes:
        name: of the vector.
        z: ``(n,)``.
        ways: ``(n,)`` by the name of the way; NaN where it overflows.
        tensorflow: ``(n,)``.
    """

    name: str
    z: Floats
    ways: dict[str, Floats]
    tensorflow: Floats

    @property
    def distances(self) -> dict[str, float | None]:
        """The largest difference of each way from TensorFlow's; None where it overflows."""
        apart = {way: float(np.abs(values - self.tensorflow).max()) for way, values in self.ways.items()}
        return {way: distance if isfinite(distance) else None for way, distance in apart.items()}


@dataclass(frozen=True, eq=False)
class NetworkState:
    """What the network says after some epochs.

    Attributes:
        epochs: how many it was trained for.
        loss: mean loss of the last of them.
        logits: ``(10,)``, ``float32``, of the lab's image of a two, ``X[1015]``.
        probabilities: TensorFlow's softmax of these, ``(10,)``, ``float32``, as the lab takes them.
        predicted: ``(5000,)``, the digit that each image is taken for; -1 where its logits are not finite.
        wrong: indices (from 0) of the images that are wrong.
    """

    epochs: int
    loss: float
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    predicted: NDArray[np.int64]
    wrong: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Lab:
    """One run of the lab.

    Attributes:
        digits: the images.
        engine: the name of what trained.
        history: the baseline's 100 epochs, with a snapshot after each.
        states: the network after the lab's 40 epochs, and after 100.
        softmaxes: ``my_softmax`` beside TensorFlow's: the lab's vector, a large one, the logits of ``X[1015]``.
        summary: Keras' summary of the model.
    """

    digits: Digits
    engine: str
    history: TrainingHistory
    states: tuple[NetworkState, NetworkState]
    softmaxes: tuple[Softmaxes, ...]
    summary: str

    @cached_property
    def parameters(self) -> list[int]:
        """How many parameters each layer has, bias and all."""
        weights = self.history.final.weights
        return [kernel.size + bias.size for kernel, bias in zip(weights[::2], weights[1::2], strict=True)]

    @cached_property
    def numbers(self) -> list[Number]:
        """What the lab printed at each place, in its order, and what this run has there."""
        known = self.digits.name == LAB_NAME
        return [place.beside(self, known=known) for place in PLACES]

    def nearest(self) -> tuple[int, float]:
        """The epoch at which the logits of ``X[1015]`` are nearest to the published ones, and how near.

        Returns:
            the epoch (from 1), and the largest of the ten differences there.
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
        """The run in plain values, as ``harness lab --json`` writes it."""
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
    """A number, or a row of them, of the lab's page.

    Attributes:
        part: of the lab.
        name: what it is.
        ours: as this run prints it, in the lab's digits.
        published: as the lab's page prints it; None where other images were taken, of which it prints nothing.
        difference: the largest difference of an entry from the published one; None where they are not numbers.
    """

    part: str
    name: str
    ours: tuple[str, ...]
    published: tuple[str, ...] | None
    difference: float | None

    @property
    def same(self) -> bool | None:
        """Whether every printed digit is the same; None where nothing was published."""
        return None if self.published is None else self.ours == self.published

    def as_json(self) -> dict[str, Any]:
        """The number in plain values."""
        fields = {name: getattr(self, name) for name in ("part", "name", "ours", "published")}
        return {**fields, "same": self.same, "difference": self.difference}


@dataclass(frozen=True)
class Place:
    """A place of the lab's page where a number, or a row of them, is printed.

    Attributes:
        part: of the lab.
        name: what is printed there.
        published: what the lab's page has there.
        form: how numbers are printed there; the digits that this prints are what is compared.
        read: takes the same from a run.
    """

    part: str
    name: str
    published: tuple[str, ...]
    form: str
    read: Callable[[Lab], _Values]

    def beside(self, lab: Lab, *, known: bool) -> Number:
        """What a run has at this place, with the published number beside it where the images are the lab's."""
        values = self.read(lab)
        ours = tuple(format(value, self.form) for value in values)
        if not known:
            return Number(self.part, self.name, ours, None, None)
        difference = None
        if self.form:
            # From our unrounded numbers where they print otherwise: no difference is shown where no digit differs.
            pairs = zip(values, ours, self.published, strict=True)
            apart = [0.0 if mine == theirs else abs(float(value) - float(theirs)) for value, mine, theirs in pairs]
            difference = float(np.max(apart))
        return Number(self.part, self.name, ours, self.published, difference)


def run(engine: Engine, digits: Digits, on_epoch: OnEpoch | None = None) -> Lab:
    """Run the lab: one training of the baseline, read off after its 40 epochs and after 100."""
    from harness.network import keras_model

    every_epoch = range(1, LONGER + 1)
    [history] = engine.train([registry.baseline(engine.name)], snapshots=every_epoch, on_epoch=on_epoch)
    states = (state(digits, history, EPOCHS), state(digits, history, LONGER))
    vectors = {name: np.array(z) for name, z in VECTORS.items()}
    vectors[f"logits of X[{LAB_IMAGE_OF_TWO}], {EPOCHS} epochs"] = states[0].logits.astype(np.float64)
    softmaxes = tuple(softmax(name, z) for name, z in vectors.items())
    return Lab(digits, engine.name, history, states, softmaxes, keras_model.summary())


def state(digits: Digits, history: TrainingHistory, epochs: int) -> NetworkState:
    """What the network of a training says after so many epochs.

    Raises:
        KeyError: no snapshot was taken then.
    """
    logits = history.snapshots[epochs].logits
    two = logits[LAB_IMAGE_OF_TWO]
    predicted = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)
    loss = float(history.losses[epochs - 1])
    return NetworkState(epochs, loss, two, tensorflow_softmax(two), predicted, wrong_images(logits, digits.labels))


def softmax(name: str, z: Floats) -> Softmaxes:
    """Every way of ``my_softmax``, and TensorFlow's, of one vector, ``(n,) float64``."""
    with np.errstate(over="ignore", invalid="ignore"):  # one of the vectors overflows, which is why it is shown
        ways = {way: function(z) for way, function in WAYS.items()}
    return Softmaxes(name, z, ways, tensorflow_softmax(z))


def _pixels(first: int, *values: str) -> Place:
    """Neighbouring elements of ``X[0]``."""
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
    """What the lab prints of the trained network; of its two moments of training it does not say which it shows."""
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


# Everything that the lab's page prints of its images, its model and its training, in its order. `X[0]` is printed
# whole there; these of its 400 elements are the first dark and bright ones, and two that a rounding error alone made.
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
