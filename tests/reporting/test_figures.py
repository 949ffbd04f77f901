"""The data of a report's figures, compared with MLflow's tables and the rebuilt Optuna study."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import optuna
import pytest
import vl_convert
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from statsmodels.duration.survfunc import SurvfuncRight

from harness.data.digits import Digits
from harness.reporting import report, vega
from harness.reporting.charts.encodings import Chart
from harness.reporting.figure_files import Picture
from harness.search import optuna_study
from harness.tracking.reader import StudyReader
from harness.tracking.store import Store
from tests.reporting.rows import EPOCHS, RATES, SEEDS, Row, longest

Rows = list[dict[str, Any]]


class Figures:
    """The specifications that a study's report is made of, and the data that they share."""

    def __init__(self) -> None:
        self.charts: dict[str, dict[str, Any]] = {}
        self.shared: dict[str, Any] = {}
        self.drawn: dict[str, Any] = {}

    def rows(self, name: str, layer: int | None = None) -> Rows:
        """The rows of a chart, or of one of its layers."""
        chart = self.charts[name]
        part = chart if layer is None else chart["layer"][layer]
        data = part.get("data") or chart["data"]
        found: Rows = data["values"] if "values" in data else chart["datasets"][data["name"]]
        return found


@contextmanager
def within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def figures(folder: Path, name: str) -> Figures:
    """The figures of a study's report, before they are rendered."""
    found = Figures()

    def kept(name: str, title: str, caption: str, chart: Chart, shared: vega.Shared | None = None) -> Picture:
        chart.to_dict()  # validates it
        found.charts[name] = vega.specification(chart)
        found.shared |= shared or {}
        return Picture(name, title, caption, "", b"")

    def drawn(name: str, title: str, caption: str, figure: Any) -> Picture:
        found.drawn[name] = figure
        return Picture(name, title, caption, "", b"")

    with pytest.MonkeyPatch.context() as patch, within(folder):
        patch.setattr(vega, "picture", kept)
        patch.setattr(report, "picture", drawn)
        report.write(StudyReader(Store(create=False)).study(name), folder / "again")
    return found


@pytest.fixture(scope="module")
def drawn(folder: Path) -> Figures:
    return figures(folder, "many")


@pytest.fixture(scope="module")
def drawn_search(searched: Path) -> Figures:
    return figures(searched, "found")


@pytest.fixture(scope="module")
def asked(searched: Path) -> optuna.Study:
    """The search as Optuna would continue it."""
    with within(searched):
        reader = StudyReader(Store(create=False))
        return optuna_study.of_record(reader, reader.recorded("found"))


def test_vega_lite_compiles_every_specification(drawn: Figures, drawn_search: Figures) -> None:
    for found in (drawn, drawn_search):
        for name, chart in found.charts.items():
            datasets = {**chart.get("datasets", {}), **found.shared}
            svg = vl_convert.vegalite_to_svg(json.dumps({**chart, "width": 600, "datasets": datasets}))
            assert svg.count("<path") > 3, name


def test_the_shares_that_reached_zero_are_those_of_another_library(drawn: Figures, runs: list[Row]) -> None:
    for rate in RATES:
        own = longest(runs, rate)
        rows = [row for row in drawn.rows("reached", 1) if row["rate"] == f"{rate:g}"]
        other = SurvfuncRight([run.first_zero or 100 for run in own], [run.first_zero is not None for run in own])
        last = 100 if any(run.first_zero is None for run in own) else max(other.surv_times)  # then all have reached it
        assert [row["epoch"] for row in rows] == [0, *other.surv_times, last]
        assert [row["share"] for row in rows] == pytest.approx([0, *(1 - other.surv_prob), 1 - other.surv_prob[-1]])
        # Pointwise bounds contain the curve, and are somewhere wide.
        assert all(row["low"] - 1e-9 <= row["share"] <= row["high"] + 1e-9 for row in rows)
        assert max(row["high"] - row["low"] for row in rows) > 0.3
        first = [run.first_zero or 100 for run in own]
        assert [row["running"] for row in rows] == [sum(one >= row["epoch"] for one in first) for row in rows]
        ends = [row for row in drawn.rows("reached", 2) if row["rate"] == f"{rate:g}"]
        missed = sum(run.first_zero is None for run in own)
        assert [(row["epoch"], row["ended"]) for row in ends] == ([(100, missed)] if missed else [])


