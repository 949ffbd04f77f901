"""Converts Altair charts to figures: a specification that the page draws, and a PNG file.

A specification has the colours of light paper. The page replaces them by its own, which follow the colour scheme.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import altair as alt
import vl_convert

from harness.data.digits import cache_folder
from harness.errors import StoppedError
from harness.files import write_text
from harness.reporting.charts.encodings import PICKED
from harness.reporting.figure_files import FAINT, INK, PAPER, Picture, in_colours_of_the_page

# Data that several figures share, by name. The page contains each of them only once.
Shared = Mapping[str, Sequence[Mapping[str, Any]]]

_PNG_WIDTH = 760  # pixels
_CONFIG: dict[str, Any] = {
    "background": PAPER,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **dict.fromkeys(("labelColor", "titleColor", "domainColor", "tickColor"), INK),
        "gridColor": FAINT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "orient": "top",
        "direction": "horizontal",
        "columns": 6,
        "symbolOpacity": 1,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 220,
    },
    "text": {"color": INK},
    "rule": {"color": INK},
    "autosize": {"type": "fit-x", "contains": "padding"},
}

_log = logging.getLogger(__name__)


def specification(chart: alt.Chart | alt.LayerChart) -> dict[str, Any]:
    """The Vega-Lite specification of a chart, with this project's look and the parameters that a selection sets."""
    # Tests validate the charts, which takes longer than building them.
    found: dict[str, Any] = chart.to_dict(validate=False)
    params = [*({"name": name, "value": None} for name in PICKED), *found.get("params", [])]
    return {**found, "config": _CONFIG, "params": params}


def picture(
    name: str, title: str, caption: str, chart: alt.Chart | alt.LayerChart, shared: Shared | None = None
) -> Picture:
    """Render a chart as the specification for the page, and as PNG.

    Args:
        name: Name of its files without the extension, and its anchor in the page.
        title: Title.
        caption: Caption, computed from the data.
        chart: Chart whose width is that of its container.
        shared: Data to which the chart refers by name, under these names.
    """
    found = specification(chart)
    text = json.dumps(found, separators=(",", ":"), allow_nan=False)
    whole = {**found, "width": _PNG_WIDTH, "datasets": {**found.get("datasets", {}), **(shared or {})}}
    png = vl_convert.vegalite_to_png(json.dumps(whole))
    return Picture(name, title, caption, "", png, in_colours_of_the_page(text).replace("<", "\\u003c"))


def prepare() -> None:
    """Start the JavaScript engine that renders charts, and bundle the library, so that the first chart is fast."""
    vl_convert.vegalite_to_svg({"mark": "point", "data": {"values": []}})
    library()


def library() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed for a page that needs no network, as ``window.vegaEmbed``.

    Bundling takes seconds, so the result is kept in the user's cache.
    """
    path = cache_folder() / "vega" / f"{version('vl-convert-python')}.js"
    with suppress(OSError):  # it is missing, or another user's
        return path.read_text(encoding="utf-8")
    found = vl_convert.javascript_bundle().replace(  # type: ignore[call-arg] # the argument is optional
        "</script", "<\\/script"
    )
    try:
        write_text(path, found)
    except StoppedError as error:
        _log.info("not cached: %s", error.cause)
    return found
