"""The importance of each parameter for the result of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

# Trees that explain fewer trials than this say nothing.
FEWEST = 8


def importances(
    points: Sequence[Mapping[str, int | float]], values: Sequence[float], logarithmic: set[str]
) -> dict[str, float]:
    """The share of the variance of the values that each parameter explains, by fANOVA.

    Source: Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014,
    as Optuna computes it; its random forest has a fixed seed.

    Args:
        points: of each trial, all with the same parameters.
        values: of each trial, finite.
        logarithmic: the parameters that were searched on a logarithmic scale.

    Returns:
        by parameter, summing to 1, the largest first; empty for fewer than :data:`FEWEST` trials, or values or points
        that are all the same.
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


def _distribution(values: Sequence[int | float], is_logarithmic: bool) -> BaseDistribution:  # noqa: FBT001 - a column's
    low, high = min(values), max(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high), log=is_logarithmic)
    return FloatDistribution(low, high, log=is_logarithmic)
