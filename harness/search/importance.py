"""Computes how much each parameter of a study contributes to the variance of an objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

# The smallest number of trials for which the importance is computed.
FEWEST = 8


def importances(
    points: Sequence[Mapping[str, int | float]], values: Sequence[float], logarithmic: set[str]
) -> dict[str, float]:
    """Return the proportion of an objective's variance that each parameter explains, computed with fANOVA.

    Source: Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014,
    as implemented in Optuna. The random forest has a fixed seed.

    Args:
        points: Parameter values of each trial. All trials have the same parameters.
        values: Objective value of each trial, finite.
        logarithmic: Names of the parameters with a logarithmic scale.

    Returns:
        The proportions by parameter name, largest first. They add up to 1. The result is empty if there are fewer than
        :data:`FEWEST` trials, or if all trials have equal parameter values or equal objective values.
    """
    if len(points) < FEWEST or len(set(values)) < 2:
        return {}
    varied = [name for name in points[0] if len({point[name] for point in points}) > 1]
    if not varied:
        return {}
    distributions = {name: _distribution([point[name] for point in points], name in logarithmic) for name in varied}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    study.add_trials(
        optuna.trial.create_trial(
            params={name: point[name] for name in varied}, distributions=distributions, value=value
        )
        for point, value in zip(points, values, strict=True)
    )
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))


def _distribution(values: Sequence[int | float], is_logarithmic: bool) -> BaseDistribution:  # noqa: FBT001 - internal
    low, high = min(values), max(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high), log=is_logarithmic)
    return FloatDistribution(low, high, log=is_logarithmic)
