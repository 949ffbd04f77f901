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

# What figures draw words, frames and lines of a grid in; in a page these follow its light or dark colours.
INK, FAINT, PAPER = "#222222", "#dddddd", "#ffffff"

_DPI = 144
_FONTS = "'DejaVu Sans', Verdana, system-ui, sans-serif"  # of nearly the same widths, so that nothing moves


_P = ParamSpec("_P")
_T = TypeVar("_T")


def in_default_style(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function with matplotlib's default settings, whatever ``matplotlibrc`` says."""

    @wraps(function)
    def styled(*arguments: _P.args, **named: _P.kwargs) -> _T:
        with style.context("default"):
            return function(*arguments, **named)

    return styled


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        name: of its files, without an ending, and its anchor in the page.
        title: what it shows.
        caption: what it says, in words.
        svg: to stand in a page.
        png: to stand beside it.
    """

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def picture(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """Render a figure both ways; it is laid out once, which takes as long as to draw it."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    # A figure without an engine is drawn once a file; one whose engine does nothing is drawn twice.
    with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
        return Picture(name, title, caption, svg(figure, name), png(figure))


def png(figure: Figure) -> bytes:
    """The figure as a PNG; the same figure gives the same bytes."""
    stream = BytesIO()
    # A lower level than usual is a few per cent larger, and done in half of the time.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return stream.getvalue()


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element whose ink, grid and paper are the page's; the same figure gives the same text.

    Args:
        figure: what is drawn; it is used for nothing else afterwards.
        name: A prefix that makes the ids of this figure unique within its page.
    """
    stream = StringIO()
    # Settings of this call alone: text stays text, and what parts are called does not change from run to run.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text)
    # Several figures stand in one page, where a name must be one part's alone.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*?)?(?=[;\"])", _FONTS, text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", _with_size(text), count=1)
    for colour, variable in ((INK, "var(--ink)"), (FAINT, "var(--line)"), (PAPER, "var(--paper)")):
        text = text.replace(colour, variable)
    text = re.sub(r"(?<=[: ])(#000000|black)\b", "var(--ink)", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _with_size(text: str) -> str:
    """The SVG with its natural width as the largest that it takes; it shrinks with the page."""
    [(width, _)] = re.findall(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"', text)[:1]
    return text.replace("<svg ", f'<svg role="img" style="max-width: {float(width) * 4 / 3:.0f}px" ', 1)
