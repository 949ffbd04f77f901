"""The page of a gate: the answer first, every effect beside its limit, and in a real browser."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError
from harness.gate import convergence, reference, rule, run
from harness.gate.environment import Difference
from harness.gate.reference import Reference
from harness.gate.run import GateResult
from harness.gate.verdict import Check, Effect, Verdict, overall
from harness.reporting import gate_page
from tests.browser import chromium, watch

NAME = "optdigits-5000"


@pytest.fixture(scope="module")
def recorded() -> Reference:
    """A reference of the package."""
    return reference.load(reference.path_of(NAME))


def result(recorded: Reference, slowdown: float) -> GateResult:
    """A gate whose trainings are recorded ones, slowed."""
    repeats = recorded.repeats
    every = slice(0, 1024, 16)
    now = rule.slower(rule.sample(repeats.first_zero[every], repeats.errors[every], repeats.budget), slowdown)
    data = Check("data", Verdict.PASS, "these images", "these images")
    losses = {"losses": [1.0, 0.5], "recorded_losses": [1.0, 0.4], "tolerance": 1e-5, "early_epochs": 10}
    trace = Check(
        "trace xla", Verdict.PASS, "the recorded weights", "the same <b>bits</b>", figure="trace", details=losses
    )
    checks = [data, trace, *convergence.checks(now, recorded)]
    first_zero = [int(epoch) if math.isfinite(epoch) else None for epoch in now.first_zero]
    return GateResult(
        checks,
        overall(checks),
        "xla",
        NAME,
        "2026-11-27T01:02:03+00:00",
        [Difference("tensorflow", "2.21.0", "2.22.0")],
        "harness gate run --first-seed 200000",
        list(range(len(first_zero))),
        first_zero,
        [int(count) for count in now.errors],
        60.0,
    )


def written(found: GateResult, recorded: Reference | None, folder: Path) -> str:
    gate_page.write(found, recorded, folder)
    return (folder / "gate.html").read_text()


def heading(page: str) -> str:
    [text] = re.findall(r"<h1>(.*?)</h1>", page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", "", text).split())


def test_the_page_begins_with_the_answer_then_what_differs_then_what_fails(recorded: Reference, tmp_path: Path) -> None:
    found = result(recorded, 0.3)
    page = written(found, recorded, tmp_path)
    assert heading(page) == found.answer
    assert found.answer.startswith("FAIL: zero errors come ")
    places = [
        page.index(part)
        for part in ("2.22.0", "epochs to zero errors</h2>", "Passed", "trace xla", "--first-seed 200000")
    ]
    assert places == sorted(places)
    assert "the same &lt;b&gt;bits&lt;/b&gt;" in page
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"survival", "errors", "trace"}


def test_each_figure_stands_once_on_the_page(recorded: Reference, tmp_path: Path) -> None:
    for slowdown in (0.0, 0.3):
        page = written(result(recorded, slowdown), recorded, tmp_path)
        assert [page.count(f'<figure id="{name}">') for name in ("survival", "errors", "trace")] == [1, 1, 1]


def test_a_gate_that_did_not_run_has_a_page_without_figures(recorded: Reference, tmp_path: Path) -> None:
    written(result(recorded, 0.0), recorded, tmp_path)
    page = written(run.not_run("data", "images", DataError("they are gone", "Bring them back.")), None, tmp_path)
    assert heading(page) == "NOT RUN: data: they are gone"
    assert "Bring them back." in page
    assert list((tmp_path / "figures").iterdir()) == []


@given(
    low=st.floats(-2, 0),
    width=st.floats(0, 3),
    limit=st.none() | st.floats(0.01, 2),
    is_open=st.booleans(),
)
def test_effects_are_drawn_in_their_order_and_inside_the_scale(
    low: float, width: float, limit: float | None, *, is_open: bool
) -> None:
    value, high = low + width / 2, math.inf if is_open else low + width
    drawn = gate_page.drawn(Effect("slowdown", value, low, high, 0.0, limit, is_share=True))
    assert 0 <= drawn.low <= drawn.dot <= drawn.high <= 100
    assert (drawn.dot < drawn.reference) <= (value < 0)
    if limit is not None and drawn.limit is not None:
        assert drawn.reference < drawn.limit <= 100
    if is_open:
        assert drawn.high == 100
        assert "to no limit" in drawn.text


@pytest.mark.slow
@pytest.mark.parametrize("slowdown", [0.0, 0.05, 0.3, 3.0])
def test_the_page_fits_a_phone_and_a_screen_without_complaints(
    slowdown: float, recorded: Reference, tmp_path: Path
) -> None:
    written(result(recorded, slowdown), recorded, tmp_path)
    with chromium() as browser:
        for width, scheme in ((390, "light"), (1280, "dark")):
            watched = watch(browser, width=width, scheme="dark" if scheme == "dark" else "light")
            watched.page.goto((tmp_path / "gate.html").as_uri())
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
            watched.page.locator("summary").first.click()
            assert watched.page.locator("details[open] dl").first.is_visible()
            watched.screenshot(f"gate-{slowdown}-{width}", whole=True)
            assert watched.complaints == []
            assert all(address.startswith(("file:", "data:")) for address in watched.requests)
