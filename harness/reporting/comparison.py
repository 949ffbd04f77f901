"""Compares two studies, and decides whether the second is worse.

The verdict comes from two tests over seeds, one for the errors at the last epoch and one for the first zero epoch,
each over all variants that both studies have, at a level for both together. Everything else is descriptive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from harness import statistics
from harness.errors import ExitStatus, UsageError
from harness.reporting.comparison_inputs import VARIANT, Side, fact
from harness.reporting.comparison_statistics import FAMILY_LEVEL, Finding, judge, level_seed_means
from harness.reporting.comparison_tables import (
    _ENOUGH_PAIRS,
    Floats,
    Tables,
    aligned,
    arrays,
    can_pair,
    common,
    longest,
    of_variant,
    restricted,
)
from harness.statistics import Estimate
from harness.text import plural

ERRORS, FIRST_ZERO, HELD_OUT = "errors at the last epoch", "first zero epoch", "held-out errors"


class ComparisonVerdict(StrEnum):
    """The verdict of a comparison."""

    NO_DIFFERENCE = "no difference"
    WORSE = "B is worse"
    BETTER = "B is better"
    MIXED = "mixed"
    CANNOT_TELL = "cannot tell"

    @property
    def exit_status(self) -> ExitStatus:
        """The exit status of a command with this verdict. Too few seeds count as wrong input."""
        if self is ComparisonVerdict.CANNOT_TELL:
            return ExitStatus.USAGE
        return ExitStatus.NEGATIVE if self in {ComparisonVerdict.WORSE, ComparisonVerdict.MIXED} else ExitStatus.OK


@dataclass(frozen=True)
class Measure:
    """One of the two measures of a comparison, over all common variants or over one.

    Attributes:
        name: Name of the measure.
        is_paired: Whether runs with the same seed are compared in pairs.
        n_a: Number of seeds of A; if paired, of both.
        n_b: Number of seeds of B.
        mean_a: Mean over the seeds of A.
        mean_b: Mean over the seeds of B.
        difference: Difference of the means, B minus A, with its 95% interval.
        p: p-value of the test over seeds.
    """

    name: str
    is_paired: bool
    n_a: int
    n_b: int
    mean_a: float
    mean_b: float
    difference: Estimate
    p: float


@dataclass(frozen=True)
class ImageDifferences:
    """The images that are wrong in only one of two runs with the same variant and seed.

    The verdict does not depend on them.

    Attributes:
        n: Number of pairs of runs.
        only_a: Number of images that are wrong only in A, summed over the pairs.
        only_b: Number of images that are wrong only in B.
        below_5: Number of pairs with a p-value of McNemar's test below 5%.
    """

    n: int
    only_a: int
    only_b: int
    below_5: int


@dataclass(frozen=True)
class Row:
    """A variant that both studies have.

    Attributes:
        variant: Settings of the variant without the seed.
        label: Settings that vary, in words.
        errors: Errors at the last epoch.
        first_zero: First zero epoch, where a training that never reached zero has its last epoch; None if a longer
            variant of the same trainings has it.
        reached: Number of trainings of A and of B that reached zero; None as for `first_zero`.
        images: Images that are wrong in only one study; None if they were not recorded.
    """

    variant: dict[str, Any]
    label: str
    errors: Measure
    first_zero: Measure | None
    reached: tuple[int, int] | None
    images: ImageDifferences | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of two studies; see the module.

    Attributes:
        a: First study.
        b: Second study.
        verdict: Verdict.
        reasons: Reasons for the verdict, one sentence each.
        errors: Errors over all common variants.
        first_zero: First zero epochs over the longest common variant of each training.
        held_out: Held-out errors over the common variants whose runs have them; None if there are none. The verdict
            does not depend on them.
        findings: Findings of the tests of `errors` and `first_zero`, in this order.
        rows: Common variants.
        environment: Name, value in A and value in B of each part of the environment.
    """

    a: Side
    b: Side
    verdict: ComparisonVerdict
    reasons: tuple[str, ...]
    errors: Measure
    first_zero: Measure
    held_out: Measure | None
    findings: tuple[Finding, Finding]
    rows: tuple[Row, ...]
    environment: tuple[tuple[str, str, str], ...]

    @property
    def n_variants(self) -> tuple[int, int]:
        """The number of variants of A and of B."""
        first, second = (len(side.frame[VARIANT].drop_duplicates()) for side in (self.a, self.b))
        return first, second

    @property
    def shared_seeds(self) -> int:
        """The number of shared seeds."""
        return len(set(self.a.frame["seed"]) & set(self.b.frame["seed"]))

    def as_json(self) -> dict[str, Any]:
        """The comparison in plain values."""
        measures = zip((self.errors, self.first_zero), self.findings, strict=True)
        return {
            **{side: _side_json(each) for side, each in (("a", self.a), ("b", self.b))},
            "verdict": str(self.verdict),
            "reasons": list(self.reasons),
            "family_level": FAMILY_LEVEL,
            "measures": [{**asdict(measure), "p_family": finding.p_family} for measure, finding in measures],
            "held_out_errors": None if self.held_out is None else asdict(self.held_out),
            "variants": [asdict(row) for row in self.rows],
            "environment": [{"name": name, "a": a, "b": b} for name, a, b in self.environment],
        }


