"""The tables and sentences of a comparison, for the text and for the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.held_out import N_HELD_OUT, why_none
from harness.reporting.comparison import Comparison
from harness.reporting.comparison_inputs import Side
from harness.reporting.comparison_statistics import Measure
from harness.reporting.comparison_verdict import Judged, probability, signed
from harness.text import plural

_MEASURED = ("seeds", "mean in A", "mean in B", "difference", "95% interval", "p")


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        head: Titles of the columns.
        rows: Cells of each row.
        n_left: Number of left-aligned columns.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_left: int = 1


def side(one: Side) -> str:
    """A study in words: its name, and its numbers of runs and seeds."""
    left_out = f"; left out: {plural(one.left_out, 'unfinished run')}" if one.left_out else ""
    return f"{one.name}: {plural(len(one.frame), 'run')}, {plural(one.n_seeds, 'seed')}{left_out}"


def across(comparison: Comparison) -> str:
    """The settings in which the studies differ on purpose, in words. Empty if there are none."""
    return "; ".join(f"{one.name} is {one.a} in A and {one.b} in B" for one in comparison.across)


def overall(comparison: Comparison) -> Table:
    """The table of the two measures over all common variants, with the bounds and margins that decide the verdict."""
    both = (comparison.errors, comparison.first_zero)
    head = ["", *_MEASURED[:-1], "p (Holm)", "95% bound", "margin"]
    return Table(head, [[judged.measure.name, *_cells(judged.measure)[:-1], *_limits(judged)] for judged in both])


def by_variant(comparison: Comparison) -> Table:
    """The table of the errors at the last epoch, one row for each variant."""
    return Table(["", *_MEASURED], [[row.label, *_cells(row.errors)] for row in comparison.rows])


def by_training(comparison: Comparison) -> Table:
    """The table of the first zero epochs. Variants whose runs come from the same trainings share a row."""
    trainings = [(row.label, row.first_zero, row.reached) for row in comparison.rows if row.first_zero and row.reached]
    return Table(
        ["", *_MEASURED, "reached in A", "in B"],
        [[label, *_cells(zero), *map(str, reached)] for label, zero, reached in trainings],
    )


def images(comparison: Comparison) -> Table | None:
    """The table of the images that are wrong in only one study; None if they are unknown."""
    head = ["", "pairs of runs", "wrong only in A", "wrong only in B", "pairs with McNemar's p below 5%"]
    found = [(row.label, row.images) for row in comparison.rows if row.images is not None and row.images.n]
    rows = [[label, *(str(count) for count in (i.n, i.only_a, i.only_b, i.below_5))] for label, i in found]
    return Table(head, rows) if rows else None


def environment(comparison: Comparison) -> Table:
    """The table of the environments of both studies."""
    rows = [[name, a, "the same" if a == b else b] for name, a, b in comparison.environment]
    return Table(["", "A", "B"], rows, n_left=3)


def held_out(comparison: Comparison) -> str:
    """The sentence about held-out errors, or the reason why there are none."""
    found = comparison.held_out
    if found is None:
        return f"Held-out errors are not compared: {why_none(comparison.a.dataset)}."
    change = found.difference
    interval = "" if math.isnan(change.low) else f", 95% interval {signed(change.low)} to {signed(change.high)}"
    return (
        f"Held-out errors, of {N_HELD_OUT:,} images: {found.mean_a:.4g} in A and {found.mean_b:.4g} in B (difference "
        f"{signed(change.value)}{interval}). The verdict does not depend on them."
    )


def margins(comparison: Comparison) -> str:
    """The sentence about the margins."""
    errors, zeros = comparison.errors, comparison.first_zero
    of_errors = f"{errors.margin:.3g} {'error' if errors.margin == 1 else 'errors'}"
    if not zeros.margin:
        return f"The margin of errors is {of_errors}. No training of A reaches zero errors, so a delay is not visible."
    return f"The margins are {zeros.margin:.3g} epochs ({zeros.reason}) and {of_errors}."


def unseen(comparison: Comparison) -> str:
    """The sentence about faults that the comparison can miss, because they affect only a small percentage of seeds."""
    measure = comparison.errors.measure
    n = min(measure.n_a, measure.n_b)
    share = 1 - 0.05 ** (1 / n)
    return f"A fault that affects fewer than {share:.0%} of seeds can remain unseen with {plural(n, 'seed')}."


def _cells(measure: Measure) -> list[str]:
    seeds = plural(measure.n_a, "pair") if measure.is_paired else f"{measure.n_a} and {measure.n_b}"
    found = measure.difference
    bounds = "-" if math.isnan(found.low) else f"{signed(found.low)} to {signed(found.high)}"
    means = [f"{measure.mean_a:.4g}", f"{measure.mean_b:.4g}"]
    return [seeds, *means, signed(found.value), bounds, probability(measure.p)]


def _limits(judged: Judged) -> list[str]:
    bound = judged.measure.bound
    limit = "-" if math.isnan(bound) else signed(bound)
    return [probability(judged.finding.p_family), limit, f"{judged.margin:.3g}"]
