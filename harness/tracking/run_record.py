"""Data classes for studies and runs that are recorded in MLflow, and a check that finds damaged runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from re import fullmatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.files import masked
from harness.network.softmax import SizedCheck, SoftmaxCheck
from harness.network.variant import BASELINE, N_IMAGES, training_key
from harness.study.config import NAME_PATTERN
from harness.tracking import bookkeeping
from harness.tracking.location import tracking_uri
from harness.tracking.owner import Owner
from harness.tracking.tags import Role, Tag


class DamagedRecordError(DataError):
    """A run in MLflow cannot be used because it was edited or damaged."""

    def __init__(self, damage: str) -> None:
        super().__init__(damage, "Correct the run in MLflow, or delete it.")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as recorded in MLflow.

    Attributes:
        run_id: MLflow's id of the run.
        name: Name of the run, for display.
        status: MLflow's status of the run: ``FINISHED``, ``FAILED``, ``KILLED`` or ``RUNNING``.
        params: Recorded parameters.
        metrics: Last value of each metric.
        tags: Recorded tags.
        started_ms: Start time, in milliseconds since 1970.
        ended_ms: End time, in milliseconds since 1970; None while the run is open.
        losses: Mean loss of each epoch, from epoch 1; empty if the training history was not read.
        errors: Error count after each epoch, from epoch 1; empty if the training history was not read.
        wrong_images: Indices (from 0) of the images that count as errors after the last epoch.
        wrong_answers: Predicted digit of each image in `wrong_images`, or -1 for no digit; empty if not recorded.
        softmax: Check of each implementation of ``my_softmax``, by the name of the implementation.
        softmax_by_size: Checks of ``my_softmax``, grouped by the size of the logits; empty if not recorded.
    """

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started_ms: int
    ended_ms: int | None = None
    losses: tuple[float, ...] = ()
    errors: tuple[int, ...] = ()
    wrong_images: tuple[int, ...] = ()
    wrong_answers: tuple[int, ...] = ()
    softmax: Mapping[str, SoftmaxCheck] = field(default_factory=dict)
    softmax_by_size: Sequence[SizedCheck] = ()

    @property
    def settings(self) -> dict[str, str]:
        """All settings of the variant, as text.

        If a setting is not recorded as a parameter, its value is that of the baseline.
        """
        return {name: self.params.get(name, str(value)) for name, value in BASELINE.settings().items()}

    @property
    def training(self) -> frozenset[tuple[str, str]]:
        """The key of the training that produced the run.

        Runs that differ only in the number of epochs have the same key, because they may come from one training.
        """
        return training_key(self.settings)

    @property
    def claimed_by(self) -> Owner | None:
        """The recorded owner of the study, alive or dead.

        The result is None if the study is released, or if this run is not a parent run.
        """
        return Owner.parse(self.tags.get(Tag.OWNER, ""))

    @property
    def owner(self) -> Owner | None:
        """The owner of the study, if the owner is alive. None if this run is not a parent run.

        An owner on another machine is alive if its last heartbeat is recent. So the clocks of the machines must agree.
        """
        owner = self.claimed_by
        heartbeat_s = float(self.tags.get(Tag.HEARTBEAT, "0"))
        return owner if owner is not None and owner.is_alive(heartbeat_s) else None


