"""Writes the page of a gate, and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import provenance
from harness.files import write_bytes, write_text
from harness.gate import results
from harness.gate.reference import Reference
from harness.gate.run import GateResult
from harness.gate.verdict import ERRORS, SURVIVAL, TRACE, Effect, Verdict
from harness.reporting.charts import gate as charts
from harness.reporting.figure_files import Picture, in_default_style, picture
from harness.reporting.templating import render

PAGE = "gate.html"


@dataclass(frozen=True)
class Drawn:
    """The drawing of a measured effect. Its positions are percentages of the drawing's width.

    Attributes:
        name: Name of the effect.
        low, high: Positions of the ends of the effect's interval.
        dot: Position of the effect's estimate.
        reference: Position of the reference's value.
        limit: Position of the smallest effect for which the check cannot pass; None if there is no such effect.
        text: Estimate and interval of the effect, as text.
        reference_text: Value of the reference, as text.
        limit_text: Smallest effect for which the check cannot pass, as text; empty if there is no such effect.
    """

    name: str
    low: float
    high: float
    dot: float
    reference: float
    limit: float | None
    text: str
    reference_text: str
    limit_text: str


@in_default_style
def write(result: GateResult, reference: Reference | None, folder: Path) -> None:
    """Write ``gate.html`` and ``figures/`` into ``folder``. Old figures of checks that did not run are deleted.

    Raises:
        StoppedError: A file cannot be written.
    """
    pictures = {} if reference is None else _pictures(result, reference)
    for name in (SURVIVAL, ERRORS, TRACE):
        path = folder / "figures" / f"{name}.png"
        if name in pictures:
            write_bytes(path, pictures[name].png)
        else:
            path.unlink(missing_ok=True)
    write_text(folder / PAGE, render(PAGE, _content(result, reference, pictures)))


def _content(result: GateResult, reference: Reference | None, pictures: dict[str, Picture]) -> dict[str, object]:
    bad = [check for check in result.checks if not check.is_good]
    changed = [check for check in result.checks if check.verdict is Verdict.CHANGED]
    shown = [*bad, *changed]
    names = list(dict.fromkeys(check.figure for check in shown if check.figure in pictures))
    first = {name: next(check.name for check in shown if check.figure == name) for name in names}
    return {
        "result": result,
        "tone": {Verdict.PASS: "good", Verdict.FAIL: "bad"}.get(result.verdict, "unclear"),
        "verdict": str(result.verdict),
        "answer": result.answer.partition(": ")[2],
        "date": result.date.replace("T", " ")[:16] + " UTC",
        "environment": results.shown(result.environment),
        "recorded": None if reference is None else reference.records[-1],
        "shown": shown,
        "passed": [check for check in result.checks if check.verdict is Verdict.PASS],
        "effects": {check.name: drawn(check.effect) for check in result.checks if check.effect},
        "pictures": pictures,
        "picture_of": {check: name for name, check in first.items()},
        "others": [name for name in pictures if name not in first],
        "versions": provenance.versions(),
        "processor": provenance.processor(),
    }


def _pictures(result: GateResult, reference: Reference) -> dict[str, Picture]:
    found, repeats = [], reference.repeats
    if result.seeds:
        figure = charts.survival(result.first_zero, repeats.first_zero, repeats.budget, reference.goal)
        caption = (
            f"The percentage of seeds that have not yet reached {reference.goal}, by epoch. Bands are 95% intervals."
        )
        found.append(picture(SURVIVAL, "Seeds and the reference", caption, figure))
        figure = charts.errors(result.errors, repeats.errors, repeats.errors_at)
        caption = f"The percentage of seeds with at most a given number of errors at epoch {repeats.errors_at}."
        found.append(picture(ERRORS, "Early errors", caption, figure))
    traces = {check.name.partition(" ")[2]: check.details for check in result.checks if "losses" in check.details}
    if traces:
        caption = "The relative difference between each epoch's loss and the recorded loss of that epoch."
        found.append(picture(TRACE, "Losses and the recorded losses", caption, charts.trace(traces)))
    return {one.name: one for one in found}


def drawn(effect: Effect) -> Drawn:
    """The positions and texts of an effect's drawing."""
    marks = [effect.value, effect.low, effect.high, effect.reference, *([] if effect.limit is None else [effect.limit])]
    finite = [mark for mark in marks if math.isfinite(mark)]
    start, end = _ends(finite)
    span = end - start

    def place(value: float) -> float:
        return min(100.0, max(0.0, (value - start) / span * 100)) if math.isfinite(value) else 100.0

    limit = effect.limit
    return Drawn(
        name=effect.name,
        low=place(effect.low),
        high=place(effect.high),
        dot=place(effect.value),
        reference=place(effect.reference),
        limit=None if limit is None else place(limit),
        text=_text(effect, effect.value)
        + f" (95% interval {_text(effect, effect.low)} to {_text(effect, effect.high)})",
        reference_text=_text(effect, effect.reference),
        limit_text="" if limit is None else _text(effect, limit),
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a scale that shows all values, with some space beside them."""
    low, high = min(values), max(values)
    pad = (high - low or 1.0) * 0.08
    return low - pad, high + pad


def _text(effect: Effect, value: float) -> str:
    if not math.isfinite(value):
        return "no limit"
    if not value:
        return "0"
    if effect.limit is None:
        return f"{value:.0%}" if effect.is_share else f"{value:.1f}"
    return f"{value:+.1%}" if effect.is_share else f"{value:+.1f}"
