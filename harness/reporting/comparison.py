"""Two studies compared: what differs between the runs that both have, and whether the second is worse.

The verdict comes from two tests over seeds, one for the errors at the last epoch and one for the first zero epoch,
each over all variants that both studies have, at a level for both together. Everything else describes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import statistics
from harness.errors import ExitStatus, UsageError
from harness.reporting.captions import plural
from harness.reporting.comparison_inputs import CONFIGURATION, VARIANT, Side, fact
from harness.reporting.templating import render
from harness.statistics import Estimate

ERRORS, FIRST_ZERO = "errors at the last epoch", "first zero epoch"

# The chance that two studies of the same are told apart: of both tests together, corrected by Holm's rule.
FAMILY_LEVEL = 0.02
# From so many shared seeds on, pairs alone are looked at: fewer cannot be told apart at that level.
_ENOUGH_PAIRS = 8

Floats = NDArray[np.float64]
Tables = tuple[pd.DataFrame, pd.DataFrame]  # A's and B's numbers, seeds by variants


class Verdict(StrEnum):
    """What a comparison comes to."""

    NO_DIFFERENCE = "no difference"
    WORSE = "B is worse"
    BETTER = "B is better"
    MIXED = "mixed"
    CANNOT_TELL = "cannot tell"

    @property
    def exit_status(self) -> ExitStatus:
        """Whether B is worse, as a command ends with it; where nothing can be said, the input was not enough."""
        if self is Verdict.CANNOT_TELL:
            return ExitStatus.USAGE
        return ExitStatus.NEGATIVE if self in {Verdict.WORSE, Verdict.MIXED} else ExitStatus.OK


@dataclass(frozen=True)
class Finding:
    """What a test over seeds found: its p, the p with which the family would find it, and whether B has more."""

    p: float
    p_family: float
    b_has_more: bool

    @property
    def is_found(self) -> bool:
        """Whether it is found at the family's level."""
        return self.p_family <= FAMILY_LEVEL


@dataclass(frozen=True)
class Measure:
    """One of the two numbers of a comparison, over all variants that both have or over one.

    Attributes:
        name: of the number.
        is_paired: whether it compares pairs of one seed.
        n_a: seeds of A; where paired, of both.
        n_b: seeds of B.
        mean_a: mean of A's seeds, over the runs compared.
        mean_b: mean of B's.
        difference: of the means, B less A, with its 95% interval.
        p: of the test over seeds.
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
class Images:
    """Which images are wrong in one alone, over runs of one variant and seed; description, no verdict.

    Attributes:
        n: pairs of runs.
        only_a: images wrong in A alone, added up over the pairs.
        only_b: images wrong in B alone.
        below_5: pairs whose McNemar p is below 5%.
    """

    n: int
    only_a: int
    only_b: int
    below_5: int


@dataclass(frozen=True)
class Row:
    """One variant that both studies have.

    Attributes:
        variant: its settings but the seed.
        label: what of them varies, in words.
        errors: at the last epoch.
        first_zero: the first zero epoch with misses as the last epoch; None where a longer variant has it too.
        reached: how many of A's and of B's trainings have a first zero epoch, likewise.
        images: None where the records do not tell.
    """

    variant: dict[str, Any]
    label: str
    errors: Measure
    first_zero: Measure | None
    reached: tuple[int, int] | None
    images: Images | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two studies compared; see the module.

    Attributes:
        a: the first.
        b: the second.
        verdict: what it comes to.
        reasons: why, a sentence each.
        errors: over all variants that both have.
        first_zero: likewise, of the longest of each training.
        findings: of the tests of these two, in this order.
        rows: one a variant.
        environment: what the two were made with: name, A's, B's.
    """

    a: Side
    b: Side
    verdict: Verdict
    reasons: tuple[str, ...]
    errors: Measure
    first_zero: Measure
    findings: tuple[Finding, Finding]
    rows: tuple[Row, ...]
    environment: tuple[tuple[str, str, str], ...]

    @property
    def n_variants(self) -> tuple[int, int]:
        """How many variants A and B have, in common or not."""
        first, second = (len(side.frame[VARIANT].drop_duplicates()) for side in (self.a, self.b))
        return first, second

    @property
    def shared_seeds(self) -> int:
        """How many seeds are in both."""
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
            "variants": [asdict(row) for row in self.rows],
            "environment": [{"name": name, "a": a, "b": b} for name, a, b in self.environment],
        }


