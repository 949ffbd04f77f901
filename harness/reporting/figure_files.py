"""Converts figures to files: SVG that follows the page's colours, and PNG."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from io import BytesIO, StringIO
from typing import ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib import style
from matplotlib.figure import Figure

# The colours of text, of frames and grid lines, and of the background. In a page, they follow its colour scheme.
INK, FAINT, PAPER = "#222222", "#dddddd", "#ffffff"

# The colours of groups: Okabe and Ito's palette, which is distinguishable with all common kinds of colour vision
# (https://jfly.uni-koeln.de/color/). Its most distant hues come first.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# The variables of the page that replace these colours. Each is legible on light and on dark paper.
OF_THE_PAGE = {
    INK: "--ink",
    FAINT: "--line",
    PAPER: "--paper",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES)},
}

_DPI = 144
_FONTS = "'DejaVu Sans', Verdana, system-ui, sans-serif"  # the fonts have similar widths, so that text keeps its place


_P = ParamSpec("_P")
_T = TypeVar("_T")


def in_default_style(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a function to run with matplotlib's default settings instead of those of ``matplotlibrc``."""

    @wraps(function)
    def styled(*arguments: _P.args, **named: _P.kwargs) -> _T:
        with style.context("default"):
            return function(*arguments, **named)

    return styled


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        name: Name of its files without the extension, and its anchor in the page.
        title: Title.
        caption: Caption, computed from the data.
        svg: SVG element for the page. Empty if the page draws the figure from its specification.
        png: Content of the PNG file.
        specification: Vega-Lite specification as JSON, for an interactive figure. Empty if the figure is an SVG.
    """

    name: str
    title: str
    caption: str
    svg: str
    png: bytes
    specification: str = ""


def picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Render a figure as SVG and PNG. The layout, which takes as long as drawing, is computed once."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    # A figure with a layout engine would be drawn twice for each file, even if the engine does nothing.
    with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
        return Picture(name, title, caption, svg(figure, name), png(figure))


def png(figure: Figure) -> bytes:
    """The figure as a PNG file. Equal figures give equal bytes."""
    stream = BytesIO()
    # This compression level gives slightly larger files than the default, in half the time.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return stream.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element that uses the colours of the page. Equal figures give equal text.

    Args:
        figure: Figure. Do not use it afterwards.
        name: A prefix that makes the ids of this figure unique within its page.
    """
    stream = StringIO()
    # Keep text as text, not as outlines, and give elements the same ids in every run.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text)
    # A page holds several figures, and its ids must be unique.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*?)?(?=[;\"])", _FONTS, text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", _with_size(text), count=1)
    text = in_colours_of_the_page(text)
    text = re.sub(r"(?<=[: ])(#000000|black)\b", "var(--ink)", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def in_colours_of_the_page(text: str) -> str:
    """The text of an SVG or of a specification, with the page's variables instead of the colours of light paper."""
    for colour, variable in OF_THE_PAGE.items():
        text = text.replace(colour, f"var({variable})")
    return text


def _with_size(text: str) -> str:
    """The SVG with its width as the maximum width, so that it shrinks on a narrow page."""
    [(width, _)] = re.findall(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"', text)[:1]
    return text.replace("<svg ", f'<svg role="img" style="max-width: {float(width) * 4 / 3:.0f}px" ', 1)
