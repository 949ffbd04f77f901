"""Every number of a report, computed again from MLflow's files by other means, and compared as it is printed."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from harness.data.digits import Digits
from tests.reporting.rows import EPOCHS, RATES, SEEDS, Row, longest

FIGURES = ("max_abs_diff", "max_ulp", "argmax_differs", "row_sum_error", "overflow_rows")


class Page(HTMLParser):
    """The tables of a page, by the heading that they stand under, as lists of rows of texts; and its captions."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list[str]]]] = defaultdict(list)
        self.captions: dict[str, str] = defaultdict(str)
        self._under, self._figure, self._in = "", "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs).get("id") or ""
        if tag == "h2":
            self._under = named
        elif tag == "figure":
            self._figure = named
        elif tag == "table":
            self.tables[self._under].append([])
        elif tag == "tr":
            self.tables[self._under][-1].append([])
        elif tag in {"td", "th"}:
            self.tables[self._under][-1][-1].append("")
        if tag in {"td", "th", "figcaption"}:
            self._in = tag

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "figcaption", "table", "tr"}:
            self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in in {"td", "th"}:
            self.tables[self._under][-1][-1][-1] += data
        elif self._in == "figcaption":
            self.captions[self._figure] += data

    def rows(self, under: str, number: int = 0) -> list[list[str]]:
        """The rows of a table, without its head."""
        return [[" ".join(cell.split()) for cell in row] for row in self.tables[under][number][1:]]


@pytest.fixture(scope="module")
def report(folder: Path) -> Page:
    return Page((folder / "out" / "many" / "report.html").read_text())


def none(value: float | None, within: int) -> str:
    return f"none within {within}" if value is None else f"{value:.0f}"


def spell(value: float, half: float, sign: str = "", most: float = np.inf) -> str:
    """A mean and its interval, which numbers that are all the same do not have."""
    low, high = value - half, min(value + half, most)
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})" if half else f"{value:{sign}.1f}"


def test_the_runs_are_fit_to_be_compared(runs: list[Row]) -> None:
    firsts = [run.first_zero for run in runs if run.epochs == 100]
    assert any(first is None for first in firsts)
    assert any(first is not None for first in firsts)
    assert any(run.errors[-1] for run in runs if run.first_zero is not None)


def test_every_row_of_the_table_of_all_runs(report: Page, runs: list[Row]) -> None:
    rows = report.rows("all-runs")
    assert len(rows) == len(runs)
    for row, run in zip(rows, runs, strict=True):
        assert row == [
            *(str(run.trial), f"{run.rate:.3g}", str(run.epochs), str(run.seed), str(run.errors[-1])),
            *("-" if run.first_zero is None else str(run.first_zero), f"{run.losses[-1]:.3g}"),
            *(f"{run.result['softmax']['vector']['max_ulp']}", "finished", run.run_id[:8]),
        ]


def test_the_baselines_table(report: Page, runs: list[Row]) -> None:
    own = [run for run in runs if run.rate == 0.001 and run.seed == 1234]
    expected = [
        [
            str(run.epochs),
            str(run.errors[-1]),
            none(run.first_zero, run.epochs),
            f"{run.losses[-1]:.3g}",
            run.run_id[:8],
        ]
        for run in sorted(own, key=lambda run: run.epochs)
    ]
    assert report.rows("the-baseline") == expected


