"""A search from its records: which trials are complete, which no other beats, and the page about them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from harness.reporting import frames, report, search_trials
from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.tags import Tag
from tests.reporting.test_report import run, study


def search(*trainings: RunRecord, goals: tuple[str, ...] = ("errors", "epochs")) -> StudyRecord:
    record = study(*trainings)
    recorded_signature = {
        "objectives": goals,
        "seeds": [1, 2],
        "scales": {"learning_rate": "logarithmic", "epochs": "linear"},
    }
    tags = {**record.parent.tags, Tag.SIGNATURE: json.dumps(recorded_signature)}
    return replace(record, parent=replace(record.parent, tags=tags, params={"design": "sampled"}))


def trial(number: int, rate: float, errors: tuple[int, ...]) -> list[RunRecord]:
    """The two runs of a trial: the second seed ends with one error more than the first."""
    both = (
        run(number, rate=rate, seed=1, errors=errors),
        run(number, rate=rate, seed=2, errors=(*errors[:-1], errors[-1] + 1)),
    )
    return [replace(one, run_id=f"{number:016x}{seed:016x}") for seed, one in enumerate(both)]


SEARCH = search(
    *(one for number in range(12) for one in trial(number, 0.001 * (number + 1), (9,) * (number % 4) + (number,)))
)


def test_a_trial_is_the_mean_of_its_seeds_and_counts_when_it_has_them_all() -> None:
    cut = replace(SEARCH, trainings=SEARCH.trainings[:-1])
    found = search_trials.trials(cut, frames.runs(cut))
    assert found["trial"].tolist() == list(range(11))
    assert found["errors"].tolist() == [number + 0.5 for number in range(11)]
    assert found["n"].tolist() == [2] * 11


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=12))
def test_on_the_front_are_those_that_no_other_beats(points: list[tuple[int, int]]) -> None:
    found = search_trials.front(pd.DataFrame(points, columns=["errors", "epochs"]), ["errors", "epochs"])
    for (number, own), other in product(enumerate(points), points):
        beats = other != own and other[0] <= own[0] and other[1] <= own[1]
        assert not (found[number] and beats)
    beaten = [any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in points) for own in points]
    assert found.tolist() == [not is_beaten for is_beaten in beaten]


def test_the_page_of_a_search_shows_its_history_front_importances_and_parameters(tmp_path: Path) -> None:
    html = report.write(SEARCH, tmp_path).read_text()
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"history_errors", "front", "importance", "by_learning_rate", "by_epochs"} <= drawn
    assert "The first of 12 trials with the best value, 0.5, is trial 0: learning rate 0.001, 1 epoch." in html


def test_with_one_objective_there_is_no_front(tmp_path: Path) -> None:
    report.write(search(*SEARCH.trainings, goals=("errors",)), tmp_path)
    assert not (tmp_path / "figures" / "front.png").exists()


def test_a_search_of_one_trial_still_gives_a_page(tmp_path: Path) -> None:
    report.write(search(*SEARCH.trainings[:2]), tmp_path)
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert "history_errors" in drawn
    assert not drawn & {"importance", "by_learning_rate"}
