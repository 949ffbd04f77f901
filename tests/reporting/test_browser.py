"""The report as people read it in a real browser: opened from disk, and in MLflow's viewer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Frame

from harness.reporting import report
from tests.browser import VIEWER, Watched, open_in_viewer, watch
from tests.reporting.rows import Row
from tests.reporting.test_report import ODD

pytestmark = pytest.mark.slow


def path(folder: Path) -> Path:
    return folder / "out" / "many" / "report.html"


def show(browser: Browser, document: Path, where: str) -> Watched:
    """Open a report from disk or in the viewer, and wait until its figures are drawn."""
    watched = watch(browser)
    if where == "disk":
        watched.page.goto(document.as_uri())
    else:
        open_in_viewer(watched, document.read_text())
    watched.view.locator("body[data-drawn]").wait_for()
    return watched


@pytest.fixture(params=["disk", "viewer"])
def opened(browser: Browser, folder: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """The report of a recorded study. Nothing goes wrong in it, and it asks for nothing but itself."""
    watched = show(browser, path(folder), request.param)
    yield watched
    assert watched.complaints == []
    own = {path(folder).as_uri(), VIEWER, watched.view.url.split("#")[0]}
    assert {address.split("#")[0] for address in watched.requests} <= own


def column(view: Frame, name: str) -> list[str]:
    """What a column of the table of all runs shows now, from top to bottom."""
    heads = view.locator("#runs thead th").all_inner_texts()
    [place] = [number for number, head in enumerate(heads, start=1) if head.strip() == name]
    return view.locator(f"#runs tbody tr:not([hidden]) td:nth-child({place})").all_inner_texts()


def sort_by(view: Frame, name: str) -> None:
    view.get_by_role("button", name=name, exact=True).click()


def test_every_figure_is_drawn(opened: Watched) -> None:
    script = "all => all.map(one => [one.dataset.chart, one.querySelectorAll('svg path').length])"
    drawn = opened.view.locator("[data-chart]").evaluate_all(script)
    assert {name for name, marks in drawn if marks > 5} >= {"errors_heat_map", "reached", "errors_by_epoch", "baseline"}
    assert all(marks for _, marks in drawn)


def test_the_first_screen_has_the_question_and_three_answers(opened: Watched) -> None:
    view = opened.view
    assert view.locator(".lead").inner_text() == "Many numbers."
    titles = view.locator(".card h3").all_inner_texts()
    assert titles == ["The baseline", "Recommended variant", "Surprising"]
    bottom = view.locator(".cards").evaluate("one => one.getBoundingClientRect().bottom")
    assert bottom < 700  # pixels of a screen of 900
    assert view.locator("nav").is_visible()


def test_hover_shows_seed_epoch_errors_and_run(opened: Watched) -> None:
    point = opened.view.locator("#errors_by_seed .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tooltip = opened.view.locator("#vg-tooltip-element")
    tooltip.wait_for()
    for word in ("learning rate", "epochs", "seed", "errors"):
        assert word in tooltip.inner_text()


def test_the_nearest_curve_is_named_and_a_click_selects_its_run(opened: Watched, runs: list[Row]) -> None:
    view = opened.view
    chart = view.locator("#errors_by_epoch .chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.45)
    said = view.locator("#errors_by_epoch .nearest").inner_text()
    found = re.match(r"learning rate (.+), seed (\d+), epoch (\d+): (\d+) errors, loss (.+), run (\w{8})", said)
    assert found is not None
    [run] = [run for run in runs if run.run_id.startswith(found[6])]
    assert (f"{run.rate:g}", str(run.seed), str(run.errors[int(found[3]) - 1])) == (found[1], found[2], found[4])
    opened.page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.45)
    assert view.locator("#picked-text").inner_text().endswith(f"run {run.run_id[:8]}")
    assert view.locator("#found").inner_text() == "1 of 72"
    lines = "[...document.querySelectorAll('#errors_by_epoch .mark-line path')]"
    view.wait_for_function(f"{lines}.filter(one => Number(one.getAttribute('opacity')) > 0.1).length === 1")
    view.locator("#picked-clear").press("Escape")
    assert view.locator("#picked").is_hidden()


def test_a_click_on_a_cell_selects_its_runs_in_figures_and_table(opened: Watched) -> None:
    view = opened.view
    cell = view.locator("#errors_heat_map .mark-text text").first
    cell.scroll_into_view_if_needed()
    cell.click()
    assert view.locator("#picked-text").inner_text() == "Selected: learning rate 0.001, 20 epochs"
    assert set(column(view, "learning rate")) == {"0.001"}
    assert set(column(view, "epochs")) == {"20"}
    points = "[...document.querySelectorAll('#errors_by_seed .mark-symbol path')]"
    faint = f"{points}.filter(one => Number(one.getAttribute('opacity')) < 0.1).length"
    view.wait_for_function(f"{faint} === 64")  # of 72 points, those of other cells
    view.locator("#picked-clear").click()
    assert len(column(view, "epochs")) == 72
    view.wait_for_function(f"{faint} === 0")


def test_a_click_on_a_legend_selects_a_group_and_a_click_on_a_point_a_run(opened: Watched) -> None:
    view = opened.view
    label = view.locator("#errors_by_epoch .role-legend-label text", has_text="0.002").first
    label.scroll_into_view_if_needed()
    label.click()
    assert view.locator("#picked-text").inner_text() == "Selected: learning rate 0.002"
    assert set(column(view, "learning rate")) == {"0.002"}
    view.locator("#picked-clear").click()
    point = view.locator("#errors_by_seed .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.click(force=True)
    assert view.locator("#found").inner_text() == "1 of 72"


def test_shift_and_wheel_zoom_the_curves(opened: Watched) -> None:
    chart = opened.view.locator("#errors_by_epoch .chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    labels = "[...document.querySelectorAll('#errors_by_epoch .role-axis-label text')]"
    ticks = f"{labels}.map(text => text.textContent).join(' ')"
    before = opened.view.evaluate(ticks)
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.page.keyboard.down("Shift")
    for _ in range(3):
        opened.page.mouse.wheel(0, -200)
    opened.page.keyboard.up("Shift")
    opened.view.wait_for_function(f"before => {ticks} !== before", arg=before)


def test_the_table_of_runs_is_sorted_both_ways_and_missing_values_come_last(opened: Watched) -> None:
    view = opened.view
    sort_by(view, "loss")
    losses = [float(loss) for loss in column(view, "loss")]
    assert losses == sorted(losses)
    sort_by(view, "loss")
    assert [float(loss) for loss in column(view, "loss")] == sorted(losses, reverse=True)
    for descends in (False, True):
        sort_by(view, "first zero")
        firsts = column(view, "first zero")
        reached = [int(first) for first in firsts if first != "-"]
        assert reached == sorted(reached, reverse=descends)
        assert firsts == [*map(str, reached), *["-"] * (len(firsts) - len(reached))]


def test_the_table_of_runs_is_filtered_by_words_that_a_row_must_hold(opened: Watched, runs: list[Row]) -> None:
    view = opened.view
    view.get_by_role("searchbox").fill("0.002 100")
    assert set(column(view, "learning rate")) == {"0.002"}
    assert set(column(view, "epochs")) == {"100"}
    assert view.locator("#found").inner_text() == "8 of 72"
    view.get_by_role("searchbox").fill(runs[3].run_id)
    assert column(view, "run") == [runs[3].run_id[:8]]
    view.get_by_role("searchbox").fill("")
    assert view.locator("#found").inner_text() == "72 of 72"


def test_a_run_id_and_the_table_can_be_copied(opened: Watched, runs: list[Row]) -> None:
    view = opened.view
    view.get_by_role("searchbox").fill(runs[5].run_id)
    view.locator(f'#runs [data-id="{runs[5].run_id}"]').click()
    view.locator("#copy-status:not(:empty)").wait_for()
    assert view.locator("#copied").input_value() == runs[5].run_id
    view.get_by_role("searchbox").fill("")
    view.locator("[data-pick]").nth(1).click()
    view.locator("#copy-runs").click()
    view.wait_for_function("document.getElementById('copied').value.includes('\\n')")
    rows = list(csv.DictReader(io.StringIO(view.locator("#copied").input_value())))
    assert [row["run"] for row in rows] == [run.run_id for run in runs if (run.rate, run.epochs) == (0.001, 60)]
    assert [row["errors"] for row in rows] == [
        str(run.errors[-1]) for run in runs if (run.rate, run.epochs) == (0.001, 60)
    ]


def test_downloads_are_offered_from_disk_alone(browser: Browser, folder: Path) -> None:
    assert show(browser, path(folder), "disk").view.locator(".file:visible").count() > 8
    assert show(browser, path(folder), "viewer").view.locator(".file:visible").count() == 0


def test_the_number_of_runs_selects_them_in_the_table(opened: Watched) -> None:
    opened.view.locator("[data-pick]").nth(4).click()
    assert opened.view.locator("#found").inner_text() == "8 of 72"


def test_on_a_phone_nothing_is_wider_than_the_screen_and_words_are_legible(browser: Browser, folder: Path) -> None:
    watched = watch(browser, 390, 844)
    watched.page.goto(path(folder).as_uri())
    watched.view.locator("body[data-drawn]").wait_for()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    # A figure is drawn for its width, so its words keep their size.
    sizes = watched.view.evaluate(
        """[...document.querySelectorAll('.chart')].map(one => {
             const svg = one.querySelector('svg');
             return svg.getBoundingClientRect().width / Number(svg.getAttribute('width')); })"""
    )
    assert min(sizes) > 0.95
    watched.screenshot("report-phone", whole=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_of_figures_have_the_colour_of_the_page(browser: Browser, folder: Path, scheme: str) -> None:
    watched = watch(browser, scheme="dark" if scheme == "dark" else "light")
    watched.page.goto(path(folder).as_uri())
    watched.view.locator("body[data-drawn]").wait_for()
    inks = "[...new Set([...document.querySelectorAll('.chart svg text')].map(text => getComputedStyle(text).fill))]"
    assert watched.view.evaluate(inks) == [watched.view.evaluate("getComputedStyle(document.body).color")]
    # The scheme may change while the page is open.
    watched.page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    assert watched.view.evaluate(inks) == [watched.view.evaluate("getComputedStyle(document.body).color")]
    watched.screenshot(f"report-{scheme}", whole=True)


def test_it_prints_whole_tables_with_their_heads_and_figures_that_fit(browser: Browser, folder: Path) -> None:
    watched = watch(browser, 1280, 900, "dark")
    watched.page.goto(path(folder).as_uri())
    watched.view.locator("body[data-drawn]").wait_for()
    watched.page.set_viewport_size({"width": 680, "height": 900})  # what A4 leaves between its margins
    watched.page.emulate_media(media="print")
    box = watched.view.locator(".tall", has=watched.view.locator("#runs"))
    shown, whole = box.evaluate("one => [one.clientHeight, one.scrollHeight]")
    assert shown == whole
    assert not watched.view.get_by_role("searchbox").is_visible()
    assert (
        watched.view.evaluate("getComputedStyle(document.querySelector('#runs thead')).display") == "table-header-group"
    )
    assert watched.view.evaluate("getComputedStyle(document.querySelector('#runs thead th')).position") == "static"
    assert (
        watched.view.evaluate(
            "Math.max(...[...document.querySelectorAll('.chart svg')].map(one => one.getBoundingClientRect().right))"
        )
        <= 680
    )
    assert watched.view.locator("details").evaluate_all("all => all.every(one => one.open)")


@pytest.mark.parametrize("name", ODD)
def test_the_page_of_an_odd_study_draws_its_figures_without_a_warning(
    browser: Browser, name: str, tmp_path: Path
) -> None:
    watched = show(browser, report.write(ODD[name], tmp_path), "disk")
    assert watched.complaints == []
    empty = "all => all.filter(one => !one.querySelector('svg path')).map(one => one.dataset.chart)"
    assert watched.view.locator("[data-chart]").evaluate_all(empty) == []


def test_without_scripts_the_figures_are_images(browser: Browser, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path(folder).as_uri())
    images = page.locator("noscript img, figure img")
    assert images.count() >= 8
    assert page.locator("figure img").first.evaluate("one => one.naturalWidth") > 500
    context.close()