@dataclass(frozen=True)
class StoredImages:
    """The images of a study in 256 grey levels. They are recorded so that reports can draw them.

    Attributes:
        x: Grey values, ``(5000, 400)``, ``uint8``, 0 to 255. Each image is unrolled column by column.
        y: Labels (digits), ``(5000,)``.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class StudyRecord:
    """A study as recorded in MLflow.

    Attributes:
        parent: Parent run of the study.
        trainings: Runs of the trainings, in the order of their trials.
        images: Images of the study; None if they were not recorded.
        experiment_id: Id of the MLflow experiment.
        damaged: One sentence for each damaged run or file that was left out.
        tracking_uri: URI of the study's tracking store, without passwords.
    """

    parent: RunRecord
    trainings: tuple[RunRecord, ...]
    images: StoredImages | None = None
    experiment_id: str = ""
    damaged: tuple[str, ...] = ()
    tracking_uri: str = field(default_factory=lambda: masked(tracking_uri()))


def damage(run: RunRecord) -> str:
    """Describe the first missing or invalid tag, parameter or metric of a run. Empty if all are present and valid."""
    checks = _CHECKS.get(run.tags.get(Tag.ROLE, ""), {})
    is_training = run.tags.get(Tag.ROLE) == Role.TRAINING
    is_finished = is_training and run.status == "FINISHED"
    is_ended = is_training and run.status in {"FINISHED", "FAILED"}
    values = [
        *(("tag", name, run.tags.get(name), check) for name, check in checks.items()),
        *(("parameter", name, run.params.get(name), check) for name, check in _PARAMS.items() if is_ended),
        *(("metric", name, run.metrics.get(name), check) for name, check in _METRICS.items() if is_finished),
    ]
    for kind, name, value, check in values:
        if not _is_valid(check, value):
            found = "is missing" if value is None else f"is {str(value)[:60]!r}"
            return f"run {run.run_id}: its {kind} {name} {found}"
    return ""


Check = Callable[[Any], object]


def _is_valid(check: Check, value: object) -> bool:
    try:
        return check(value) is not False
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        return False


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _count(value: Any) -> bool:  # noqa: ANN401 - text or a number
    return float(value).is_integer() and float(value) >= 0


def _error_count(value: Any) -> bool:  # noqa: ANN401 - a metric
    return _count(value) and value <= N_IMAGES


def _setting(name: str) -> Check:
    return type(getattr(BASELINE, name))


def _text(value: str) -> bool:
    return bool(value.strip())


def _signature(value: str) -> bool:
    found = json.loads(value)
    parts = (found["fixed"], found["dataset"], found.get("scales", {}))
    return isinstance(found["objectives"], list) and _text(found["design"]) and all(isinstance(p, dict) for p in parts)


def _bookkeeping(value: str) -> bool:
    kept = bookkeeping.parts(value)
    return all(_is_valid(check, kept.get(name)) for name, check in _BOOKKEEPING.items())


def _seconds(value: Any) -> bool:  # noqa: ANN401 - text
    return math.isfinite(float(value))


_BOOKKEEPING: dict[str, Check] = {
    Tag.TIMES_RUN: _optional(_count),
    Tag.LAST_RUN: _optional(_count),
    Tag.SIGNATURE: _optional(_signature),
}
_CHECKS: dict[str, dict[str, Check]] = {
    Role.STUDY: {
        Tag.STUDY: lambda value: fullmatch(NAME_PATTERN, value) is not None,
        Tag.STUDY_KEY: lambda value: fullmatch("[0-9a-f]{12}", value) is not None,
        Tag.DATASET: _text,
        Tag.ENGINE: _text,
        Tag.TOTAL: _count,
        Tag.DONE: _optional(_count),
        Tag.HEARTBEAT: _optional(_seconds),
        # The combined tag is checked before its parts, so that a message names the tag that is recorded in MLflow.
        Tag.BOOKKEEPING: _optional(_bookkeeping),
        **_BOOKKEEPING,
    },
    Role.TRIAL: {
        Tag.TRIAL: _count,
        Tag.POINT: _optional(lambda value: isinstance(json.loads(value), dict)),
        Tag.SEEDS: _optional(lambda value: isinstance([int(seed) for seed in json.loads(value)], list)),
        Tag.SAME_AS: _optional(_count),
    },
    Role.TRAINING: {Tag.TRIAL: _count, Tag.VARIANT: _text},
}
_PARAMS: dict[str, Check] = {
    "engine": _text,
    "dataset": _text,
    **{name: _setting(name) for name in ("epochs", "learning_rate", "seed")},
    **{name: _optional(_setting(name)) for name in ("batch_size", "softmax", "beta_1", "beta_2", "epsilon")},
}
_METRICS: dict[str, Check] = {
    "final_errors": _error_count,
    "final_loss": float,
    "first_zero_epoch": _optional(_count),
    "held_out_errors": _optional(_count),
}
