"""The dot plot of a comparison: differences with their intervals, as characters and as an SVG figure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from harness.reporting.comparison import Comparison
from harness.reporting.comparison_statistics import ERRORS, FIRST_ZERO, Measure
from harness.reporting.comparison_verdict import Judged, signed
from harness.text import plural

# The width of a line in characters, without the indent that marks a block of code in Markdown.
_WIDTH = 76
_LABEL, _NUMBER = 28, 8
# The width of the figure, and of a character of its labels, in pixels.
_SVG_WIDTH, _CHARACTER = 460, 7.6

_NEVER = "no zeros"
LEGEND = "o mean difference, |---| 95% interval, : no difference, ! margin"


@dataclass(frozen=True)
class Dot:
    """A row of a dot plot. Missing numbers are NaN.

    Attributes:
        label: Name of the row.
        value: Difference, B minus A; NaN if no training of either study reaches zero errors.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        margin: Harm that must be excluded; NaN if the verdict does not depend on the row.
    """

    label: str
    value: float
    low: float
    high: float
    margin: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Panel:
    """A dot plot of one measure.

    Attributes:
        name: Identifier.
        title: Title.
        less, more: What a negative and a positive difference mean.
        dots: Rows. The first one covers all variants. The verdict depends on it alone.
    """

    name: str
    title: str
    less: str
    more: str
    dots: tuple[Dot, ...]


def panels(comparison: Comparison) -> tuple[Panel, Panel]:
    """The dot plots of errors at the last epoch and of first zero epochs."""
    rows = comparison.rows
    errors = [_dot(row.label, row.errors) for row in rows]
    zeros = [_dot(row.label, row.first_zero, row.reached) for row in rows if row.first_zero]
    return (
        Panel("errors", _title(ERRORS), "fewer in B", "more in B", (_pooled(comparison.errors, len(rows)), *errors)),
        Panel(
            *("first_zero", f"{_title(FIRST_ZERO)}, in epochs", "earlier in B", "later in B"),
            (_pooled(comparison.first_zero, len(zeros)), *zeros),
        ),
    )


def _title(name: str) -> str:
    return name[0].upper() + name[1:]


def _dot(label: str, measure: Measure, reached: tuple[int, int] | None = None) -> Dot:
    found = measure.difference
    return (
        Dot(label, math.nan, math.nan, math.nan)
        if reached == (0, 0)
        else Dot(label, found.value, found.low, found.high)
    )


def _pooled(judged: Judged, n: int) -> Dot:
    label, found = f"all ({plural(n, 'variant')})", judged.measure.difference
    if judged.measure.name == FIRST_ZERO and not judged.is_reached:
        return Dot(label, math.nan, math.nan, math.nan)
    return Dot(label, found.value, found.low, found.high, judged.margin)


def as_text(panel: Panel) -> str:
    """The panel as lines of at most 76 characters."""
    label = min(_LABEL, max(len(dot.label) for dot in panel.dots))
    start, end = _ends(panel.dots)
    width = _WIDTH - label - _NUMBER - 2

    def place(value: float) -> int:
        return round((value - start) / (end - start) * (width - 1))

    lines = [_heading(panel, label, width, place(0.0))]
    for dot in panel.dots:
        name = dot.label if len(dot.label) <= label else f"{dot.label[: label - 3]}..."
        marks = {place(0.0): ":"}
        if dot.has_interval:
            low, high = place(dot.low), place(dot.high)
            marks |= dict.fromkeys(range(low, high + 1), "-") | {low: "|", high: "|"}
        if math.isfinite(dot.margin):
            marks[place(dot.margin)] = "!"
        if math.isfinite(dot.value):
            marks[place(dot.value)] = "o"
        line = "".join(marks.get(column, " ") for column in range(width))
        lines.append(f"{name:<{label}} {line} {_NEVER if math.isnan(dot.value) else signed(dot.value):>{_NUMBER}}")
    return "\n".join([panel.title, *lines])


def _heading(panel: Panel, label: int, width: int, zero: int) -> str:
    """The line above the rows: the meaning of differences left and right of zero, as far as there is room."""
    left, right = f"{panel.less} <-", f"-> {panel.more}"
    line = [" "] * width
    if zero >= len(left):
        line[zero - len(left) : zero] = left
    line[zero] = "0"
    if width - zero - 1 >= len(right):
        line[zero + 1 : zero + 1 + len(right)] = right
    return (" " * (label + 1) + "".join(line)).rstrip()


def _ends(dots: Sequence[Dot]) -> tuple[float, float]:
    """The ends of a scale that includes zero and all finite numbers of the rows."""
    marks = [mark for dot in dots for mark in (dot.value, dot.low, dot.high, dot.margin) if math.isfinite(mark)]
    start, end = min([0.0, *marks]), max([0.0, *marks])
    return (start, end) if end > start else (-1.0, 1.0)


def as_svg(panel: Panel) -> str:
    """The panel as an SVG element that uses the colours of the page."""
    import vl_convert

    text = vl_convert.vegalite_to_svg(_specification(panel))
    return _in_colours_of_the_page(text, f"{panel.title}: differences between B and A with 95% intervals")


def _specification(panel: Panel) -> dict[str, Any]:
    import altair as alt

    from harness.reporting.figure_files import FAINT, INK, SERIES

    frame = pd.DataFrame([{**asdict(dot), "pooled": place == 0} for place, dot in enumerate(panel.dots)])
    labels = [dot.label for dot in panel.dots]
    base = alt.Chart(frame).encode(
        alt.Y("label:N", sort=labels, title=None),
        alt.Color("pooled:N", scale=alt.Scale(domain=[True, False], range=[INK, SERIES[0]]), legend=None),
    )
    title = f"{panel.less} \N{LEFTWARDS ARROW}   0   \N{RIGHTWARDS ARROW} {panel.more}"
    across = alt.X(
        "value:Q", title=title, scale=alt.Scale(domain=_ends(panel.dots), nice=True), axis=alt.Axis(tickCount=5)
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=INK, strokeDash=[2, 2]).encode(x="zero:Q")
    margin = base.transform_filter("isValid(datum.margin)").mark_tick(thickness=3, size=16, color=SERIES[1])
    never = base.transform_filter("!isValid(datum.value)").mark_text(align="left", dx=6, fontSize=13)
    chart = alt.layer(
        zero,
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(across),
        margin.encode(x="margin:Q", color=alt.value(SERIES[1])),
        never.encode(x=alt.datum(0), text=alt.value(_NEVER)),
    ).properties(width=_SVG_WIDTH, height=alt.Step(22), autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    chart = chart.configure(background="transparent", font="Verdana, system-ui, sans-serif")
    chart = chart.configure_view(stroke=None).configure_axis(
        **dict.fromkeys(("labelColor", "titleColor", "domainColor", "tickColor"), INK),
        gridColor=FAINT,
        labelFontSize=13,
        titleFontSize=13,
        titleFontWeight="normal",
        labelLimit=_LABEL * _CHARACTER,
    )
    # Reserve space for the labels: a browser's font can be wider than the one that the figure was laid out with.
    chart = chart.configure_axisY(minExtent=min(_LABEL, max(map(len, labels))) * _CHARACTER)
    specification: dict[str, Any] = chart.to_dict()
    return specification


def _in_colours_of_the_page(svg: str, description: str) -> str:
    """The SVG element with the page's colours, a text for screen readers, and its natural width as the maximum."""
    from harness.reporting.figure_files import in_colours_of_the_page

    svg = in_colours_of_the_page(svg)
    size = re.search(r'<svg [^>]*?width="([\d.]+)"', svg)
    width = size[1] if size else _SVG_WIDTH
    svg = re.sub(r'(<svg [^>]*?)width="[\d.]+" height="[\d.]+" ', r"\1", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" style="max-width: {width}px" ', 1)
