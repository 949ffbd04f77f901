"""Rebuilds the Optuna study of a recorded study in memory, from the trials that are recorded in MLflow."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from harness.network.variant import SoftmaxPlace
from harness.search import records
from harness.search.records import RecordedTrial, TrialState
from harness.study.config import FloatRange, IntRange, Point, Sampled, StudyConfig
from harness.tracking.reader import StudyReader
from harness.tracking.run_record import RunRecord
from harness.tracking.tags import Tag

_STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.UNFINISHED: optuna.trial.TrialState.RUNNING,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}
Distributions = Mapping[str, BaseDistribution]


def rebuild(
    name: str,
    objectives: Sequence[str],
    trials: Iterable[RecordedTrial],
    distributions: Distributions,
    sampler: optuna.samplers.BaseSampler | None = None,
) -> optuna.Study:
    """Create an Optuna study in memory from recorded trials. Each trial keeps its recorded number.

    ``optuna.Study.add_trial`` numbers trials from 0 without gaps. So every number without a record gets a failed trial
    as a placeholder. A trial with a parameter value outside its distribution, or with an objective value
    that is not finite, is also replaced by a placeholder. The records in MLflow do not change.

    Args:
        name: Name of the study.
        objectives: Names of the objectives. All of them are minimized.
        trials: Recorded trials, sorted by number.
        distributions: Distributions of the parameters.
        sampler: Sampler of the study. The default is Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [optuna.study.StudyDirection.MINIMIZE] * len(objectives)
    study = optuna.create_study(study_name=name, sampler=sampler, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(objectives))
    placeholder = create_trial(state=optuna.trial.TrialState.FAIL)
    next_number = 0
    for trial in trials:
        for _ in range(next_number, trial.number):
            study.add_trial(placeholder)
        next_number = trial.number + 1
        study.add_trial(_frozen(trial, distributions) if _fits(trial, distributions) else placeholder)
    return study


def _fits(trial: RecordedTrial, distributions: Distributions) -> bool:
    return all(map(math.isfinite, trial.values)) and all(
        name in distributions and _contains(distributions[name], value) for name, value in trial.point.items()
    )


def _contains(distribution: BaseDistribution, value: float | str) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))  # noqa: SLF001 - no public method
    except ValueError:
        # The value is not one of the choices.
        return False


def _frozen(trial: RecordedTrial, distributions: Distributions) -> FrozenTrial:
    is_complete = trial.state is TrialState.COMPLETE
    return create_trial(
        state=_STATES[trial.state],
        params=dict(trial.point),
        distributions={name: distributions[name] for name in trial.point},
        values=list(map(float, trial.values)) if is_complete else None,
    )


class OptunaSampler:
    """Proposes trials with an Optuna sampler. The sampler's study is in memory.

    Args:
        config: Configuration of the study, with a sampled design.
        design: Design of the study: the sampler, its seed and the number of trials.
        trials: Recorded trials, sorted by number. The caller must later complete or fail each unfinished trial.
        next_number: Number of the next trial.
    """

    def __init__(self, config: StudyConfig, design: Sampled, trials: Sequence[RecordedTrial], next_number: int) -> None:
        self._distributions = distributions_of(config)
        # Derive the seed from the next trial number. With a fixed seed, a resumed study would repeat its proposals.
        seed = int(np.random.SeedSequence([design.sampler_seed, next_number]).generate_state(1)[0])
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        sampler = samplers[design.sampler](seed=seed)
        self._study = rebuild(config.name, config.objectives, trials, self._distributions, sampler)

    def propose(self) -> tuple[int, Point]:
        """Ask Optuna for the next trial, and return its number and its parameter values."""
        asked = self._study.ask(dict(self._distributions))
        return asked.number, dict(asked.params)

    def tell(self, number: int, values: Sequence[float]) -> None:
        """Complete a running trial with the values of its objectives."""
        self._study.tell(number, list(map(float, values)), skip_if_finished=True)

    def fail(self, number: int) -> None:
        """Mark a running trial as failed."""
        self._study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def distributions_of(config: StudyConfig) -> dict[str, BaseDistribution]:
    """Return the Optuna distribution of each parameter in a study's search space.

    A list of numbers becomes a range: Optuna allows a range to grow in later trials, but not a list of choices.
    """
    distributions: dict[str, BaseDistribution] = {}
    for name, values in config.space.parameters().items():
        if isinstance(values, IntRange):
            distributions[name] = IntDistribution(values.low, values.high, step=values.step, log=values.log)
        elif isinstance(values, FloatRange):
            distributions[name] = FloatDistribution(values.low, values.high, log=values.log)
        else:
            distributions[name] = _spanning(values)
    return distributions


def of_record(reader: StudyReader, parent: RunRecord) -> optuna.Study:
    """Rebuild the Optuna study of a recorded study. The study's configuration is not needed.

    Args:
        reader: Reader of the tracking store.
        parent: Parent run of the study.

    Raises:
        StoppedError: The store cannot be read.
    """
    meant = json.loads(parent.tags[Tag.SIGNATURE])
    varied = [name.removeprefix("space.") for name in parent.params if name.startswith("space.")]
    found = records.read(
        reader,
        parent.tags[Tag.STUDY_KEY],
        varied=varied,
        objectives=meant["objectives"],
        is_grid=meant["design"] == "factorial",
    )
    points = [trial.point for trial in found.trials]
    distributions = {
        name: _spanning([point[name] for point in points], meant["scales"].get(name)) for name in varied if points
    }
    return rebuild(parent.tags[Tag.STUDY], meant["objectives"], found.trials, distributions)


def _spanning(values: Sequence[float | str], scale: str | None = None) -> BaseDistribution:
    """Return the Optuna distribution that covers these values of a parameter.

    If no scale is given, integers have a linear scale and floats have a logarithmic scale.
    """
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:  # list every place of the softmax, because Optuna does not allow the choices to change
        return CategoricalDistribution(get_args(SoftmaxPlace))
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(min(numbers)), int(max(numbers)), log=scale == "logarithmic")
    return FloatDistribution(min(numbers), max(numbers), log=scale != "linear")