def test_how_surely_and_how_soon_zero_is_reached(report: Page, runs: list[Row]) -> None:
    for row, rate in zip(report.rows("reaching-zero"), RATES, strict=True):
        group = longest(runs, rate)
        n, reached = len(group), [run for run in group if run.first_zero is not None]
        low, high = proportion_confint(len(reached), n, method="wilson")
        first = [run.first_zero or 100 for run in group]
        half = scipy_stats.t.ppf(0.975, n - 1) * np.std(first, ddof=1) / n**0.5
        back = sum(any(run.errors[run.first_zero or 100 :]) for run in reached)
        assert row[:3] == [f"{rate:g}", f"{len(reached)} of {n}", f"{low:.0%} to {high:.0%}"]
        assert row[4:] == [
            f"{spell(mean(first), half, most=100)} of 100",
            *(f"in {back}", f"{sum(run.errors[-1] == 0 for run in group)} of {n}"),
        ]
        if 2 * len(reached) <= n:
            assert row[3].startswith("none")
        else:
            exact = scipy_stats.quantile_test([run.first_zero or np.inf for run in group], p=0.5)
            low, high = np.asarray(exact.confidence_interval(0.95))
            middle = sorted(first)[(n - 1) // 2]
            assert row[3] == f"{middle:.0f} ({low:.0f} {f'to {high:.0f}' if np.isfinite(high) else 'and up'})"


def test_the_first_zero_epoch_of_every_seed(report: Page, runs: list[Row]) -> None:
    expected = [
        [f"{rate:.3g}", str(run.seed), none(run.first_zero, 100), str(run.errors[-1]), "100", run.run_id[:8]]
        for rate in RATES
        for run in sorted(longest(runs, rate), key=lambda run: run.seed)
    ]
    assert report.rows("reaching-zero", 1) == expected


def test_the_table_of_error_counts(report: Page, runs: list[Row]) -> None:
    rows = iter(report.rows("error-counts"))
    for rate in RATES:
        for epochs in EPOCHS:
            cell = [run for run in runs if run.rate == rate and run.epochs == epochs]
            errors = [run.errors[-1] for run in cell]
            row = next(rows)
            assert row == [
                *(f"{rate:g}", str(epochs), f"{mean(errors):.1f}", f"{min(errors)} to {max(errors)}"),
                *(f"{errors.count(0)} of {len(cell)}", f"{len(cell)} runs"),
            ]


def test_the_trainings_whose_errors_returned_the_most(report: Page, runs: list[Row]) -> None:
    found = []
    for rate in RATES:
        for run in longest(runs, rate):
            after = run.errors[run.first_zero - 1 :] if run.first_zero else [0]
            if max(after):
                epoch = (run.first_zero or 0) + after.index(max(after))
                row = [f"{rate:g}", run.seed, run.first_zero, epoch, max(after), run.run_id[:8]]
                found.append([str(cell) for cell in row])
    largest = sorted((int(row[4]) for row in found), reverse=True)[:8]
    rows = report.rows("error-counts", 1)
    assert [int(row[4]) for row in rows] == largest
    assert all(row in found for row in rows)


def test_the_recommended_variants(report: Page, runs: list[Row]) -> None:
    cells = defaultdict(list)
    for run in runs:
        cells[run.rate, run.epochs].append(run)
    found = []
    for (rate, epochs), cell in cells.items():
        errors = [run.errors[-1] for run in cell]
        low, high = proportion_confint(errors.count(0), len(cell), method="wilson")
        key = (-errors.count(0), mean(errors), epochs, mean(run.losses[-1] for run in cell))
        share = [f"{errors.count(0)} of {len(cell)}", f"{low:.0%} to {high:.0%}"]
        found.append((key, [f"{rate:g}", str(epochs), *share, f"{mean(errors):.1f}", str(max(errors))]))
    expected = [row for key, row in sorted(found) if key[0]]
    assert report.rows("recommended") == expected[:5]


def test_the_softmax_table(report: Page, runs: list[Row]) -> None:
    assert [row[0] for row in report.rows("my-softmax")] == ["loop", "vector", "stable"]
    for row in report.rows("my-softmax"):
        checks = {run.run_id[:8]: run.result["softmax"][row[0]] for run in runs}
        assert row[1] == str(len(runs))
        for cell, name in zip(row[2:], FIGURES, strict=True):
            worst = max(check[name] for check in checks.values())
            said, *of_run = cell.split(" ") if " " in cell else (cell[:-8], cell[-8:]) if worst else (cell,)
            assert said == (f"{worst:.3g}" if name in {"max_abs_diff", "row_sum_error"} else f"{worst}")
            if worst:
                assert checks[of_run[0]][name] == worst


def test_paired_differences_from_the_baseline(folder: Path, report: Page, runs: list[Row]) -> None:
    markdown = (folder / "out" / "many" / "report.md").read_text()
    table = markdown.split("| learning rate | epochs | difference from the baseline | pairs |\n")[1].split("\n\n")[0]
    errors = {(run.rate, run.epochs, run.seed): run.errors[-1] for run in runs}
    expected: list[list[str]] = []
    for rate in RATES[1:]:
        for epochs in EPOCHS:
            found = [errors[rate, epochs, seed] - errors[0.001, epochs, seed] for seed in SEEDS]
            middle = mean(found)
            half = scipy_stats.t.ppf(0.975, 7) * np.std(found, ddof=1) / 8**0.5
            expected.append([f"{rate:g}", str(epochs), spell(middle, float(half), "+"), "8"])
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]] == expected
    assert report.rows("error-counts", 2) == expected