def _side_json(side: Side) -> dict[str, Any]:
    return {"name": side.name, "runs": len(side.frame), "left_out": side.left_out}


def compare(a: Side, b: Side) -> Comparison:
    """Compare two studies.

    Raises:
        UsageError: The studies have different images, or no variant in common.
    """
    if a.dataset != b.dataset:
        cause = f"{a.name} is of {a.dataset} and {b.name} of {b.dataset}: different images are never compared"
        raise UsageError(cause, "Run both on the same images (--data).")
    errors, zeros = common(a, b, "final_errors"), common(a, b, "first_zero_epoch")
    is_paired = can_pair(errors)
    numbers = arrays(aligned(errors, is_paired=is_paired)), arrays(longest(aligned(zeros, is_paired=is_paired)))
    findings = judge(*numbers, is_paired=is_paired)
    counted = numbers[0], arrays(restricted(longest(aligned(zeros, is_paired=is_paired))))
    errors_over_all, zeros_over_all = (
        _measure(name, level_seed_means(*pair), is_paired=is_paired, p=finding.p)
        for name, pair, finding in zip((ERRORS, FIRST_ZERO), counted, findings, strict=True)
    )
    overall = errors_over_all, zeros_over_all
    verdict, reasons = _verdict(overall, findings, numbers, is_paired=is_paired)
    reasons += _partly_shared(errors, is_paired=is_paired)
    rows = tuple(_rows(a, b, errors, zeros))
    return Comparison(a, b, verdict, reasons, *overall, _held_out(a, b), findings, rows, _environment(a, b))


def _held_out(a: Side, b: Side) -> Measure | None:
    """Compare the held-out errors of the runs that have them."""
    first, second = a.with_held_out(), b.with_held_out()
    try:
        tables = common(first, second, "held_out_errors")
    except UsageError:  # no variant in common
        return None
    is_paired = can_pair(tables)
    seeds = level_seed_means(*arrays(aligned(tables, is_paired=is_paired)))
    return _measure(HELD_OUT, seeds, is_paired=is_paired)


def _partly_shared(tables: Tables, *, is_paired: bool) -> tuple[str, ...]:
    """What it costs that only some seeds are shared, as a sentence."""
    first, second = tables
    shared, n_a, n_b = len(aligned(tables, is_paired=True)[0]), len(first), len(second)
    if not shared or shared == n_a == n_b:
        return ()
    have = f"{shared} of {plural(n_a, 'seed')} in A and of {n_b} in B are shared"
    if is_paired:
        return (f"{have}; only these are compared, in pairs",)
    cost = f"run at least {_ENOUGH_PAIRS} seeds in both to compare pairs, which finds smaller differences"
    return (f"{have}; the studies are compared as independent groups ({cost})",)


def _measure(name: str, seeds: tuple[Floats, Floats], *, is_paired: bool, p: float | None = None) -> Measure:
    """Compare a measure over the seeds of A and B. If no p-value is given, compute it with a test of this measure."""
    a, b = seeds
    if p is None:
        p = statistics.paired_test(a, b) if is_paired else statistics.unpaired_test(a, b)
    difference = statistics.paired_difference(a, b) if is_paired else statistics.unpaired_difference(a, b)
    return Measure(name, is_paired, len(a), len(b), float(a.mean()), float(b.mean()), difference, p)


def _rows(a: Side, b: Side, errors: Tables, zeros: Tables) -> Iterator[Row]:
    settings = errors[0].columns.to_frame(index=False)
    varying = [name for name in VARIANT if name in {"learning_rate", "epochs"} or len(settings[name].unique()) > 1]
    longest_variants = set(longest(zeros)[0].columns)
    runs = _run_ids(a), _run_ids(b)
    for place, (variant, values) in enumerate(zip(errors[0].columns, settings.to_dict("records"), strict=True)):
        own = of_variant(errors, place)
        is_paired = can_pair(own)
        label = ", ".join(_setting(name, values[name]) for name in varying)
        first_zero, reached = None, None
        if variant in longest_variants:
            zero = aligned(of_variant(zeros, place), is_paired=is_paired)
            first_zero = _column(FIRST_ZERO, restricted(zero), is_paired=is_paired)
            reached = int(np.isfinite(zero[0].to_numpy()).sum()), int(np.isfinite(zero[1].to_numpy()).sum())
        yield Row(
            variant={str(name): value for name, value in values.items()},
            label=label,
            errors=_column(ERRORS, aligned(own, is_paired=is_paired), is_paired=is_paired),
            first_zero=first_zero,
            reached=reached,
            images=_images(a, b, runs[0][variant], runs[1][variant]),
        )


