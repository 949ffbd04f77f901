"""Reads the trials of a study from its runs in MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from statistics import fmean

from harness.network.variant import BASELINE
from harness.study.config import Point, StudyConfig
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Role, Tag


class TrialState(Enum):
    """The state of a recorded trial."""

    COMPLETE = "complete"
    UNFINISHED = "unfinished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RecordedTraining:
    """A finished training run.

    Attributes:
        run_id: Id of the run.
        trial: Number of the trial.
        errors: Error count after the last epoch.
        epochs: Number of epochs.
        held_out_errors: Number of misclassified held-out images; NaN if there are no held-out images.
    """

    run_id: str
    trial: int
    errors: float
    epochs: int
    held_out_errors: float = math.nan


@dataclass(frozen=True, slots=True)
class RecordedTrial:
    """A recorded trial.

    Attributes:
        number: Number of the trial, from 0.
        state: State of the trial.
        point: Values of the parameters that vary.
        seeds: Seeds of the trainings. Empty for a grid, and if an earlier version of the project did not record them.
        run_id: Id of the trial's own run. Empty if it has none, as in a grid.
        values: Values of the objectives. Empty unless the trial is complete.
    """

    number: int
    state: TrialState
    point: Point
    seeds: tuple[int, ...] = ()
    run_id: str = ""
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class StudyTrials:
    """The trials of a study.

    Attributes:
        trials: Trials, sorted by number.
        trainings: Finished trainings by variant key. If a variant was recorded twice, the first training is kept.
        next_number: Number of the next trial: the largest recorded number plus one.
    """

    trials: list[RecordedTrial]
    trainings: dict[str, RecordedTraining]
    next_number: int


def read(
    reader: StudyReader, key: str, *, varied: Iterable[str], objectives: Iterable[str], is_grid: bool
) -> StudyTrials:
    """Read the trials of a study.

    Args:
        reader: Reader of the tracking store.
        key: Key of the study.
        varied: Names of the parameters that vary.
        objectives: Names of the objectives.
        is_grid: Whether the study is a grid, in which each training is a trial. Otherwise each trial has its own run.

    Raises:
        StoppedError: The store cannot be read.
    """
    names, goals = tuple(varied), tuple(objectives)
    trainings = list(reader.runs(key, Role.TRAINING))
    own = [] if is_grid else list(reader.runs(key, Role.TRIAL))
    finished: dict[str, RecordedTraining] = {}
    for run in trainings:
        if _is_finished(run):
            finished.setdefault(run.tags[Tag.VARIANT], _training(run))
    found: dict[int, RecordedTrial] = {}
    trials = chain(
        (_of_training(run, names, goals, is_grid=is_grid) for run in trainings),
        (_of_own_run(run, names, goals) for run in own),  # these replace the trials from training runs
    )
    for trial in trials:
        known = found.get(trial.number)
        if known is None or known.state is not TrialState.COMPLETE:
            found[trial.number] = trial
    return StudyTrials([found[number] for number in sorted(found)], finished, max(found, default=-1) + 1)


def of_config(reader: StudyReader, key: str, config: StudyConfig) -> StudyTrials:
    """Read the trials of a study whose configuration is known.

    Raises:
        StoppedError: The store cannot be read.
    """
    is_grid = config.design.seeds is None
    return read(reader, key, varied=config.space.parameters(), objectives=config.objectives, is_grid=is_grid)


def values(trainings: Sequence[RecordedTraining], objectives: Iterable[str]) -> tuple[float, ...]:
    """Return the values of a trial's objectives. Each value is a mean over the trial's trainings."""
    return tuple(fmean(getattr(training, objective) for training in trainings) for objective in objectives)


def _training(run: RunRecord) -> RecordedTraining:
    """Convert a finished run to a recorded training."""
    errors, held_out = run.metrics["final_errors"], run.metrics.get("held_out_errors", math.nan)
    return RecordedTraining(run.run_id, _number(run), errors, int(run.params["epochs"]), held_out)


def _is_finished(run: RunRecord) -> bool:
    return run.status == "FINISHED" and "final_errors" in run.metrics


def _of_training(run: RunRecord, names: Iterable[str], goals: Iterable[str], *, is_grid: bool) -> RecordedTrial:
    """Convert a training run to a recorded trial.

    In a grid, the trial is complete if the run is recorded completely, and otherwise failed. In a sampled design, the
    trial counts as unfinished until its own run is read.
    """
    number, point = _number(run), _point(run, names)
    if is_grid and _is_finished(run):
        return RecordedTrial(number, TrialState.COMPLETE, point, values=values([_training(run)], goals))
    return RecordedTrial(number, TrialState.FAILED if is_grid else TrialState.UNFINISHED, point)


def _of_own_run(run: RunRecord, names: Iterable[str], goals: Iterable[str]) -> RecordedTrial:
    """Convert a trial's own run to a recorded trial. Only trials of a sampled design have such a run."""
    number, point = _number(run), _point(run, names)
    seeds = tuple(json.loads(run.tags.get(Tag.SEEDS, "[]")))
    means = tuple(run.metrics.get(f"mean_{goal}") for goal in goals)
    known = tuple(mean for mean in means if mean is not None)
    if run.status == "FINISHED" and len(known) == len(means):
        return RecordedTrial(number, TrialState.COMPLETE, point, seeds, run.run_id, known)
    state = TrialState.FAILED if run.status == "FAILED" else TrialState.UNFINISHED
    return RecordedTrial(number, state, point, seeds, run.run_id)


def _number(run: RunRecord) -> int:
    return int(run.tags[Tag.TRIAL])


def _point(run: RunRecord, names: Iterable[str]) -> Point:
    """Return the parameter values of a trial, each from the run's tag or, if missing there, from its parameters."""
    point: Point = json.loads(run.tags.get(Tag.POINT, "{}"))
    kinds = {name: type(getattr(BASELINE, name)) for name in names}
    return {name: point[name] if name in point else kind(run.settings[name]) for name, kind in kinds.items()}