def test_the_heat_map_has_the_mean_errors_and_the_runs_at_zero(drawn: Figures, runs: list[Row]) -> None:
    found = {(row["rate"], row["epochs"]): row for row in drawn.rows("errors_heat_map")}
    assert len(found) == len(RATES) * len(EPOCHS)
    for (rate, epochs), row in found.items():
        errors = [run.errors[-1] for run in runs if (f"{run.rate:g}", run.epochs) == (rate, epochs)]
        assert row["mean_errors"] == pytest.approx(mean(errors))
        assert row["max_errors"] == max(errors)
        assert row["text"] == [f"{mean(errors):.1f}", f"{errors.count(0)}/8"]


def test_every_run_is_a_point_at_its_errors(drawn: Figures, runs: list[Row]) -> None:
    found = {
        row["run"]: (row["rate"], row["epochs"], row["seed"], row["errors"]) for row in drawn.rows("errors_by_seed")
    }
    assert found == {run.run_id: (f"{run.rate:g}", run.epochs, run.seed, run.errors[-1]) for run in runs}


def test_every_training_is_a_line_of_its_errors_and_losses(drawn: Figures, runs: list[Row]) -> None:
    trainings = {run.run_id: run for rate in RATES for run in longest(runs, rate)}
    found = {row["run"]: row for row in drawn.shared["curves"]}
    assert set(found) == set(trainings)
    for run_id, row in found.items():
        run = trainings[run_id]
        assert (row["rate"], row["seed"], row["errors"]) == (f"{run.rate:g}", run.seed, run.errors)
        assert row["loss"] == pytest.approx(run.losses, rel=1e-3)  # four digits are enough to draw it
    for name in ("errors_by_epoch", "loss_by_epoch"):
        assert drawn.charts[name]["data"] == {"name": "curves"}


def test_the_strip_of_the_baseline_shows_the_epochs_without_errors(drawn: Figures, runs: list[Row]) -> None:
    own = sorted(longest(runs, 0.001), key=lambda run: (run.seed != 1234, run.seed))
    names = ["1234, the baseline", *(str(seed) for seed in sorted(SEEDS)[:-1])]
    assert drawn.charts["baseline"]["encoding"]["y"]["sort"] == names
    for name, run in zip(names, own, strict=True):
        spans = [row for row in drawn.rows("baseline") if row["seed"] == name]
        zero = {epoch for row in spans if row["zero"] == "no error" for epoch in range(row["first"], row["last"] + 1)}
        assert zero == {epoch for epoch, errors in enumerate(run.errors, start=1) if errors == 0}
        assert sum(row["end"] - row["start"] for row in spans) == 100


def test_the_differences_from_the_baseline_are_drawn_where_they_are(drawn: Figures, runs: list[Row]) -> None:
    errors = {(run.rate, run.epochs, run.seed): run.errors[-1] for run in runs}
    expected = [
        mean(errors[rate, epochs, seed] - errors[0.001, epochs, seed] for seed in SEEDS)
        for rate in RATES[1:]
        for epochs in EPOCHS
    ]
    assert [row["difference"] for row in drawn.rows("against_baseline", 1)] == pytest.approx(expected)


