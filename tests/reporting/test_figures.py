"""The data of a report's figures, compared with MLflow's tables and the rebuilt Optuna study."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import numpy as np
import optuna
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from statsmodels.duration.survfunc import SurvfuncRight

from harness.data.digits import Digits
from harness.reporting import report
from harness.reporting.figure_files import Picture
from harness.search import optuna_study
from harness.tracking.reader import StudyReader
from harness.tracking.store import Store
from tests.reporting.rows import EPOCHS, RATES, SEEDS, Row, longest

Figures = dict[str, Figure]


@contextmanager
def within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def figures(folder: Path, name: str) -> Figures:
    """The figures that a study's report is made of, before they are drawn."""
    found: Figures = {}

    def kept(name: str, title: str, caption: str, figure: Figure) -> Picture:
        found[name] = figure
        return Picture(name, title, caption, "", b"")

    with pytest.MonkeyPatch.context() as patch, within(folder):
        patch.setattr(report, "picture", kept)
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


def points(axes: Axes) -> list[tuple[float, float]]:
    """What is scattered in some axes, sorted."""
    every = [drawn.get_offsets() for drawn in axes.collections if isinstance(drawn, PathCollection)]
    return sorted((float(x), float(y)) for offsets in every for x, y in np.asarray(offsets))


def test_the_survival_curves_are_those_of_another_library(drawn: Figures, runs: list[Row]) -> None:
    [axes] = drawn["survival"].axes
    for line, band, rate in zip(axes.lines, axes.collections, RATES, strict=True):
        own = longest(runs, rate)
        other = SurvfuncRight([run.first_zero or 100 for run in own], [run.first_zero is not None for run in own])
        x, y = (np.asarray(values, float) for values in line.get_data())
        last = 100 if any(run.first_zero is None for run in own) else max(other.surv_times)  # then all have reached it
        assert x.tolist() == [0, *other.surv_times, last]
        assert y == pytest.approx([1, *other.surv_prob, *other.surv_prob[-1:]])
        # Pointwise bounds hold the curve, and are somewhere wide.
        corners = np.asarray(band.get_paths()[0].vertices)
        for epoch, share in zip(x, y, strict=True):
            here = corners[corners[:, 0] == epoch][:, 1]
            assert here.min() - 1e-9 <= share <= here.max() + 1e-9
        assert np.ptp(corners[:, 1]) > 0.3


def test_the_heat_map_has_the_mean_errors_and_the_runs_at_zero(drawn: Figures, runs: list[Row]) -> None:
    axes = drawn["errors_heat_map"].axes[0]
    [mesh] = [found for found in axes.collections if isinstance(found, QuadMesh)]
    cells = [[[run.errors[-1] for run in runs if (run.rate, run.epochs) == (r, e)] for e in EPOCHS] for r in RATES]
    means = np.array([[mean(errors) for errors in row] for row in cells])
    assert np.asarray(mesh.get_array()) == pytest.approx(np.log1p(means))
    said = [text.get_text() for text in axes.texts]
    assert said == [f"{mean(errors):.1f}\n{errors.count(0)} of 8 at 0" for row in cells for errors in row]


def test_every_run_stands_in_the_strip_and_a_bar_at_its_cells_median(drawn: Figures, runs: list[Row]) -> None:
    for axes, rate in zip(drawn["errors_by_seed"].axes, RATES, strict=False):
        own = {
            epochs: [run.errors[-1] for run in runs if (run.rate, run.epochs) == (rate, epochs)] for epochs in EPOCHS
        }
        at = defaultdict(list)
        for place, errors in points(axes):
            at[EPOCHS[round(place)]].append(errors)
        assert {epochs: sorted(errors) for epochs, errors in at.items()} == {e: sorted(own[e]) for e in EPOCHS}
        bars = [found for found in axes.collections if isinstance(found, LineCollection)]
        heights = [float(np.asarray(bar.get_segments()[0])[0, 1]) for bar in bars]
        assert heights == [median(own[epochs]) for epochs in EPOCHS]


@pytest.mark.parametrize(("name", "values"), [("errors_by_epoch", "errors"), ("loss_by_epoch", "losses")])
def test_curves_are_the_median_of_the_seeds_and_bands_reach_from_the_least_to_the_most(
    name: str, values: str, drawn: Figures, runs: list[Row]
) -> None:
    for axes, rate in zip(drawn[name].axes, RATES, strict=False):
        histories = np.array([getattr(run, values) for run in longest(runs, rate)], float)
        assert np.asarray(axes.lines[0].get_xdata()).tolist() == list(range(1, 101))
        assert np.asarray(axes.lines[0].get_ydata(), float) == pytest.approx(np.median(histories, axis=0))
        [band] = [found for found in axes.collections if isinstance(found, PolyCollection)]
        corners = {(float(x), float(y)) for x, y in np.asarray(band.get_paths()[0].vertices)}
        ends = (histories.min(axis=0), histories.max(axis=0))
        expected = {(float(epoch), float(end[epoch - 1])) for end in ends for epoch in range(1, 101)}
        assert corners == expected
        baseline = [run for run in longest(runs, rate) if run.seed == 1234 and rate == 0.001]
        lines = [np.asarray(line.get_ydata(), float).tolist() for line in axes.lines[1:]]
        assert lines == [getattr(run, values) for run in baseline]


