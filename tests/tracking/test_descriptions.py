"""What MLflow's pages say of a study, and what its runs are called."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace

import pytest

from harness.network.variant import BASELINE
from harness.selection import RULE
from harness.study.config import StudyConfig
from harness.tracking import descriptions, model_selection, views
from harness.tracking.run_record import RunRecord, StudyRecord
from harness.tracking.tags import Tag
from tests.tracking.test_model_selection import run

GRID = StudyConfig.model_validate(
    {
        "name": "grid",
        "description": "Does it?",
        "engine": "xla",
        "objectives": ["errors"],
        "space": {"epochs": [40, 60], "learning_rate": [0.001, 0.0001], "seed": [1, 1234]},
        "design": {"kind": "factorial"},
    }
)
SEARCH = StudyConfig.model_validate(
    {
        **GRID.model_dump(exclude={"fixed"}),
        "name": "find",
        "space": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "batch_size": {"low": 8, "high": 16}},
        "design": {"kind": "sampled", "sampler": "tpe", "trials": 30, "seeds": [1, 2]},
    }
)


def parent(design: str) -> RunRecord:
    tags = {
        "harness.study": "grid",
        "harness.study_key": "abc",
        "harness.dataset": "lab-5000",
        "harness.engine": "xla",
        Tag.DESCRIPTION: "Does it?",
    }
    params = {"design": design, "space.epochs": "40, 60"}
    return RunRecord("parent", "grid on lab-5000", "FINISHED", params, {}, tags, 0)


def study(design: str, *runs: RunRecord) -> StudyRecord:
    return StudyRecord(parent(design), runs, experiment_id="7")


def table(note: str) -> list[list[str]]:
    """The rows of a note's table of results."""
    return cells(note.split("| at zero |")[1].split("\n\n", maxsplit=1)[0])[1:]


def cells(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their titles' line."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[1:] if "|" in line]


def test_runs_are_called_by_what_differs_in_their_study() -> None:
    variant = BASELINE.model_copy(update={"epochs": 1, "batch_size": 8, "learning_rate": 0.00123})
    assert descriptions.label(variant, GRID) == "lr 0.00123, 1 epoch, seed 1234"
    assert descriptions.label(variant, SEARCH) == "lr 0.00123, batch 8, seed 1234"
    assert descriptions.label(variant, SEARCH, seed=False) == "lr 0.00123, batch 8"


def test_a_study_that_runs_says_so_and_what_it_is() -> None:
    note = descriptions.begun(GRID, "lab-5000")
    assert note.startswith("**Results.** The study is running or was stopped")
    assert "Does it? 8 trials, engine `xla`, images `lab-5000`" in note
    assert ["learning_rate", "0.001, 0.0001"] in cells(note)
    assert ["learning_rate", "0.001 to 0.1, logarithmic"] in cells(descriptions.begun(SEARCH, "lab-5000"))


def test_a_note_begins_with_what_was_found() -> None:
    own = replace(run(0, seed=1234, epochs=60, learning_rate=0.001), name="the baseline's")
    own = replace(own, metrics={**own.metrics, "first_zero_epoch": 56.0})
    runs = [own, run(1, errors=4), run(2, learning_rate=0.0001, errors=40), run(3, status="FAILED")]
    note = descriptions.ended(study("factorial", *runs))
    recommended, baseline, _, count = note.splitlines()[:4]
    # Two spaces break the line, so that the two results stay two lines.
    assert recommended == (
        "**Recommended:** learning rate 0.001, 60 epochs (1 of 2 seeds at zero errors; mean 2, worst 4).  "
    )
    assert baseline == "**Baseline:** 1 of 2 seeds reach zero errors within 60 epochs, median epoch 56."
    assert count == f"1 of 3 runs ended with zero errors. {RULE}"
    assert table(note) == [["0.0001", "1", "0", "40.0", "-", "0.1000"], ["0.001", "2", "1", "2.0", "-", "0.1000"]]
    assert "1 run failed. The reason is in the tag `harness.failure`" in note
    assert views.address("7", "abc") in note
    assert "`harness study run grid`" in note


def test_the_cheapest_variant_of_a_note_is_that_of_the_registry_when_seeds_failed() -> None:
    shaky = [run(seed, seed=seed, epochs=40, status="FINISHED" if seed < 4 else "FAILED") for seed in range(8)]
    reliable = [run(10 + seed, seed=seed, epochs=60) for seed in range(4)]
    runs = [replace(one, name="shaky") for one in shaky] + [replace(one, name="reliable") for one in reliable]
    chosen = model_selection.best(runs)
    assert chosen is not None
    assert chosen.name == "reliable"
    assert descriptions.ended(study("factorial", *runs)).startswith(
        "**Recommended:** learning rate 0.001, 60 epochs (4 "
    )


def test_of_a_search_the_best_ten_are_shown_best_first() -> None:
    runs = [run(number, learning_rate=0.001 * (number + 1), errors=20 - number) for number in range(12)]
    note = descriptions.ended(study("sampled", *runs))
    assert [row[3] for row in table(note)] == [f"{errors:.1f}" for errors in range(9, 19)]
    assert "The report shows 2 more" in note


def test_a_study_whose_runs_all_failed_still_has_a_note() -> None:
    note = descriptions.ended(study("factorial", run(0, status="FAILED")))
    assert note.startswith("**Recommended:** none, because no run has finished.  \n**Baseline:** 1 seed failed.")


@pytest.mark.parametrize("config", [GRID, SEARCH])
def test_a_view_of_a_study_is_small_enough_for_a_tag_and_has_a_dozen_columns(config: StudyConfig) -> None:
    name, value = views.of_study(config, "abc")
    assert name.endswith(".abc")
    assert len(value) < 5000  # MLflow's limit for a tag of an experiment
    packed = json.loads(value)["state"].removeprefix("deflate;")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert len(state["selectedColumns"]) <= 12
    assert [chart["metricKey"] for chart in state["compareRunCharts"] if not chart["deleted"]][:2] == ["loss", "errors"]
