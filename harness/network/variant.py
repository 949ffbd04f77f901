"""A variant: the validated, immutable configuration of one training, and its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.errors import UsageError

N_FEATURES = 400
N_CLASSES = 10
N_IMAGES = 5000

# The version of the training's results. Increase it only when training computes different results than before. Old and
# new records are then never mixed.
TRACE_VERSION = 1

SoftmaxPlace = Literal["logits", "output"]
AdamKind = Literal["tensorflow", "keras"]

_BELOW_1 = 1 - 2.0**-24  # the largest float32 below 1
_LARGEST = float.fromhex("0x1.fffffep+127")  # the largest float32
_SMALLEST_NORMAL = 2.0**-126  # the smallest normal float32: TensorFlow rounds numbers below it to zero


class Shape(NamedTuple):
    """The settings that must be equal for variants to be trained in one call; see :class:`Variant`."""

    layers: tuple[int, ...]
    batch_size: int
    softmax: SoftmaxPlace


class Variant(BaseModel):
    """The configuration of one training. The defaults are the baseline.

    Attributes:
        epochs: Number of passes over the 5000 images, at least 1.
        learning_rate: Learning rate of Adam, above 0.
        seed: Seed of the initial weights and the batch order, 0 to 2**31 - 1.
        layers: Number of units of each layer, at most 10,000. The network has 400 inputs. The last layer is linear and
            has one unit per digit. All other layers have a ReLU.
        batch_size: Number of examples in a training step, 1 to 5000. The last batch of an epoch may be smaller.
        softmax: Where the softmax is applied. With ``logits``, the model returns logits, and the loss applies the
            softmax. With ``output``, the last layer of the model is a softmax. The loss then clips the probabilities
            to the range from 1e-7 to 1 - 1e-7 before it takes their logarithm, as Keras does.
        adam: Kind of Adam, which determines how 1 - beta is computed. ``tensorflow`` rounds beta to ``float32`` first,
            as TensorFlow's ``ResourceApplyAdam`` does: 1 - 0.9 is 0.10000002. ``keras`` computes 1 - beta first and
            then rounds the result: 1 - 0.9 is 0.1.
        beta_1: Decay rate of Adam's mean of the gradients, at least 0 and below 1.
        beta_2: Decay rate of Adam's mean of the squared gradients, at least 0 and below 1.
        epsilon: Number that Adam adds to the square root in its divisor, above 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    learning_rate: Annotated[float, Field(ge=_SMALLEST_NORMAL, le=_LARGEST, allow_inf_nan=False)] = 0.001
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1234
    layers: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = (25, 15, N_CLASSES)
    batch_size: Annotated[int, Field(ge=1, le=N_IMAGES)] = 32
    softmax: SoftmaxPlace = "logits"
    adam: AdamKind = "tensorflow"
    beta_1: Annotated[float, Field(ge=0, le=_BELOW_1)] = 0.9
    beta_2: Annotated[float, Field(ge=0, le=_BELOW_1)] = 0.999
    epsilon: Annotated[float, Field(ge=_SMALLEST_NORMAL, allow_inf_nan=False)] = 1e-7

    @field_validator("layers")
    @classmethod
    def _one_unit_a_digit(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if layers[-1:] != (N_CLASSES,):
            msg = f"the last layer must have {N_CLASSES} units, one per digit"
            raise ValueError(msg)
        return layers

    @classmethod
    def create(cls, **fields: Any) -> Self:  # noqa: ANN401 - accepts any value, in order to validate it
        """Create a variant from user input.

        Raises:
            UsageError: A field is unknown or its value is invalid. The message names the field.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise UsageError(describe(error), "Correct the value and try again.") from None

    @property
    def key(self) -> str:
        """The first 16 hex digits of the SHA-256 of the fields that differ from the baseline.

        The key is the same on every machine. If a later version adds a field, the keys of recorded variants stay the
        same, because the default of the new field is the baseline's value.
        """
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_epochs(self, epochs: int) -> Self:
        """Return the same configuration with another number of epochs."""
        return self.model_copy(update={"epochs": epochs})

    @property
    def shape(self) -> Shape:
        """The settings that must be equal for variants to be trained in one call."""
        return Shape(self.layers, self.batch_size, self.softmax)

    def settings(self) -> dict[str, int | float | str]:
        """Return every field by its name, with the layers as text such as ``25-15-10``."""
        return {**self.model_dump(), "layers": "-".join(str(units) for units in self.layers)}

    @property
    def steps_per_epoch(self) -> int:
        """The number of optimizer steps in an epoch, including the step of a smaller last batch."""
        return -(-N_IMAGES // self.batch_size)


def describe(error: ValidationError) -> str:
    """Return one line that lists every validation error with its location, its message and the given value."""
    lines = []
    items = error.errors(include_url=False)
    # If a field accepts a list or a range, Pydantic reports two errors for an invalid list: the error in the list, and
    # that the list is not a range (`model_type`). The second error does not help the user.
    for item in [item for item in items if item["type"] != "model_type"] or items:
        where = ".".join(str(part) for part in item["loc"] if not _is_of_the_schema(part))
        message = item["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        given = "" if item["type"] in {"missing", "value_error"} else f" (given: {item['input']!r})"
        lines.append(f"{where}: {message}{given}" if where else f"{message}{given}")
    return "; ".join(dict.fromkeys(lines))


def _is_of_the_schema(part: int | str) -> bool:
    """Return whether a part of an error's location is a type, such as ``list[int]``, instead of a key of the input."""
    return isinstance(part, str) and (part in {"IntRange", "FloatRange", "factorial", "sampled"} or "[" in part)


BASELINE = Variant()

# The settings that identify a training: all except the number of epochs. Variants that differ only in their epochs
# share one training, because the shorter history is the beginning of the longer history.
TRAINING_SETTINGS = tuple(name for name in BASELINE.settings() if name != "epochs")


def training_key(settings: Mapping[str, object]) -> frozenset[tuple[str, str]]:
    """Return a key of the training from a variant's settings. Variants that share a training have the same key."""
    return frozenset((name, str(settings[name])) for name in TRAINING_SETTINGS)
