"""Writes a comparison in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.data.held_out import N_HELD_OUT, why_none
from harness.reporting.comparison import Comparison, Measure, Row, probability
from harness.reporting.comparison_statistics import FAMILY_LEVEL
from harness.reporting.templating import render
from harness.text import markdown_table, plural


def markdown(comparison: Comparison) -> str:
    """The comparison as text: the verdict, then the numbers, then the environments."""
    rows = comparison.rows
    head = ["", "seeds", "mean in A", "mean in B", "difference", "95% interval", "p"]
    overall = (comparison.errors, comparison.first_zero)
    trainings = [(row, row.first_zero, row.reached) for row in rows if row.first_zero and row.reached]
    environment = [[name, a, "the same" if a == b else b] for name, a, b in comparison.environment]
    return render(
        "comparison.md",
        {
            "a": comparison.a,
            "b": comparison.b,
            "verdict": comparison.verdict,
            "reasons": comparison.reasons,
            "errors": comparison.errors,
            "level": FAMILY_LEVEL,
            "rows": rows,
            "n_variants": comparison.n_variants,
            "shared": comparison.shared_seeds,
            "overall": markdown_table(head, [[measure.name, *_cells(measure)] for measure in overall]),
            "held_out": _held_out(comparison),
            "by_variant": markdown_table(head, [[row.label, *_cells(row.errors)] for row in rows]),
            "by_training": markdown_table(
                [*head, "reached in A", "in B"],
                [[row.label, *_cells(zero), str(reached[0]), str(reached[1])] for row, zero, reached in trainings],
            ),
            "images": _images_table(rows),
            "environment": markdown_table(["", "A", "B"], environment, n_left=3),
        },
    )


def _held_out(comparison: Comparison) -> str:
    """The sentence about held-out errors, or the reason why there are none."""
    found = comparison.held_out
    if found is None:
        return f"No held-out errors are compared: {why_none(comparison.a.dataset)}."
    change = found.difference
    interval = "" if math.isnan(change.low) else f", 95% interval {change.low:+.3g} to {change.high:+.3g}"
    return (
        f"Held-out errors, of {N_HELD_OUT:,} images: {found.mean_a:.4g} in A and {found.mean_b:.4g} in B (difference "
        f"{change.value:+.3g}{interval}). The verdict does not depend on them."
    )


def _cells(measure: Measure) -> list[str]:
    seeds = plural(measure.n_a, "pair") if measure.is_paired else f"{measure.n_a} and {measure.n_b}"
    found = measure.difference
    bounds = "-" if math.isnan(found.low) else f"{found.low:+.3g} to {found.high:+.3g}"
    means = [f"{measure.mean_a:.4g}", f"{measure.mean_b:.4g}"]
    return [seeds, *means, f"{found.value:+.3g}", bounds, probability(measure.p)]


def _images_table(rows: Iterable[Row]) -> str:
    """The table of image differences; empty if they are unknown."""
    head = ["", "pairs of runs", "wrong only in A", "wrong only in B", "pairs with McNemar's p below 5%"]
    found = [(row.label, row.images) for row in rows if row.images is not None and row.images.n]
    lines = [[label, *(str(count) for count in (i.n, i.only_a, i.only_b, i.below_5))] for label, i in found]
    return markdown_table(head, lines) if lines else ""
