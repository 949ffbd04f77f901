"""Defines and validates the configuration of a study: its space, design, objectives and engine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.data.digits import Digits
from harness.data.held_out import why_none
from harness.engines import registry
from harness.errors import UsageError
from harness.network.variant import BASELINE, AdamKind, Shape, SoftmaxPlace, Variant

Value = int | float | str
# A point of the search space: a value for each parameter that varies, by the name of the parameter.
Point = dict[str, Value]
NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
Objective = Literal["errors", "epochs", "held_out_errors"]


class _Part(BaseModel):
    """A base class for tables of a study file. Its instances are immutable and reject unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class IntRange(_Part):
    """A range of integers from ``low`` to ``high``, both included, on a linear or logarithmic scale."""

    low: int
    high: int
    step: Annotated[int, Field(ge=1)] = 1
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            msg = f"low ({self.low}) must be below high ({self.high})"
            raise ValueError(msg)
        if (self.high - self.low) % self.step:
            msg = f"high ({self.high}) must be low ({self.low}) plus a multiple of step ({self.step})"
            raise ValueError(msg)
        if self.log and (self.low < 1 or self.step > 1):
            msg = "a logarithmic scale begins at 1 or above, and accepts no step"
            raise ValueError(msg)
        return self


class FloatRange(_Part):
    """A range of real numbers from ``low`` to ``high``, both included, on a linear or logarithmic scale."""

    low: Annotated[float, Field(allow_inf_nan=False)]
    high: Annotated[float, Field(allow_inf_nan=False)]
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            msg = f"low ({self.low}) must be below high ({self.high})"
            raise ValueError(msg)
        if self.log and self.low <= 0:
            msg = f"low ({self.low}) must be above 0 on a logarithmic scale"
            raise ValueError(msg)
        return self


IntChoices = Annotated[list[int], Field(min_length=1)]
FloatChoices = Annotated[list[float], Field(min_length=1)]


class Space(_Part):
    """The search space of a study. Each parameter that varies has a list of values or a range.

    The parameters that are not listed here have a fixed value; see :class:`Fixed`.
    """

    epochs: IntChoices | IntRange | None = None
    learning_rate: FloatChoices | FloatRange | None = None
    seed: IntChoices | None = None
    batch_size: IntChoices | IntRange | None = None
    softmax: Annotated[list[SoftmaxPlace], Field(min_length=1)] | None = None

    def parameters(self) -> dict[str, list[int] | list[float] | list[str] | IntRange | FloatRange]:
        """Return the values of the parameters that vary, by name, in the order in which this class declares them."""
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}


class Fixed(_Part):
    """The settings that all trials share. The defaults are those of the engine's baseline."""

    epochs: int = BASELINE.epochs
    learning_rate: float = BASELINE.learning_rate
    seed: int = BASELINE.seed
    layers: list[int] = Field(default_factory=lambda: list(BASELINE.layers))
    batch_size: int = BASELINE.batch_size
    softmax: SoftmaxPlace = BASELINE.softmax
    adam: AdamKind | None = None
    beta_1: float = BASELINE.beta_1
    beta_2: float = BASELINE.beta_2
    epsilon: float = BASELINE.epsilon


class Grid(_Part):
    """A factorial design: every combination of the listed values is a trial."""

    kind: Literal["factorial"]

    @property
    def seeds(self) -> None:
        """Always None: a grid has no list of seeds, because each trial is one training."""
        return None

    def n_trials(self, space: Space) -> int:
        """Return the number of trials that the study has when it is complete."""
        return len(self.points(space))

    def points(self, space: Space) -> list[Point]:
        """Return the parameter values of every trial, by name. In this order, the first parameter varies slowest."""
        varied = space.parameters()
        values: list[list[Value]] = [list(choices) for choices in varied.values() if isinstance(choices, list)]
        return [dict(zip(varied, point, strict=True)) for point in itertools.product(*values)]

    def problems(self, space: Space, fixed: Fixed) -> list[str]:  # noqa: ARG002 - same signature as in `Sampled`
        """Return the reasons why this design cannot use the space; empty if there are none."""
        return [
            f"space.{name}: a factorial design takes a list of values, not a range"
            for name, values in space.parameters().items()
            if not isinstance(values, list)
        ]


