"""The configuration of a study: its space, design, objectives and engine, validated."""

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
Point = dict[str, Value]
NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
Objective = Literal["errors", "epochs", "held_out_errors"]


class _Part(BaseModel):
    """A table of a study file. It is immutable and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class IntRange(_Part):
    """Whole numbers from ``low`` to ``high``, both included, on a linear or logarithmic scale."""

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
            msg = f"high ({self.high}) must be reached from low ({self.low}) in steps of {self.step}"
            raise ValueError(msg)
        if self.log and (self.low < 1 or self.step > 1):
            msg = "a logarithmic scale begins at 1 or above and has no step"
            raise ValueError(msg)
        return self


class FloatRange(_Part):
    """Numbers from ``low`` to ``high``, both included, on a linear or logarithmic scale."""

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
    """The space of a study: a list of values or a range for each parameter that varies.

    All other parameters have the values of the baseline.
    """

    epochs: IntChoices | IntRange | None = None
    learning_rate: FloatChoices | FloatRange | None = None
    seed: IntChoices | None = None
    batch_size: IntChoices | IntRange | None = None
    softmax: Annotated[list[SoftmaxPlace], Field(min_length=1)] | None = None

    def parameters(self) -> dict[str, list[int] | list[float] | list[str] | IntRange | FloatRange]:
        """The parameters that vary, by name, in the order of their declaration."""
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}


class Fixed(_Part):
    """Fixed settings that replace the baseline's in every trial. The default of ``adam`` is the engine's own."""

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
    """Every combination of the listed values is a trial."""

    kind: Literal["factorial"]

    @property
    def seeds(self) -> None:
        """None: each trial is one training, with the seed of its point."""
        return None

    def n_trials(self, space: Space) -> int:
        """The number of trials of the complete study."""
        return len(self.points(space))

    def points(self, space: Space) -> list[Point]:
        """The points of all trials, the first parameter varying slowest."""
        varied = space.parameters()
        values: list[list[Value]] = [list(choices) for choices in varied.values() if isinstance(choices, list)]
        return [dict(zip(varied, point, strict=True)) for point in itertools.product(*values)]

    def problems(self, space: Space, fixed: Fixed) -> list[str]:  # noqa: ARG002 - `Sampled` reads it
        """The reasons why this design cannot use a space, as sentences."""
        return [
            f"space.{name}: a factorial design takes a list of values, not a range"
            for name, values in space.parameters().items()
            if not isinstance(values, list)
        ]


class Sampled(_Part):
    """A sampler proposes the trials. Each trial is trained with all ``seeds``."""

    kind: Literal["sampled"]
    sampler: Literal["tpe", "random"]
    trials: Annotated[int, Field(ge=1)]
    seeds: Annotated[list[int], Field(min_length=1)]
    sampler_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    def n_trials(self, space: Space) -> int:  # noqa: ARG002 - `Grid` reads it
        """The number of trials of the complete study."""
        return self.trials

    def points(self, space: Space) -> list[Point]:  # noqa: ARG002 - `Grid` reads it
        """An empty list: the points are not known in advance."""
        return []

    def problems(self, space: Space, fixed: Fixed) -> list[str]:
        """The reasons why this design cannot use a space, as sentences."""
        found = []
        for name, values in space.parameters().items():
            if name == "softmax":
                found.append(f"space.{name}: only a factorial design can vary it")
            elif isinstance(values, list):
                found.append(f"space.{name}: a sampled design takes a range (low, high), not a list")
        if len(set(self.seeds)) < len(self.seeds):
            found.append("design.seeds: a seed is listed twice")
        if "seed" in fixed.model_fields_set or space.seed is not None:
            found.append("seed: a sampled design has its seeds in design.seeds, not in fixed or space")
        return found


class StudyConfig(_Part):
    """The configuration of a study.

    Attributes:
        name: Name of the study, and of its folder under ``out``.
        description: Question that the study answers, for people.
        engine: Name of the engine that trains.
        objectives: Objectives to minimize, in order: ``errors``, the mean error count after the last epoch over the
            seeds of a trial, ``epochs``, or ``held_out_errors``, the mean number of wrong held-out images.
        space: Values of the parameters that vary.
        fixed: Settings that do not vary.
        design: Rule that selects the points of the space that are trials.
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
            self.variant(corner)  # raises a ValueError that names the field
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
        """Check that the images have a held-out part, if the study minimizes held-out errors.

        Raises:
            UsageError: They have none.
        """
        if "held_out_errors" in self.objectives and digits.held_out is None:
            raise UsageError(
                f"study {self.name} minimizes held_out_errors: {why_none(digits.name)}",
                "Run it on the lab's images, or choose another objective.",
            )

    def corners(self) -> list[Point]:
        """Points with every extreme value. They suffice to find any value that a variant refuses."""
        extremes: dict[str, list[Value]] = {
            name: [min(values), max(values)] if isinstance(values, list) else [values.low, values.high]
            for name, values in self.space.parameters().items()
        }
        if self.design.seeds:
            extremes["seed"] = [min(self.design.seeds), max(self.design.seeds)]
        return [dict(zip(extremes, values, strict=True)) for values in zip(*extremes.values(), strict=True)]

    def variant(self, point: Mapping[str, Value]) -> Variant:
        """The variant at a point of the space."""
        fields: dict[str, Any] = {**self.fixed.model_dump(), **point}
        fields["layers"] = tuple(fields["layers"])
        fields["adam"] = fields["adam"] or registry.baseline(self.engine).adam
        return Variant(**fields)

    def points(self) -> list[Point]:
        """The points of a factorial design, the first parameter varying slowest; empty for a sampled one."""
        return self.design.points(self.space)

    @property
    def shape(self) -> Shape | None:
        """The shape of all variants, or None if they have several."""
        shapes = {self.variant(corner).shape for corner in self.corners()}
        return shapes.pop() if len(shapes) == 1 else None

    @property
    def n_trials(self) -> int:
        """The number of trials of the complete study."""
        return self.design.n_trials(self.space)
