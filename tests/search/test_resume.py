"""Optuna against MLflow, for every way in which the two can disagree."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.search.optuna_study import Entry, TrialPhase
from harness.search.resume import RecordedTraining, ResumePlan, plan_resume
from harness.study.config import StudyConfig

GRID = StudyConfig.model_validate(
    {
        "name": "grid",
        "description": "",
        "engine": "xla",
        "objectives": ["errors"],
        "space": {"epochs": [1, 2], "learning_rate": [0.001, 0.01]},
        "design": {"kind": "factorial"},
    }
)
SEARCH = StudyConfig.model_validate(
    {
        "name": "search",
        "description": "",
        "engine": "xla",
        "objectives": ["errors"],
        "space": {"epochs": {"low": 1, "high": 9}},
        "design": {"kind": "sampled", "sampler": "tpe", "trials": 9, "seeds": [1, 2]},
    }
)
POINTS = GRID.points()
KEYS = [GRID.variant(point).key for point in POINTS]


def of_search(epochs: int) -> tuple[str, ...]:
    return tuple(SEARCH.variant({"epochs": epochs, "seed": seed}).key for seed in (1, 2))


def run(trial: int, point: dict[str, Any]) -> RecordedTraining:
    return RecordedTraining(f"run-{trial}", trial, point, 3.0, int(point["epochs"]))


def kinds(found: ResumePlan) -> dict[str, list[int]]:
    return {name: [trial.number for trial in trials] for name, trials in vars(found).items() if trials}


def test_what_both_know_is_done() -> None:
    found = plan_resume(GRID, [Entry(0, TrialPhase.TOLD, POINTS[0], (KEYS[0],))], {KEYS[0]: run(0, POINTS[0])})
    assert kinds(found) == {"done": [0]}
    assert found.lines() == []


def test_what_is_recorded_and_not_told_is_told() -> None:
    found = plan_resume(GRID, [Entry(0, TrialPhase.OPEN, POINTS[0], (KEYS[0],))], {KEYS[0]: run(0, POINTS[0])})
    assert kinds(found) == {"tell": [0]}
    assert found.lines() == ["1 trial recorded in MLflow but missing in Optuna: added"]


def test_what_is_told_and_not_recorded_is_trained_again_under_its_number() -> None:
    assert kinds(plan_resume(GRID, [Entry(5, TrialPhase.TOLD, POINTS[0], (KEYS[0],))], {})) == {"again": [5]}


def test_what_was_asked_for_and_not_trained_is_trained() -> None:
    assert kinds(plan_resume(GRID, [Entry(5, TrialPhase.OPEN, POINTS[0], (KEYS[0],))], {})) == {"unfinished": [5]}


def test_what_was_cut_short_while_it_was_asked_for_is_given_up() -> None:
    assert kinds(plan_resume(SEARCH, [Entry(5, TrialPhase.OPEN, {}, ())], {})) == {"give_up": [5]}


def test_what_was_asked_for_twice_is_trained_once() -> None:
    entries = [Entry(number, TrialPhase.OPEN, POINTS[0], (KEYS[0],)) for number in (0, 1)]
    assert kinds(plan_resume(GRID, entries, {})) == {"unfinished": [0], "give_up": [1]}


def test_what_the_design_does_not_hold_any_more_rests() -> None:
    entries = [Entry(0, TrialPhase.OPEN, {"epochs": 7}, ("ffff",)), Entry(1, TrialPhase.TOLD, {"epochs": 8}, ("eeee",))]
    assert kinds(plan_resume(GRID, entries, {})) == {"give_up": [0]}


def test_what_failed_is_left_as_it_is() -> None:
    assert kinds(plan_resume(GRID, [Entry(0, TrialPhase.FAILED, POINTS[0], (KEYS[0],))], {})) == {}


def test_what_optuna_lost_is_entered_again() -> None:
    found = plan_resume(
        GRID, [], {KEYS[1]: run(4, POINTS[1]), KEYS[0]: run(2, POINTS[0]), "ffff": run(9, {"epochs": 7})}
    )
    assert kinds(found) == {"unknown": [2, 4]}
    assert found.unknown[0].variants == (KEYS[0],)


def test_a_trial_of_several_seeds_is_recorded_when_all_are() -> None:
    entries = [Entry(0, TrialPhase.OPEN, {"epochs": 3}, of_search(3))]
    one = {of_search(3)[0]: run(0, {"epochs": 3})}
    assert kinds(plan_resume(SEARCH, entries, one)) == {"unfinished": [0]}
    assert kinds(plan_resume(SEARCH, entries, one | {of_search(3)[1]: run(0, {"epochs": 3})})) == {"tell": [0]}


def test_a_trial_that_optuna_lost_has_all_its_seeds_again() -> None:
    found = plan_resume(SEARCH, [], {of_search(3)[0]: run(7, {"epochs": 3})})
    assert found.unknown[0].variants == of_search(3)
    assert kinds(found) == {"unknown": [7]}


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Entry], dict[str, RecordedTraining]]:
    """Any trials in any states, and any records."""
    states = draw(st.lists(st.tuples(st.integers(0, len(KEYS) - 1), st.sampled_from(TrialPhase)), max_size=8))
    entries = [Entry(number, state, POINTS[i], (KEYS[i],)) for number, (i, state) in enumerate(states)]
    known = draw(st.sets(st.integers(0, len(KEYS) - 1)))
    return entries, {KEYS[i]: run(i, POINTS[i]) for i in known}


@given(situations())
def test_every_variant_is_trained_at_most_once_and_none_that_is_recorded(
    situation: tuple[list[Entry], dict[str, RecordedTraining]],
) -> None:
    entries, recorded = situation
    found = plan_resume(GRID, entries, recorded)
    trained = [entry.variants for entry in found.again + found.unfinished]
    assert len(trained) == len({*trained})
    assert not {key for keys in trained for key in keys} & set(recorded)
    # Everything that is recorded ends up told: it was, or is now, or is entered anew.
    told = {entry.variants[0] for entry in found.done + found.tell} | {group.variants[0] for group in found.unknown}
    assert told == set(recorded)
    every = [trial.number for name, trials in vars(found).items() if name != "unknown" for trial in trials]
    assert len(every) == len(set(every))