def test_the_confusions_and_the_hardest_images_are_counted(drawn: Figures, runs: list[Row], optdigits: Digits) -> None:
    latest: dict[tuple[float, int, int], int] = {}
    for run in sorted(runs, key=lambda run: run.epochs):
        for image, answer in zip(run.result["wrong_images"], run.result["wrong_answers"], strict=True):
            latest[run.rate, run.seed, image] = answer
    counted = Counter((int(optdigits.labels[image]), answer) for (_, _, image), answer in latest.items())
    found = {(row["label"], row["answer"]): row["count"] for row in drawn.rows("confusion") if row["count"]}
    assert found == dict(counted)
    wrong_in = Counter(image for _, _, image in latest)
    titles = [text.get_text() for text in drawn.drawn["hard_images"].axes[0].texts]
    times = [int(title.split("\n")[1].split(" of ")[0]) for title in titles]
    assert times == sorted(wrong_in.values(), reverse=True)[: len(times)]
    assert all(title.endswith(" of 24") for title in titles)


def test_the_softmax_figure_has_the_worst_run_of_every_size(drawn: Figures, runs: list[Row]) -> None:
    worst: dict[str, list[int]] = {}
    for way, name in (("loop", "loop"), ("vector", "vector"), ("stable", "stable")):
        by_size: dict[float, int] = {}
        for run in runs:
            for sized in run.result["softmax_by_size"]:
                by_size[sized["below"]] = max(by_size.get(sized["below"], 0), sized["checks"][way]["max_ulp"])
        worst[name] = [by_size[size] for size in sorted(by_size)]
    for name, ulps in worst.items():
        rows = [row for row in drawn.rows("softmax") if row["way"] == name]
        assert [row["max_ulp"] for row in rows] == ulps
        assert not any(row["overflow_rows"] for row in rows)
    assert "softmax_overflow" not in drawn.charts  # no row of this study overflows


# A search


def test_a_search_is_drawn_as_optuna_has_it(drawn_search: Figures, asked: optuna.Study) -> None:
    told = {trial.number: trial.values for trial in asked.trials}
    assert len(told) == 16
    rows = drawn_search.rows("history_errors")
    assert {row["trial"]: row["errors"] for row in rows} == pytest.approx({n: v[0] for n, v in told.items()})
    best = [min(told[earlier][0] for earlier in range(number + 1)) for number in range(16)]
    assert [row["best"] for row in rows] == pytest.approx(best)


def test_on_the_front_are_optunas_best_trials(drawn_search: Figures, asked: optuna.Study) -> None:
    rows = drawn_search.rows("front")
    found = {row["trial"] for row in rows if row["best"] == "Pareto-optimal"}
    assert found == {trial.number for trial in asked.best_trials}
    assert {row["trial"]: (row["errors"], row["epochs"]) for row in rows} == {
        trial.number: pytest.approx(tuple(trial.values)) for trial in asked.trials
    }


def test_every_trial_is_drawn_at_its_parameters(drawn_search: Figures, asked: optuna.Study) -> None:
    for name in ("learning_rate", "epochs"):
        found = {row["trial"]: (row[name], row["errors"]) for row in drawn_search.rows(f"by_{name}")}
        assert found == {trial.number: pytest.approx((trial.params[name], trial.values[0])) for trial in asked.trials}


def test_the_importances_are_those_that_optuna_finds_in_its_own_trials(
    drawn_search: Figures, asked: optuna.Study
) -> None:
    rows = drawn_search.rows("importance")
    said = {row["parameter"].replace(" ", "_"): row["share"] for row in rows}
    assert [row["text"] for row in rows] == [f"{share:.0%}" for share in said.values()]
    names = list(said)
    # The page knows the values that were tried, not the ranges that were asked for: Optuna's own trials over these.
    tried = {name: [trial.params[name] for trial in asked.trials] for name in names}
    over: dict[str, BaseDistribution] = {
        "epochs": IntDistribution(min(tried["epochs"]), max(tried["epochs"])),
        "learning_rate": FloatDistribution(min(tried["learning_rate"]), max(tried["learning_rate"]), log=True),
    }
    again = optuna.create_study()
    again.add_trials(
        optuna.trial.create_trial(params=trial.params, distributions=over, value=trial.values[0])
        for trial in asked.trials
    )
    found = get_param_importances(again, evaluator=FanovaImportanceEvaluator(seed=0))
    assert said == pytest.approx(found, abs=1e-9)