def _side_json(side: Side) -> dict[str, Any]:
    return {"name": side.name, "runs": len(side.frame), "left_out": side.left_out}


def compare(a: Side, b: Side) -> Comparison:
    """Compare two studies.

    Raises:
        UsageError: they are of different images, or have no variant in common.
    """
    if a.dataset != b.dataset:
        cause = f"{a.name} is of {a.dataset} and {b.name} of {b.dataset}: different images are never compared"
        raise UsageError(cause, "Run both on the same images: --data says which.")
    errors, zeros = _common(a, b, "final_errors"), _common(a, b, "first_zero_epoch")
    is_paired = _can_pair(errors)
    arrays = _arrays(_aligned(errors, is_paired=is_paired)), _arrays(_longest(_aligned(zeros, is_paired=is_paired)))
    findings = judge(*arrays, is_paired=is_paired)
    counted = arrays[0], _arrays(_restricted(_longest(_aligned(zeros, is_paired=is_paired))))
    errors_over_all, zeros_over_all = (
        _measure(name, _level_seed_means(*pair), is_paired=is_paired, p=finding.p)
        for name, pair, finding in zip((ERRORS, FIRST_ZERO), counted, findings, strict=True)
    )
    overall = errors_over_all, zeros_over_all
    verdict, reasons = _verdict(overall, findings, arrays, is_paired=is_paired)
    return Comparison(a, b, verdict, reasons, *overall, findings, tuple(_rows(a, b, errors, zeros)), _environment(a, b))


def judge(errors: tuple[Floats, Floats], zeros: tuple[Floats, Floats], *, is_paired: bool) -> tuple[Finding, Finding]:
    """Test errors and first zero epochs of two studies over seeds, each pooled over all variants.

    In each variant a run scores the share of the other runs of both studies that have less, minus the share that
    have more; a seed's score is the mean over its variants. So no variant outweighs the others because its numbers
    are large, trainings that never reach zero are simply last, and runs that share a training or a seed are one
    observation. Scores are compared by a sign-flip or permutation test over seeds, both tests by Holm's rule.

    Args:
        errors: A's and B's, ``(seeds, variants)``, NaN where a seed lacks a variant.
        zeros: first zero epochs likewise, infinite where there is none.
        is_paired: whether the rows of both are the same seeds.

    Source of the pooling: P. C. O'Brien, "Procedures for comparing samples with multiple endpoints", Biometrics 40
    (1984); of counting misses as last: E. A. Gehan, "A generalized Wilcoxon test for comparing arbitrarily
    singly-censored samples", Biometrika 52 (1965).
    """
    found = []
    for first, second in (errors, zeros):
        scores = _scores(np.concatenate([first, second]))
        a, b = _seed_means(scores[: len(first)]), _seed_means(scores[len(first) :])
        p = statistics.paired_test(a, b) if is_paired else statistics.unpaired_test(a, b)
        found.append((p, bool(b.mean() > a.mean())))
    family = statistics.holm([p for p, _ in found])
    first_found, second_found = (
        Finding(p, of_family, more) for (p, more), of_family in zip(found, family, strict=True)
    )
    return first_found, second_found


def _scores(values: Floats) -> Floats:
    """In each column the share of the others that are less, minus the share that are more; NaN stays."""
    scores = np.full(values.shape, np.nan)
    for column, result in zip(values.T, scores.T, strict=True):
        is_there = ~np.isnan(column)
        ordered = np.sort(column[is_there])
        less, not_more = (np.searchsorted(ordered, column[is_there], side) for side in ("left", "right"))
        result[is_there] = (less - (len(ordered) - not_more)) / len(ordered)
    return scores


def _seed_means(values: Floats) -> Floats:
    """Each row's mean over what it has."""
    is_there = ~np.isnan(values)
    return np.asarray(np.where(is_there, values, 0).sum(axis=1) / is_there.sum(axis=1), np.float64)