def test_the_captions_count_what_was_recorded(report: Page, runs: list[Row]) -> None:
    trainings = [run for run in runs if run.epochs == 100]
    reached = [run for run in trainings if run.first_zero is not None]
    back = [run for run in reached if any(run.errors[run.first_zero or 100 :])]
    captions = report.captions
    assert captions["reached"].startswith(f"{len(reached)} of {len(trainings)} trainings reached zero errors.")
    assert f"in {len(back)} of the {len(reached)} trainings that reached zero errors" in captions["errors_by_epoch"]
    zero = sum(run.errors[-1] == 0 for run in runs)
    assert captions["errors_heat_map"].startswith(f"{zero} of {len(runs)} runs ended with zero errors.")
    last = {rate: median(run.losses[-1] for run in longest(runs, rate)) for rate in RATES}
    best = min(last, key=lambda rate: last[rate])
    assert (
        f"The lowest median loss of the last epoch is {last[best]:.2g}, at learning rate {best:g}."
        in captions["loss_by_epoch"]
    )


def test_hard_images_and_confusions(report: Page, runs: list[Row], optdigits: Digits) -> None:
    wrong_in: Counter[int] = Counter()
    confusions: Counter[tuple[int, int]] = Counter()
    for rate in RATES:
        for seed in SEEDS:
            last: dict[int, int] = {}
            for run in sorted(runs, key=lambda run: run.epochs):
                if (run.rate, run.seed) == (rate, seed):
                    last |= dict(zip(run.result["wrong_images"], run.result["wrong_answers"], strict=True))
            wrong_in.update(last)
            confusions.update((int(optdigits.labels[image]), answer) for image, answer in last.items())
    most = max(wrong_in.values())
    hardest = min(image for image, count in wrong_in.items() if count == most)
    said = report.captions["hard_images"]
    assert said.startswith(f"{5000 - len(wrong_in)} of 5000 images were never wrong at the end of a run.")
    assert re.search(rf"image {hardest}, an? {optdigits.labels[hardest]} that", said)
    assert f"was wrong in {most} of 24 trainings" in said
    [((label, answer), count)] = confusions.most_common(1)
    most_frequent = f"{'an' if label == 8 else 'a'} {label} classified as {'an' if answer == 8 else 'a'} {answer}"
    expected = f"The most frequent mistake is {most_frequent}: {count} of {confusions.total()}."
    assert report.captions["confusion"].startswith(expected)


def test_softmax_by_the_size_of_the_logits(report: Page, runs: list[Row]) -> None:
    worst = {
        way: max(sized["checks"][way]["max_ulp"] for run in runs for sized in run.result["softmax_by_size"])
        for way in ("loop", "vector", "stable")
    }
    assert ", ".join(f"{way} {count}" for way, count in worst.items()) in report.captions["softmax"]
    for run in runs:
        assert sum(sized["rows"] for sized in run.result["softmax_by_size"]) == 5000


def test_the_csv_has_every_run(folder: Path, runs: list[Row]) -> None:
    with (folder / "out" / "many" / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row, run in zip(rows, runs, strict=True):
        assert (row["run_id"], int(row["trial"]), int(row["seed"])) == (run.run_id, run.trial, run.seed)
        assert float(row["final_loss"]) == run.losses[-1]
        assert float(row["final_errors"]) == run.errors[-1]
