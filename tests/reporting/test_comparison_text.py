"""A comparison as text and as a page: the dot plots, and what a browser shows."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from harness.reporting import comparison_plot, comparison_text
from harness.reporting.comparison import Comparison
from harness.reporting.comparison_plot import Dot, Panel
from harness.tracking.run_record import StudyRecord
from tests.browser import watch
from tests.reporting.compared import compared, grid, run, study


def two_rates(more: int) -> StudyRecord:
    return study(
        run(
            2 * seed + place,
            seed + more * (seed + place),
            None if place else 50 + seed + more,
            seed=seed,
            learning_rate=rate,
            batch_size=64,
        )
        for seed in range(8)
        for place, rate in enumerate((0.001, 0.0123456789))
    )


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compared(two_rates(0), two_rates(1))


def panel(*dots: Dot) -> Panel:
    return Panel("errors", "Errors", "fewer in B", "more in B", dots)


def test_the_text_begins_with_the_answer_and_then_shows_the_differences(found: Comparison) -> None:
    text = comparison_text.markdown(found)
    assert text.startswith("# B is worse than A: on average, zero errors come ")
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "Differences between B and A"
    plotted = text.split("## ")[1].splitlines()
    assert max(map(len, plotted)) <= 80
    for label in ("all (2 variants)", "lr 0.001, 100 epochs", "lr 0.0123456789, 100 epochs"):
        assert sum(line.startswith(f"    {label} ") for line in plotted) == 2, label
    assert not re.search(r"\bnan\b", text)


def test_marks_stand_where_the_numbers_are() -> None:
    lines = comparison_plot.as_text(panel(Dot("all", 0, -10, 10, margin=5), Dot("one", 5, 0, 10))).splitlines()
    # Labels take 3 characters and numbers 8, with a space beside each. So 63 columns show -10 to 10.
    assert len(lines[2]) == len(lines[3]) == 76
    columns = [line[4:67] for line in lines]
    assert columns[1][31] == "0"
    assert (columns[2][0], columns[2][31], columns[2][46], columns[2][62]) == ("|", "o", "!", "|")
    assert (columns[3][31], columns[3][46], columns[3][62]) == ("|", "o", "|")
    assert columns[1].rstrip().endswith("-> more in B")
    assert "fewer in B <-0" in columns[1]


def test_a_row_without_an_interval_is_a_dot_and_one_without_zeros_says_so() -> None:
    lines = comparison_plot.as_text(
        panel(Dot("all", 2, math.nan, math.nan), Dot("none", math.nan, math.nan, math.nan))
    ).splitlines()
    assert "|" not in lines[2]
    assert lines[2].endswith("+2")
    assert "o" not in lines[3][5:-8]
    assert lines[3].endswith("no zeros")


def test_nothing_but_zeros_and_long_labels_fit() -> None:
    lines = comparison_plot.as_text(panel(Dot("all", 0, 0, 0), Dot("x" * 60, 0, 0, 0))).splitlines()
    assert max(map(len, lines)) <= 76
    assert lines[3].startswith(f"{'x' * 25}... ")


def test_trainings_that_never_reach_zero_have_no_dot(found: Comparison) -> None:
    errors, zeros = comparison_plot.panels(found)
    assert [dot.label for dot in errors.dots] == [
        "all (2 variants)",
        "lr 0.001, 100 epochs",
        "lr 0.0123456789, 100 epochs",
    ]
    assert [math.isnan(dot.value) for dot in zeros.dots] == [False, False, True]
    none = compared(grid(lambda _: 5, lambda _: None), grid(lambda _: 6, lambda _: None))
    assert math.isnan(comparison_plot.panels(none)[1].dots[0].value)


def test_a_figure_has_the_pages_colours_and_a_text_for_screen_readers(found: Comparison) -> None:
    svg = comparison_plot.as_svg(comparison_plot.panels(found)[0])
    assert set(re.findall(r'(?:fill|stroke)="(#\w+|black|white|rgb[^"]*)"', svg)) == set()
    assert set(re.findall(r"var\((--[\w-]+)\)", svg)) >= {"--ink", "--line"}
    assert 'aria-label="Errors at the last epoch: differences between B and A with 95% intervals"' in svg
    assert "lr 0.0123456789, 100 epochs" in svg


def test_a_page_needs_no_network_and_names_of_studies_are_escaped(found: Comparison) -> None:
    text = comparison_text.html(found)
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert '<h1><b class="bad">B is worse than A</b>: on average' in text
    a = study(two_rates(0).trainings, **{"harness.study": "<script>"})
    assert "<script>" not in comparison_text.html(compared(a, a))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(
    found: Comparison, browser: Browser, tmp_path: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    path = tmp_path / "comparison.html"
    path.write_text(comparison_text.html(found))
    watched = watch(browser, width, scheme=scheme)
    watched.page.goto(path.as_uri())
    assert watched.complaints == []
    assert watched.requests == [path.as_uri()]
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    clipped = """[...document.querySelectorAll("figure svg text")].filter((text) => {
        const [own, whole] = [text, text.closest("svg")].map((one) => one.getBoundingClientRect());
        return own.left < whole.left - 1 || own.right > whole.right + 1; }).map((text) => text.textContent)"""
    assert watched.page.evaluate(clipped) == []
    dots = """[...document.querySelectorAll("figure svg .mark-symbol path")].map((dot) => getComputedStyle(dot).fill)"""
    inks = {tuple(int(part) for part in re.findall(r"\d+", ink)[:3]) for ink in watched.page.evaluate(dots)}
    assert len(inks) == 2
    if scheme == "dark":
        assert all(max(ink) > 150 for ink in inks), inks
    watched.screenshot(f"comparison-{width}-{scheme}", whole=True)