def _level_seed_means(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The means of both sides' seeds over their variants, as if every seed had them all.

    Else a seed that lacks a variant with many errors would seem better for it.
    """
    of_variants = np.nanmean(np.concatenate([a, b]), axis=0)
    level = of_variants.mean()
    return _seed_means(a - of_variants) + level, _seed_means(b - of_variants) + level


def _common(a: Side, b: Side, number: str) -> Tables:
    """A number of both studies by seed and variant, of the variants that both have; a missing run is NaN.

    Raises:
        UsageError: there is no such variant.
    """
    first, second = (
        # Of a finished run nothing but a first zero epoch can be missing.
        side.frame.assign(value=side.frame[number].fillna(math.inf)).set_index(["seed", *VARIANT])["value"]
        for side in (a, b)
    )
    tables = first.unstack(VARIANT), second.unstack(VARIANT)  # noqa: PD010 - pivot_table would average
    both = tables[0].columns.intersection(tables[1].columns).sort_values()
    if both.empty:
        cause = f"{a.name} and {b.name} have no variant in common: {_apart(a, b)}"
        raise UsageError(cause, "Compare studies whose runs differ in nothing but their seeds.")
    return tables[0][both].dropna(how="all"), tables[1][both].dropna(how="all")


def _apart(a: Side, b: Side) -> str:
    """Which settings keep two studies apart, in words."""
    found = []
    for name in VARIANT:
        ours, theirs = set(a.frame[name]), set(b.frame[name])
        if not ours & theirs:
            found.append(f"{name} is {_listed(ours)} in A and {_listed(theirs)} in B")
    return "; ".join(found) or "they combine their settings in other ways"


def _listed(values: Iterable[Any]) -> str:
    known = [f"{value:.12g}" if isinstance(value, float) else str(value) for value in sorted(values)]
    return ", ".join([*known[:4], *(["..."] if len(known) > 4 else [])])


def _can_pair(tables: Tables) -> bool:
    """Whether to compare pairs of one seed: where enough seeds have a variant in both, or neither side has others."""
    pairs = len(_aligned(tables, is_paired=True)[0])
    return pairs >= _ENOUGH_PAIRS or pairs == len(tables[0]) == len(tables[1])


def _aligned(tables: Tables, *, is_paired: bool) -> Tables:
    """Where paired, the same seeds in the rows of both, and values only where both have one."""
    first, second = tables
    if not is_paired:
        return tables
    seeds = first.index.intersection(second.index)
    first, second = first.loc[seeds], second.loc[seeds]
    is_both = first.notna() & second.notna()
    rows, columns = is_both.any(axis=1), is_both.any(axis=0)
    return first.where(is_both).loc[rows, columns], second.where(is_both).loc[rows, columns]


def _longest(tables: Tables) -> Tables:
    """Of variants that are read off one training the longest: all that is known of its first zero epoch."""
    columns = tables[0].columns.to_frame(index=False).sort_values("epochs")
    kept = columns.drop_duplicates(CONFIGURATION, keep="last").sort_index().index
    first, second = (table.iloc[:, kept].dropna(how="all") for table in tables)
    return first, second


def _restricted(zeros: Tables) -> Tables:
    """First zero epochs with misses as the last epoch."""
    first, second = (table.clip(upper=table.columns.get_level_values("epochs"), axis=1) for table in zeros)
    return first, second


def _arrays(tables: Tables) -> tuple[Floats, Floats]:
    first, second = (table.to_numpy(np.float64) for table in tables)
    return first, second


def _measure(name: str, seeds: tuple[Floats, Floats], *, is_paired: bool, p: float | None = None) -> Measure:
    """A number of A's and B's seeds compared; by its own test, where no other p is given."""
    a, b = seeds
    if p is None:
        p = statistics.paired_test(a, b) if is_paired else statistics.unpaired_test(a, b)
    difference = statistics.paired_difference(a, b) if is_paired else statistics.unpaired_difference(a, b)
    return Measure(name, is_paired, len(a), len(b), float(a.mean()), float(b.mean()), difference, p)


def _rows(a: Side, b: Side, errors: Tables, zeros: Tables) -> Iterator[Row]:
    settings = errors[0].columns.to_frame(index=False)
    varying = [name for name in VARIANT if name in {"learning_rate", "epochs"} or len(settings[name].unique()) > 1]
    longest = set(_longest(zeros)[0].columns)
    runs = _run_ids(a), _run_ids(b)
    for place, (variant, values) in enumerate(zip(errors[0].columns, settings.to_dict("records"), strict=True)):
        own = _of_variant(errors, place)
        is_paired = _can_pair(own)
        label = ", ".join(_setting(name, values[name]) for name in varying)
        first_zero, reached = None, None
        if variant in longest:
            zero = _aligned(_of_variant(zeros, place), is_paired=is_paired)
            first_zero = _column(FIRST_ZERO, _restricted(zero), is_paired=is_paired)
            reached = int(np.isfinite(zero[0].to_numpy()).sum()), int(np.isfinite(zero[1].to_numpy()).sum())
        yield Row(
            variant={str(name): value for name, value in values.items()},
            label=label,
            errors=_column(ERRORS, _aligned(own, is_paired=is_paired), is_paired=is_paired),
            first_zero=first_zero,
            reached=reached,
            images=_images(a, b, runs[0][variant], runs[1][variant]),
        )


def _run_ids(side: Side) -> dict[Any, dict[int, str]]:
    """By variant and seed the runs of a study."""
    groups = side.frame.groupby(VARIANT)
    return {variant: dict(zip(group["seed"], group["run_id"], strict=True)) for variant, group in groups}


def _of_variant(tables: Tables, place: int) -> Tables:
    return tables[0].iloc[:, [place]].dropna(), tables[1].iloc[:, [place]].dropna()


def _column(name: str, tables: Tables, *, is_paired: bool) -> Measure:
    """A number of one variant."""
    a, b = _arrays(tables)
    return _measure(name, (a[:, 0], b[:, 0]), is_paired=is_paired)


def _setting(name: str, value: object) -> str:
    words = {"learning_rate": "lr", "batch_size": "batch"}
    if name == "epochs":
        return f"{value} epochs"
    return f"{words.get(name, name)} {value:.12g}" if isinstance(value, float) else f"{words.get(name, name)} {value}"


def _images(a: Side, b: Side, first: dict[int, str], second: dict[int, str]) -> Images | None:
    """Of one variant, whose runs are given by their seeds."""
    if a.wrong is None or b.wrong is None:
        return None
    counts = []
    for seed in sorted(first.keys() & second.keys()):
        ours, theirs = a.wrong[first[seed]], b.wrong[second[seed]]
        counts.append((len(ours - theirs), len(theirs - ours)))
    below = sum(statistics.mcnemar(*count) < 0.05 for count in counts)
    return Images(len(counts), sum(only for only, _ in counts), sum(only for _, only in counts), below)


def _verdict(
    overall: tuple[Measure, Measure],
    findings: tuple[Finding, Finding],
    arrays: tuple[tuple[Floats, Floats], ...],
    *,
    is_paired: bool,
) -> tuple[Verdict, tuple[str, ...]]:
    n_a, n_b = overall[0].n_a, overall[0].n_b
    if is_paired and all(np.array_equal(a, b, equal_nan=True) for a, b in arrays):
        return Verdict.NO_DIFFERENCE, (f"every number is the same, for all of {plural(n_a, 'seed')}",)
    if _smallest_p(n_a, n_b, is_paired=is_paired) * len(findings) > FAMILY_LEVEL:
        have = plural(n_a, "shared seed") if is_paired else f"{n_a} and {n_b} seeds"
        need = f"{_ENOUGH_PAIRS} shared ones" if is_paired else "5 on each side"
        return Verdict.CANNOT_TELL, (f"too few for any difference to be found: {have}; it takes {need}",)
    found = [(measure, finding) for measure, finding in zip(overall, findings, strict=True) if finding.is_found]
    if not found:
        return Verdict.NO_DIFFERENCE, tuple(_not_found(measure) for measure in overall)
    directions = {finding.b_has_more for _, finding in found}
    verdict = Verdict.MIXED if len(directions) > 1 else Verdict.WORSE if directions == {True} else Verdict.BETTER
    return verdict, tuple(_found(measure, finding) for measure, finding in found)


def _smallest_p(n_a: int, n_b: int, *, is_paired: bool) -> float:
    """The least that a test of so many seeds can come to."""
    if is_paired:
        return 2.0 ** (1 - n_a)
    extremes = 2 if n_a == n_b else 1
    return extremes / math.comb(n_a + n_b, n_a)


def _found(measure: Measure, finding: Finding) -> str:
    fewer, more = ("earlier", "later") if measure.name == FIRST_ZERO else ("fewer", "more")
    text = (
        f"{measure.name}: {more if finding.b_has_more else fewer} in B, on average {measure.mean_a:.4g} in A and "
        f"{measure.mean_b:.4g} in B ({_spread(measure)}); p {_probability(finding.p)}, for both tests together "
        f"{_probability(finding.p_family)}"
    )
    # Places are compared, and a few very large numbers move a mean and not the places of the others.
    is_otherwise = (measure.difference.value > 0) != finding.b_has_more
    return text + ("; most runs say so, the means are moved by a few" if is_otherwise else "")


def _not_found(measure: Measure) -> str:
    return f"{measure.name}: {_spread(measure)}; a difference within that interval is not ruled out"


def _spread(measure: Measure) -> str:
    return f"difference {measure.difference.value:+.3g}, {_interval(measure)}"


def _interval(measure: Measure) -> str:
    found = measure.difference
    return "no interval" if math.isnan(found.low) else f"95% interval {found.low:+.3g} to {found.high:+.3g}"


def _probability(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0001 else "below 0.0001"


def _environment(a: Side, b: Side) -> tuple[tuple[str, str, str], ...]:
    names = dict.fromkeys([*a.facts, *b.facts])
    found = [("dataset", a.dataset, b.dataset), ("engine", a.engine, b.engine)]
    return (*found, *((name, fact(a, name), fact(b, name)) for name in names))


def markdown(comparison: Comparison) -> str:
    """The comparison to be read: verdict first, then the numbers, then what the two were made with."""
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
            "overall": _table(head, [[measure.name, *_cells(measure)] for measure in overall]),
            "by_variant": _table(head, [[row.label, *_cells(row.errors)] for row in rows]),
            "by_training": _table(
                [*head, "reached in A", "in B"],
                [[row.label, *_cells(zero), str(reached[0]), str(reached[1])] for row, zero, reached in trainings],
            ),
            "images": _images_table(rows),
            "environment": _table(["", "A", "B"], environment, n_left=3),
        },
    )


def _cells(measure: Measure) -> list[str]:
    seeds = plural(measure.n_a, "pair") if measure.is_paired else f"{measure.n_a} and {measure.n_b}"
    found = measure.difference
    bounds = "-" if math.isnan(found.low) else f"{found.low:+.3g} to {found.high:+.3g}"
    means = [f"{measure.mean_a:.4g}", f"{measure.mean_b:.4g}"]
    return [seeds, *means, f"{found.value:+.3g}", bounds, _probability(measure.p)]


def _images_table(rows: Iterable[Row]) -> str:
    """The images of pairs of runs; nothing where none are known."""
    head = ["", "pairs of runs", "wrong in A alone", "wrong in B alone", "pairs with McNemar's p below 5%"]
    found = [(row.label, row.images) for row in rows if row.images is not None and row.images.n]
    lines = [[label, *(str(count) for count in (i.n, i.only_a, i.only_b, i.below_5))] for label, i in found]
    return _table(head, lines) if lines else ""


def _table(head: list[str], lines: list[list[str]], n_left: int = 1) -> str:
    """A table in Markdown whose columns are aligned as text too."""
    widths = [max(2, *map(len, column)) for column in zip(head, *lines, strict=True)]

    def line(cells: list[str]) -> str:
        padded = (
            cell.ljust(width) if place < n_left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * width if place < n_left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, lines)])