def test_the_strip_of_the_baseline_is_blue_where_there_is_no_error(drawn: Figures, runs: list[Row]) -> None:
    [axes] = drawn["baseline"].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "1234, its own",
        *(str(s) for s in sorted(SEEDS)[:-1]),
    ]
    own = sorted(longest(runs, 0.001), key=lambda run: (run.seed != 1234, run.seed))
    for place, run in enumerate(own):
        blue = axes.collections[2 * place + 1]
        epochs = set()
        for path in blue.get_paths():
            left, right = np.asarray(path.vertices)[:, 0].min(), np.asarray(path.vertices)[:, 0].max()
            epochs |= set(range(round(left + 0.5), round(right + 0.5)))
        assert epochs == {epoch for epoch, errors in enumerate(run.errors, start=1) if errors == 0}


def test_the_differences_from_the_baseline_are_drawn_where_they_are(drawn: Figures, runs: list[Row]) -> None:
    [axes] = drawn["against_baseline"].axes
    errors = {(run.rate, run.epochs, run.seed): run.errors[-1] for run in runs}
    expected = [
        mean(errors[rate, epochs, seed] - errors[0.001, epochs, seed] for seed in SEEDS)
        for rate in RATES[1:]
        for epochs in EPOCHS
    ]
    assert [x for x, _ in sorted(points(axes), key=lambda point: point[1])] == pytest.approx(expected)


def test_the_confusions_and_the_hardest_images_are_counted(drawn: Figures, runs: list[Row], optdigits: Digits) -> None:
    latest: dict[tuple[float, int, int], int] = {}
    for run in sorted(runs, key=lambda run: run.epochs):
        for image, answer in zip(run.result["wrong_images"], run.result["wrong_answers"], strict=True):
            latest[run.rate, run.seed, image] = answer
    counted = Counter((int(optdigits.labels[image]), answer) for (_, _, image), answer in latest.items())
    [axes] = drawn["confusion"].axes
    said = {(round(y), round(x)): int(text.get_text()) for text in axes.texts for x, y in [text.get_position()]}
    assert said == dict(counted)
    wrong_in = Counter(image for _, _, image in latest)
    titles = [text.get_text() for text in drawn["hard_images"].axes[0].texts]
    times = [int(title.split("\n")[1].split(" of ")[0]) for title in titles]
    assert times == sorted(wrong_in.values(), reverse=True)[: len(times)]
    assert all(title.endswith(" of 24") for title in titles)


def test_the_softmax_figure_has_the_worst_run_of_every_size(drawn: Figures, runs: list[Row]) -> None:
    worst: dict[str, dict[float, int]] = {"loop": {}, "vector": {}, "stable": {}}
    for run in runs:
        for sized in run.result["softmax_by_size"]:
            for way, by_size in worst.items():
                size, found = sized["below"], sized["checks"][way]["max_ulp"]
                by_size[size] = max(by_size.get(size, 0), found)
    upper, lower = drawn["softmax"].axes
    for line, by_size in zip(upper.lines, worst.values(), strict=True):
        assert np.asarray(line.get_ydata(), float).tolist() == [by_size[size] for size in sorted(by_size)]
    assert not any(np.asarray(line.get_ydata(), float).any() for line in lower.lines)


# A search


def test_a_search_is_drawn_as_optuna_has_it(drawn_search: Figures, asked: optuna.Study) -> None:
    told = {trial.number: trial.values for trial in asked.trials}
    assert len(told) == 16
    for axes, goal in zip(drawn_search["history"].axes, (0, 1), strict=True):
        np.testing.assert_allclose(points(axes), [(number, values[goal]) for number, values in sorted(told.items())])
        best = [min(told[earlier][goal] for earlier in range(number + 1)) for number in range(16)]
        assert np.asarray(axes.lines[0].get_ydata(), float) == pytest.approx(best)


def test_on_the_front_are_optunas_best_trials(drawn_search: Figures, asked: optuna.Study) -> None:
    [axes] = drawn_search["front"].axes
    best = sorted((trial.values[1], trial.values[0]) for trial in asked.best_trials)
    joined = sorted(zip(*(np.asarray(values, float).tolist() for values in axes.lines[0].get_data()), strict=True))
    np.testing.assert_allclose(joined, best)
    others = [trial.values[::-1] for trial in asked.trials if trial not in asked.best_trials]
    np.testing.assert_allclose(points(axes), sorted(map(tuple, others)))


def test_the_slices_have_every_trial_at_its_parameters(drawn_search: Figures, asked: optuna.Study) -> None:
    for axes, name in zip(drawn_search["slices"].axes, ("learning_rate", "epochs"), strict=False):
        np.testing.assert_allclose(
            points(axes), sorted((trial.params[name], trial.values[0]) for trial in asked.trials)
        )


def test_the_importances_are_those_that_optuna_finds_in_its_own_trials(
    drawn_search: Figures, asked: optuna.Study
) -> None:
    [axes] = drawn_search["importance"].axes
    names = [text.get_text().replace(" ", "_") for text in axes.get_yticklabels()]
    said = dict(zip(names, (float(text.get_text()) for text in axes.texts), strict=True))
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
    assert said == pytest.approx(found, abs=0.0051)  # printed with two decimals
