"""Renders templates, with filters that format numbers."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from harness import text
from harness.reporting import captions


def render(template: str, content: dict[str, Any]) -> str:
    """Render a template of ``templates/``. A variable that is missing from ``content`` is an error."""
    return _environment().get_template(template).render(content)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.reporting"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "figure": figure, "short": short, "of_run": of_run}
    environment.filters |= {
        "epoch": captions.epoch,
        "mean": captions.mean,
        "difference": captions.difference,
        "share": captions.share,
        "duration": text.duration,
        "plural": text.plural,
        "within": captions.within,
        "md": text.escape_markdown,
    }
    return environment


def count(value: Any) -> str:  # noqa: ANN401 - whatever a table's cell holds
    """An integer as text, or a dash for a missing number."""
    return "-" if value is None or pd.isna(value) else f"{int(value)}"


def figure(value: Any) -> str:  # noqa: ANN401 - whatever a table's cell holds
    """A number with three significant digits, or a dash for a missing number."""
    if value is None or pd.isna(value):
        return "-"
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def short(run_id: str) -> str:
    """The first characters of a run id, which are enough to find the run."""
    return run_id[:8]


def of_run(run_id: str) -> str:
    """The short form of a run id in parentheses. Empty if there is no run."""
    return f" ({short(run_id)})" if run_id else ""