class Sampled(_Part):
    """A sampled design: an Optuna sampler proposes the trials. Each trial is trained with all ``seeds``."""

    kind: Literal["sampled"]
    sampler: Literal["tpe", "random"]
    trials: Annotated[int, Field(ge=1)]
    seeds: Annotated[list[int], Field(min_length=1)]
    sampler_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    def n_trials(self, space: Space) -> int:  # noqa: ARG002 - same signature as in `Grid`
        """Return the number of trials that the study has when it is complete."""
        return self.trials

    def points(self, space: Space) -> list[Point]:  # noqa: ARG002 - same signature as in `Grid`
        """Return an empty list, because the sampler chooses the parameter values while the study runs."""
        return []

    def problems(self, space: Space, fixed: Fixed) -> list[str]:
        """Return the reasons why this design cannot use the space; empty if there are none."""
        found = []
        for name, values in space.parameters().items():
            if name == "softmax":
                found.append(f"space.{name}: only a factorial design can vary it")
            elif isinstance(values, list):
                found.append(f"space.{name}: a sampled design takes a range (low, high), not a list")
        if len(set(self.seeds)) < len(self.seeds):
            found.append("design.seeds: a seed is listed twice")
        if "seed" in fixed.model_fields_set or space.seed is not None:
            found.append("seed: a sampled design needs its seeds in design.seeds, not in fixed or space")
        return found


class StudyConfig(_Part):
    """The configuration of a study.

    Attributes:
        name: Name of the study, and of its folder under ``out``.
        description: Question that the study answers, as text.
        engine: Name of the engine that trains.
        objectives: Objectives to minimize, in order. ``errors`` is the error count after the last epoch.
            ``held_out_errors`` is the number of misclassified held-out images. Both are means over the seeds of a
            trial. ``epochs`` is the number of epochs.
        space: Values of the parameters that vary.
        fixed: Settings that do not vary.
        design: Rule that chooses the parameter values of the trials: every combination, or the proposals of a sampler.
    """

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    description: str
    engine: str
    objectives: Annotated[list[Objective], Field(min_length=1)]
    space: Space
    fixed: Fixed = Fixed()
    design: Annotated[Grid | Sampled, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [
            *self._engine_problems(),
            *self._space_problems(),
            *self.design.problems(self.space, self.fixed),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        for corner in self.corners():
            self.variant(corner)  # raises a ValueError if a value is invalid
        return self

    def _engine_problems(self) -> list[str]:
        try:
            registry.check(self.engine)
        except UsageError as error:
            return [f"engine: {error.cause} ({error.remedy.rstrip('.')})"]
        return []

    def _space_problems(self) -> list[str]:
        varied = self.space.parameters()
        problems = [f"{name}: is in both space and fixed" for name in varied if name in self.fixed.model_fields_set]
        if len(set(self.objectives)) < len(self.objectives):
            problems.append("objectives: an objective is listed twice")
        if not varied:
            problems.append("space: lists no parameter")
        for name, values in varied.items():
            if isinstance(values, list) and len(set(values)) < len(values):
                problems.append(f"space.{name}: a value is listed twice")
        return problems

    @property
    def varied(self) -> tuple[str, ...]:
        """The names of the settings that differ between trainings."""
        return (*self.space.parameters(), *(("seed",) if self.design.seeds else ()))

    def check_images(self, digits: Digits) -> None:
        """Check that there are held-out images, if the study minimizes ``held_out_errors``.

        Raises:
            UsageError: The study needs held-out images, but there are none.
        """
        if "held_out_errors" in self.objectives and digits.held_out is None:
            raise UsageError(
                f"study {self.name} minimizes held_out_errors: {why_none(digits.name)}",
                "Run the study on the lab's images, or choose another objective.",
            )

    def corners(self) -> list[Point]:
        """Return two dictionaries by parameter name: the smallest value of each varied parameter, and the largest.

        If the variants with these values are valid, all variants of the study are valid.
        """
        extremes: dict[str, list[Value]] = {
            name: [min(values), max(values)] if isinstance(values, list) else [values.low, values.high]
            for name, values in self.space.parameters().items()
        }
        if self.design.seeds:
            extremes["seed"] = [min(self.design.seeds), max(self.design.seeds)]
        return [dict(zip(extremes, values, strict=True)) for values in zip(*extremes.values(), strict=True)]

    def variant(self, point: Mapping[str, Value]) -> Variant:
        """Return the variant with the given values of the parameters that vary, and with the fixed settings."""
        fields: dict[str, Any] = {**self.fixed.model_dump(), **point}
        fields["layers"] = tuple(fields["layers"])
        fields["adam"] = fields["adam"] or registry.baseline(self.engine).adam
        return Variant(**fields)

    def points(self) -> list[Point]:
        """Return the parameter values of every trial, by name. The list is empty for a sampled design."""
        return self.design.points(self.space)

    @property
    def shape(self) -> Shape | None:
        """The shape (layers, batch size, place of softmax) that all variants share; None if their shapes differ."""
        shapes = {self.variant(corner).shape for corner in self.corners()}
        return shapes.pop() if len(shapes) == 1 else None

    @property
    def n_trials(self) -> int:
        """The number of trials that the study has when it is complete."""
        return self.design.n_trials(self.space)