def _run_ids(side: Side) -> dict[Any, dict[int, str]]:
    """The run ids of a study, by variant and seed."""
    groups = side.frame.groupby(VARIANT)
    return {variant: dict(zip(group["seed"], group["run_id"], strict=True)) for variant, group in groups}


def _column(name: str, tables: Tables, *, is_paired: bool) -> Measure:
    """A measure of one variant."""
    a, b = arrays(tables)
    return _measure(name, (a[:, 0], b[:, 0]), is_paired=is_paired)


def _setting(name: str, value: object) -> str:
    words = {"learning_rate": "lr", "batch_size": "batch"}
    if name == "epochs":
        return f"{value} epochs"
    return f"{words.get(name, name)} {value:.12g}" if isinstance(value, float) else f"{words.get(name, name)} {value}"


def _images(a: Side, b: Side, first: dict[int, str], second: dict[int, str]) -> ImageDifferences | None:
    """The image differences of one variant, whose run ids are given by seed."""
    if a.wrong is None or b.wrong is None:
        return None
    counts = []
    for seed in sorted(first.keys() & second.keys()):
        ours, theirs = a.wrong[first[seed]], b.wrong[second[seed]]
        counts.append((len(ours - theirs), len(theirs - ours)))
    below = sum(statistics.mcnemar(*count) < 0.05 for count in counts)
    return ImageDifferences(len(counts), sum(only for only, _ in counts), sum(only for _, only in counts), below)


def _verdict(
    overall: tuple[Measure, Measure],
    findings: tuple[Finding, Finding],
    arrays: tuple[tuple[Floats, Floats], ...],
    *,
    is_paired: bool,
) -> tuple[ComparisonVerdict, tuple[str, ...]]:
    n_a, n_b = overall[0].n_a, overall[0].n_b
    if is_paired and all(np.array_equal(a, b, equal_nan=True) for a, b in arrays):
        return ComparisonVerdict.NO_DIFFERENCE, (f"every number is equal for all {plural(n_a, 'seed')}",)
    if _smallest_p(n_a, n_b, is_paired=is_paired) * len(findings) > FAMILY_LEVEL:
        have = plural(n_a, "shared seed") if is_paired else f"{n_a} and {n_b} seeds"
        need = f"{_ENOUGH_PAIRS} shared seeds" if is_paired else "5 on each side"
        return ComparisonVerdict.CANNOT_TELL, (
            f"too few seeds to find any difference: {have}; at least {need} are needed",
        )
    found = [(measure, finding) for measure, finding in zip(overall, findings, strict=True) if finding.is_found]
    if not found:
        return ComparisonVerdict.NO_DIFFERENCE, tuple(_not_found(measure) for measure in overall)
    directions = {finding.b_has_more for _, finding in found}
    verdict = (
        ComparisonVerdict.MIXED
        if len(directions) > 1
        else ComparisonVerdict.WORSE
        if directions == {True}
        else ComparisonVerdict.BETTER
    )
    return verdict, tuple(_found(measure, finding) for measure, finding in found)


def _smallest_p(n_a: int, n_b: int, *, is_paired: bool) -> float:
    """The smallest p-value that a test with these numbers of seeds can have."""
    if is_paired:
        return 2.0 ** (1 - n_a)
    extremes = 2 if n_a == n_b else 1
    return extremes / math.comb(n_a + n_b, n_a)


def _found(measure: Measure, finding: Finding) -> str:
    fewer, more = ("earlier", "later") if measure.name == FIRST_ZERO else ("fewer", "more")
    text = (
        f"{measure.name}: {more if finding.b_has_more else fewer} in B, on average {measure.mean_a:.4g} in A and "
        f"{measure.mean_b:.4g} in B ({_spread(measure)}); p {probability(finding.p)}, for both tests together "
        f"{probability(finding.p_family)}"
    )
    # The test compares ranks. A few very large numbers change a mean, but not the ranks of the others.
    is_otherwise = (measure.difference.value > 0) != finding.b_has_more
    return text + ("; this holds for most runs, but a few runs change the means" if is_otherwise else "")


def _not_found(measure: Measure) -> str:
    return f"{measure.name}: {_spread(measure)}; differences within this interval cannot be excluded"


def _spread(measure: Measure) -> str:
    return f"difference {measure.difference.value:+.3g}, {_interval(measure)}"


def _interval(measure: Measure) -> str:
    found = measure.difference
    return "no interval" if math.isnan(found.low) else f"95% interval {found.low:+.3g} to {found.high:+.3g}"


def probability(p: float) -> str:
    """A p-value with two significant digits."""
    return f"{p:.2g}" if p >= 0.0001 else "below 0.0001"


def _environment(a: Side, b: Side) -> tuple[tuple[str, str, str], ...]:
    names = dict.fromkeys([*a.facts, *b.facts])
    found = [("dataset", a.dataset, b.dataset), ("engine", a.engine, b.engine)]
    return (*found, *((name, fact(a, name), fact(b, name)) for name in names))
