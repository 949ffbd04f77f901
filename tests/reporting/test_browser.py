"""The report as people read it: opened from disk in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Watched, watch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(browser: Browser, folder: Path) -> Watched:
    """The report of a recorded study, in a window of a usual size."""
    watched = watch(browser)
    watched.page.goto((folder / "out" / "many" / "report.html").as_uri())
    return watched


def column(page: Page, name: str) -> list[str]:
    """What a column of the table of all runs shows now, from top to bottom."""
    heads = page.locator("#runs thead th").all_inner_texts()
    [place] = [number for number, head in enumerate(heads, start=1) if head.strip() == name]
    return page.locator(f"#runs tbody tr:not([hidden]) td:nth-child({place})").all_inner_texts()


def sort_by(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_it_asks_for_nothing_but_itself_and_complains_of_nothing(opened: Watched) -> None:
    assert {address.split("#")[0] for address in opened.requests} == {opened.page.url.split("#")[0]}
    assert opened.complaints == []
    opened.screenshot("report", whole=True)


def test_the_table_of_runs_is_sorted_both_ways_and_what_is_missing_comes_last(opened: Watched) -> None:
    page = opened.page
    sort_by(page, "loss")
    losses = [float(loss) for loss in column(page, "loss")]
    assert losses == sorted(losses)
    sort_by(page, "loss")
    assert [float(loss) for loss in column(page, "loss")] == sorted(losses, reverse=True)
    for descends in (False, True):
        sort_by(page, "first zero")
        firsts = column(page, "first zero")
        reached = [int(first) for first in firsts if first != "-"]
        assert reached == sorted(reached, reverse=descends)
        assert firsts == [*map(str, reached), *["-"] * (len(firsts) - len(reached))]


def test_the_table_of_runs_is_filtered_by_words_that_a_row_must_hold(opened: Watched) -> None:
    page = opened.page
    page.get_by_role("searchbox").fill("0.002 100")
    assert set(column(page, "learning rate")) == {"0.002"}
    assert set(column(page, "epochs")) == {"100"}
    assert page.get_by_role("status").inner_text() == "8 of 72"
    run_id = column(page, "run")[0]
    page.get_by_role("searchbox").fill(run_id[:8])
    assert column(page, "run") == [run_id]
    page.get_by_role("searchbox").fill("")
    assert page.get_by_role("status").inner_text() == "72 of 72"


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, folder: Path) -> None:
    watched = watch(browser, 390, 844)
    watched.page.goto((folder / "out" / "many" / "report.html").as_uri())
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    watched.screenshot("report-phone")


def test_in_the_dark_every_word_of_a_figure_is_light(browser: Browser, folder: Path) -> None:
    watched = watch(browser, scheme="dark")
    watched.page.goto((folder / "out" / "many" / "report.html").as_uri())
    inks = watched.page.evaluate(
        """[...document.querySelectorAll("figure:not(#errors_heat_map):not(#confusion) svg text")].map(
             (text) => getComputedStyle(text).fill)"""
    )
    assert len(inks) > 100
    for ink in set(inks):
        assert min(int(part) for part in re.findall(r"[0-9]+", ink)[:3]) > 150, ink
    watched.screenshot("report-dark")


def test_it_prints_whole_tables(browser: Browser, folder: Path) -> None:
    watched = watch(browser)
    watched.page.goto((folder / "out" / "many" / "report.html").as_uri())
    watched.page.emulate_media(media="print")
    shown, whole = watched.page.evaluate(
        """(() => { const box = document.querySelector("#runs").parentElement;
                    return [box.clientHeight, box.scrollHeight]; })()"""
    )
    assert shown == whole
    assert not watched.page.get_by_role("searchbox").is_visible()
