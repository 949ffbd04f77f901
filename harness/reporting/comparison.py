"""Compares two studies, and decides whether the second is worse.

Two measures decide: the errors at the last epoch, and the first zero epoch. Each measure has one test and one
confidence bound, which are computed over seeds and cover all variants that both studies have. All other numbers of a
comparison are descriptive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness import statistics
from harness.errors import UsageError
from harness.reporting.comparison_across import Across, matched
from harness.reporting.comparison_inputs import VARIANT, Side, fact
from harness.reporting.comparison_statistics import (
    ERRORS,
    FAMILY_LEVEL,
    FIRST_ZERO,
    HELD_OUT,
    Measure,
    judge,
    level_seed_means,
    measure,
)
from harness.reporting.comparison_tables import (
    ENOUGH_PAIRS,
    Tables,
    aligned,
    arrays,
    can_pair,
    common,
    longest,
    of_variant,
    restricted,
    slowed,
)
from harness.reporting.comparison_verdict import ComparisonVerdict, Decision, Judged, Margins, decide
from harness.text import plural


@dataclass(frozen=True)
class ImageDifferences:
    """The images that are wrong in only one of two runs with the same variant and seed.

    The verdict does not depend on them.

    Attributes:
        n: Number of pairs of runs.
        only_a: Number of images that are wrong only in A, summed over the pairs.
        only_b: Number of images that are wrong only in B, summed over the pairs.
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
        variant: Settings of the variant, except its seed and the settings in which the studies differ on purpose.
        label: Settings that differ between the variants, in words.
        errors: Errors at the last epoch.
        first_zero: First zero epoch. A training that never reached zero counts with its last epoch. None if the same
            trainings have a variant with more epochs: it has the first zero epoch.
        reached: Number of trainings of A and of B that reached zero; None if `first_zero` is None.
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
        b: Second study, with A's values of the settings in `across`, so that its variants equal A's.
        across: Settings in which the studies differ on purpose.
        decision: Verdict, answer and explanation.
        notes: What else a reader must know, one sentence each.
        errors: Errors over all common variants.
        first_zero: First zero epochs, each from the common variant of the training that has the most epochs.
        held_out: Held-out errors over the common variants whose runs have them; None if there are none. The verdict
            does not depend on them.
        rows: Common variants.
        environment: Name, value in A and value in B of each part of the environment.
    """

    a: Side
    b: Side
    across: tuple[Across, ...]
    decision: Decision
    notes: tuple[str, ...]
    errors: Judged
    first_zero: Judged
    held_out: Measure | None
    rows: tuple[Row, ...]
    environment: tuple[tuple[str, str, str], ...]

    @property
    def verdict(self) -> ComparisonVerdict:
        """The verdict."""
        return self.decision.verdict

    @property
    def n_variants(self) -> tuple[int, int]:
        """The number of variants of A and of B."""
        first, second = (len(side.frame[VARIANT].drop_duplicates()) for side in (self.a, self.b))
        return first, second

    def as_json(self) -> dict[str, Any]:
        """The comparison in plain values for JSON."""
        return {
            **{side: _side_json(each) for side, each in (("a", self.a), ("b", self.b))},
            "across": [asdict(one) for one in self.across],
            "verdict": str(self.verdict),
            "answer": self.decision.answer,
            "reasons": [self.decision.explanation, *self.notes],
            "family_level": FAMILY_LEVEL,
            "measures": [_judged_json(judged) for judged in (self.errors, self.first_zero)],
            "held_out_errors": None if self.held_out is None else asdict(self.held_out),
            "variants": [asdict(row) for row in self.rows],
            "environment": [{"name": name, "a": a, "b": b} for name, a, b in self.environment],
        }


def _side_json(side: Side) -> dict[str, Any]:
    return {"name": side.name, "runs": len(side.frame), "seeds": side.n_seeds, "left_out": side.left_out}


def _judged_json(judged: Judged) -> dict[str, Any]:
    return {**asdict(judged.measure), "p_family": judged.finding.p_family, "margin": judged.margin}


def compare(a: Side, b: Side, margins: Margins = Margins(), across: Sequence[str] = ()) -> Comparison:  # noqa: B008
    """Compare two studies.

    Args:
        a: First study.
        b: Second study.
        margins: Harm that must be excluded for the verdict that B is not worse.
        across: Settings in which the studies differ on purpose.

    Raises:
        UsageError: The studies have different images, or no variant in common. Or a setting in ``across`` does not
            differ, or has several values in a study.
    """
    if a.dataset != b.dataset:
        cause = f"{a.name} has the images {a.dataset}, and {b.name} has {b.dataset}: different images are not compared"
        raise UsageError(cause, "Run both on the same images (--data).")
    b, differing = matched(a, b, across)
    errors, zeros = common(a, b, "final_errors", across), common(a, b, "first_zero_epoch", across)
    is_paired = can_pair(errors)
    errors_counted, zeros_counted = aligned(errors, is_paired=is_paired), longest(aligned(zeros, is_paired=is_paired))
    numbers = arrays(errors_counted), arrays(zeros_counted)
    findings = judge(*numbers, is_paired=is_paired)
    counted = numbers[0], arrays(restricted(zeros_counted))
    measures = (
        measure(name, level_seed_means(*pair), is_paired=is_paired, p=finding.p)
        for name, pair, finding in zip((ERRORS, FIRST_ZERO), counted, findings, strict=True)
    )
    is_reached = any(bool(np.isfinite(side).any()) for side in numbers[1])
    limits = (margins.errors, ""), _epochs_margin(zeros_counted, margins.share)
    judged_errors, judged_zeros = (
        Judged(each, finding, *limit, is_reached)
        for each, finding, limit in zip(measures, findings, limits, strict=True)
    )
    return Comparison(
        a=a,
        b=b,
        across=differing,
        decision=decide(judged_errors, judged_zeros, numbers),
        notes=_partly_shared(errors, is_paired=is_paired),
        errors=judged_errors,
        first_zero=judged_zeros,
        held_out=_held_out(a, b),
        rows=tuple(_rows(a, b, errors, zeros, across)),
        environment=_environment(a, b),
    )


def _epochs_margin(zeros: Tables, share: float) -> tuple[float, str]:
    """The margin of the first zero epochs, in epochs, and the margin in words.

    It is the mean delay if A's trainings reached zero later by the fraction ``share``, but not after their last epoch.
    """
    now, later = level_seed_means(*arrays((slowed(zeros[0], 0.0), slowed(zeros[0], share))))
    delay, whole = float((later - now).mean()), share * float(now.mean())
    percent = f"{100 * share:.3g}%"
    is_whole = delay > whole * (1 - 1e-9)
    return (
        delay,
        f"{percent} of A's first zero epoch" if is_whole else f"a slowdown of {percent}, within the trained epochs",
    )


def _held_out(a: Side, b: Side) -> Measure | None:
    """Compare the held-out errors of the runs that have them."""
    try:
        tables = common(a.with_held_out(), b.with_held_out(), "held_out_errors")
    except UsageError:  # no variant in common
        return None
    is_paired = can_pair(tables)
    return measure(HELD_OUT, level_seed_means(*arrays(aligned(tables, is_paired=is_paired))), is_paired=is_paired)


def _partly_shared(tables: Tables, *, is_paired: bool) -> tuple[str, ...]:
    """The note on how two studies are compared that share only some of their seeds. Otherwise empty."""
    first, second = tables
    shared, n_a, n_b = len(aligned(tables, is_paired=True)[0]), len(first), len(second)
    if not shared or shared == n_a == n_b:
        return ()
    have = f"{shared} of {plural(n_a, 'seed')} in A and of {n_b} in B are in both studies"
    if is_paired:
        return (f"{have}. Only these are compared, in pairs.",)
    advice = f"Run at least {ENOUGH_PAIRS} shared seeds to compare pairs of runs, which finds smaller differences."
    return (f"{have}. The studies are compared as independent groups. {advice}",)


def _rows(a: Side, b: Side, errors: Tables, zeros: Tables, across: Sequence[str]) -> Iterator[Row]:
    settings = errors[0].columns.to_frame(index=False).drop(columns=list(across))
    varying = [
        str(name) for name in settings if name in {"learning_rate", "epochs"} or len(settings[name].unique()) > 1
    ]
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
    """The run ids of a study. For each variant, a mapping from seed to run id."""
    groups = side.frame.groupby(VARIANT)
    return {variant: dict(zip(group["seed"], group["run_id"], strict=True)) for variant, group in groups}


def _column(name: str, tables: Tables, *, is_paired: bool) -> Measure:
    """The comparison of a measure for one variant."""
    a, b = arrays(tables)
    return measure(name, (a[:, 0], b[:, 0]), is_paired=is_paired)


def _setting(name: str, value: object) -> str:
    words = {"learning_rate": "lr", "batch_size": "batch"}
    if name == "epochs":
        return f"{value} epochs"
    return f"{words.get(name, name)} {value:.12g}" if isinstance(value, float) else f"{words.get(name, name)} {value}"


def _images(a: Side, b: Side, first: dict[int, str], second: dict[int, str]) -> ImageDifferences | None:
    """The images that only one of the two studies misclassifies, for one variant.

    None if a study did not record which images were wrong.

    Args:
        a: First study.
        b: Second study.
        first: Run ids of the variant in the first study: a mapping from seed to run id.
        second: Run ids of the variant in the second study: a mapping from seed to run id.
    """
    if a.wrong is None or b.wrong is None:
        return None
    counts = []
    for seed in sorted(first.keys() & second.keys()):
        ours, theirs = a.wrong[first[seed]], b.wrong[second[seed]]
        counts.append((len(ours - theirs), len(theirs - ours)))
    below = sum(statistics.mcnemar(*count) < 0.05 for count in counts)
    return ImageDifferences(len(counts), sum(only for only, _ in counts), sum(only for _, only in counts), below)


def _environment(a: Side, b: Side) -> tuple[tuple[str, str, str], ...]:
    names = dict.fromkeys([*a.facts, *b.facts])
    found = [("dataset", a.dataset, b.dataset), ("engine", a.engine, b.engine)]
    return (*found, *((name, fact(a, name), fact(b, name)) for name in names))
