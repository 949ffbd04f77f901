"""Writes a comparison as text and as a page."""

from __future__ import annotations

from typing import Any

from harness.reporting import comparison_content as content
from harness.reporting import comparison_plot as plot
from harness.reporting.comparison import Comparison
from harness.reporting.comparison_content import Table
from harness.reporting.comparison_statistics import FAMILY_LEVEL
from harness.reporting.templating import render
from harness.text import markdown_table

_INDENT = "    "  # marks a block of code in Markdown


def markdown(comparison: Comparison) -> str:
    """The comparison as Markdown: the answer, the dot plots as characters, the numbers, and the environments."""
    tables = {name: _markdown(table) for name, table in _tables(comparison).items()}
    drawn = "\n\n".join(plot.as_text(panel) for panel in plot.panels(comparison))
    indented = "\n".join(f"{_INDENT}{line}".rstrip() for line in f"{drawn}\n\n{plot.LEGEND}".splitlines())
    return render("comparison.md", {**_common(comparison), **tables, "plot": indented})


def html(comparison: Comparison) -> str:
    """The comparison as one page that needs no network."""
    panels = plot.panels(comparison)
    figures = [{"name": panel.name, "title": panel.title, "svg": plot.as_svg(panel)} for panel in panels]
    tall = max(len(panel.dots) for panel in panels) > 30
    return render("comparison.html", {**_common(comparison), **_tables(comparison), "figures": figures, "tall": tall})


def _common(comparison: Comparison) -> dict[str, Any]:
    return {
        "comparison": comparison,
        "decision": comparison.decision,
        "sides": [content.side(side) for side in (comparison.a, comparison.b)],
        "across": content.across(comparison),
        "is_paired": comparison.errors.measure.is_paired,
        "level": FAMILY_LEVEL,
        "n_variants": comparison.n_variants,
        "held_out": content.held_out(comparison),
        "margins": content.margins(comparison),
        "unseen": content.unseen(comparison),
    }


def _tables(comparison: Comparison) -> dict[str, Table | None]:
    return {
        "overall": content.overall(comparison),
        "by_variant": content.by_variant(comparison),
        "by_training": content.by_training(comparison),
        "images": content.images(comparison),
        "environment": content.environment(comparison),
    }


def _markdown(table: Table | None) -> str:
    """The table in Markdown. Empty if there is none."""
    return "" if table is None else markdown_table(table.head, table.rows, table.n_left)
