"""The Optuna study that is rebuilt from recorded trials."""

from __future__ import annotations

import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState as OptunaState

from harness.search.optuna_study import OptunaSampler, distributions_of, rebuild
from harness.search.records import RecordedTrial, TrialState
from harness.study.config import Sampled, StudyConfig

SEARCH = StudyConfig.model_validate(
    {
        "name": "search",
        "description": "A search.",
        "engine": "xla",
        "objectives": ["errors", "epochs"],
        "space": {"epochs": {"low": 1, "high": 10}, "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}},
        "design": {"kind": "sampled", "sampler": "tpe", "trials": 40, "seeds": [1]},
    }
)


def trial(number: int, state: TrialState = TrialState.COMPLETE, *, epochs: int = 3, errors: float = 7) -> RecordedTrial:
    values = (errors, float(epochs)) if state is TrialState.COMPLETE else ()
    return RecordedTrial(number, state, {"epochs": epochs, "learning_rate": 0.001}, (1,), "run", values)


def rebuilt(*trials: RecordedTrial) -> optuna.Study:
    return rebuild("search", ["errors", "epochs"], trials, distributions_of(SEARCH))


@given(st.dictionaries(st.integers(0, 30), st.sampled_from(TrialState), max_size=10))
def test_every_trial_has_its_recorded_number_and_state(states: dict[int, TrialState]) -> None:
    found = rebuilt(*(trial(number, states[number]) for number in sorted(states))).trials
    names = {TrialState.COMPLETE: "COMPLETE", TrialState.UNFINISHED: "RUNNING", TrialState.FAILED: "FAIL"}
    expected = [names[states[number]] if number in states else "FAIL" for number in range(max(states, default=-1) + 1)]
    assert [one.state.name for one in found] == expected
    assert [one.number for one in found] == list(range(len(expected)))


@pytest.mark.parametrize(
    "left_out", [trial(1, epochs=11), trial(1, errors=math.nan), trial(1, errors=math.inf)], ids=str
)
def test_a_trial_that_optuna_cannot_hold_keeps_its_number(left_out: RecordedTrial) -> None:
    study = rebuilt(trial(0), left_out, trial(2))
    assert [one.state for one in study.trials] == [OptunaState.COMPLETE, OptunaState.FAIL, OptunaState.COMPLETE]
    assert study.ask(distributions_of(SEARCH)).number == 3


def sampler(*trials: RecordedTrial) -> OptunaSampler:
    assert isinstance(SEARCH.design, Sampled)
    return OptunaSampler(SEARCH, SEARCH.design, trials, max((one.number for one in trials), default=-1) + 1)


def test_whole_numbers_as_values_do_not_stop_a_search_for_two_objectives() -> None:
    # Optuna 5.0.0 raises UFuncOutputCastingError for integers.
    found = sampler(*(trial(number, epochs=1 + number % 10, errors=number) for number in range(20)))
    number, point = found.propose()
    found.tell(number, [3, 4])
    assert number == 20
    assert point.keys() == {"epochs", "learning_rate"}
    assert found.propose()[0] == 21


def test_a_rebuilt_search_proposes_new_points() -> None:
    first = sampler()
    proposed = [first.propose() for _ in range(3)]
    assert [number for number, _ in proposed] == [0, 1, 2]
    again = sampler(*(RecordedTrial(n, TrialState.COMPLETE, point, (1,), "", (1.0, 1.0)) for n, point in proposed))
    number, point = again.propose()
    assert number == 3
    assert point not in [known for _, known in proposed]
    # The same records give the same proposal.
    assert sampler().propose() == proposed[0]


def test_an_unfinished_trial_is_open_until_it_has_values() -> None:
    found = sampler(trial(0, TrialState.UNFINISHED), trial(1, TrialState.UNFINISHED))
    found.tell(0, [1, 2])
    found.fail(1)
    found.tell(1, [1, 2])  # ended already
    assert [one.state for one in found._study.trials] == [OptunaState.COMPLETE, OptunaState.FAIL]
