"""Decides whether study B is worse than study A, and puts the verdict into words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from harness.errors import ExitStatus
from harness.reporting.comparison_statistics import FAMILY_LEVEL, FIRST_ZERO, Finding, Measure
from harness.reporting.comparison_tables import ENOUGH_PAIRS, Floats
from harness.text import plural

# A comparison of two equal studies has 80% power if the margin is this factor times the distance from the mean
# difference to its one-sided 95% confidence bound. Power is the probability that the bound excludes harm of the
# margin's size. With the factor 1, the power is 50%. The factor is (1.645 + 0.842) / 1.645, from quantiles of the
# normal distribution.
_POWER = 1.51

# Differences whose absolute value is smaller are rounding errors of sums.
_ROUNDING = 1e-9


class ComparisonVerdict(StrEnum):
    """The verdict of a comparison."""

    EQUAL = "equal"
    NOT_WORSE = "B is not worse"
    BETTER = "B is better"
    WORSE = "B is worse"
    MIXED = "mixed"
    CANNOT_TELL = "cannot tell"

    @property
    def exit_status(self) -> ExitStatus:
        """The exit status of a command with this verdict."""
        if self in {ComparisonVerdict.WORSE, ComparisonVerdict.MIXED}:
            return ExitStatus.NEGATIVE
        return ExitStatus.INCONCLUSIVE if self is ComparisonVerdict.CANNOT_TELL else ExitStatus.OK


_LEADS = {
    ComparisonVerdict.NOT_WORSE: "B is not worse than A",
    ComparisonVerdict.BETTER: "B is better than A",
    ComparisonVerdict.WORSE: "B is worse than A",
    ComparisonVerdict.MIXED: "B is worse than A in one measure and better in the other",
    ComparisonVerdict.CANNOT_TELL: "These seeds do not show whether B is worse than A",
}


@dataclass(frozen=True)
class Margins:
    """The harm that a comparison must exclude. Smaller harm does not matter.

    Attributes:
        share: Delay of B's first zero epoch, as a fraction of A's first zero epoch.
        errors: Number of errors at the last epoch that B has in addition to A's.
    """

    share: float = 0.10
    errors: float = 1.0


@dataclass(frozen=True)
class Judged:
    """A measure over all common variants, with its test and its margin.

    Attributes:
        measure: Comparison of the measure.
        finding: Result of its test.
        margin: Harm that must be excluded, in the unit of the measure.
        reason: Reason for the margin, in words. Empty if the user gave the number itself.
        is_reached: Whether a training of either study reaches zero errors.
    """

    measure: Measure
    finding: Finding
    margin: float
    reason: str
    is_reached: bool

    @property
    def is_excluded(self) -> bool:
        """Whether harm as large as the margin is excluded: enough seeds for a test, and a bound below the margin."""
        return is_enough(self.measure) and self.measure.bound < self.margin


@dataclass(frozen=True)
class Decision:
    """The decision of a comparison.

    Attributes:
        verdict: Verdict.
        answer: Answer in one sentence.
        explanation: Reason for the verdict, in one or two sentences.
    """

    verdict: ComparisonVerdict
    answer: str
    explanation: str


def decide(errors: Judged, zeros: Judged, numbers: tuple[tuple[Floats, Floats], ...]) -> Decision:
    """Decide from the tests and the bounds.

    B is worse if a test finds harm, even if the harm is below its margin. Without such a finding, B is not worse only
    if both measures have a bound below their margin.

    Args:
        errors: Errors at the last epoch.
        zeros: First zero epochs.
        numbers: For each measure, the numbers of A and of B, ``(seeds, variants)`` each.
    """
    both = (errors, zeros)
    is_paired = errors.measure.is_paired
    if is_paired and all(np.array_equal(a, b, equal_nan=True) for a, b in numbers):
        return _equal(errors.measure.n_a)
    if not is_enough(errors.measure):
        return _too_few(errors.measure)
    directions = {judged.finding.b_has_more for judged in both if judged.finding.is_found}
    if len(directions) > 1:
        verdict, explanation = ComparisonVerdict.MIXED, _tested(both)
    elif True in directions:
        verdict, explanation = ComparisonVerdict.WORSE, f"{_tested(both)} {_size_of_harm(both)}".strip()
    elif all(judged.is_excluded for judged in both):
        verdict = ComparisonVerdict.BETTER if directions else ComparisonVerdict.NOT_WORSE
        explanation = f"{_tested(both) if directions else ''} {_excluded(both)}".strip()
    else:
        verdict, explanation = ComparisonVerdict.CANNOT_TELL, _unclear(both)
    changes = f"{_change(zeros)}, and {_change(errors)}"
    return Decision(verdict, f"{_LEADS[verdict]}: on average, {changes}; {_seeds(errors.measure)}.", explanation)


def is_enough(measure: Measure) -> bool:
    """Whether a test with this number of seeds can find a difference."""
    return _smallest_p(measure) * 2 <= FAMILY_LEVEL  # Holm's method: two tests


def _smallest_p(measure: Measure) -> float:
    """The smallest p-value that a test with these numbers of seeds can have."""
    n_a, n_b = measure.n_a, measure.n_b
    if measure.is_paired:
        return 2.0 ** (1 - n_a)
    extremes = 2 if n_a == n_b else 1
    return extremes / math.comb(n_a + n_b, n_a)


def _equal(n: int) -> Decision:
    return Decision(
        ComparisonVerdict.EQUAL,
        f"B equals A: errors at the last epoch and first zero epochs are the same for {_all(n)}.",
        "The same numbers need no test, so the number of seeds does not matter.",
    )


def _all(n: int) -> str:
    return "the one shared seed" if n == 1 else f"all {n} shared seeds"


def _too_few(errors: Measure) -> Decision:
    have = plural(errors.n_a, "shared seed") if errors.is_paired else f"{errors.n_a} seeds in A and {errors.n_b} in B"
    need = f"{ENOUGH_PAIRS} shared seeds" if errors.is_paired else "5 seeds in each study"
    return Decision(
        ComparisonVerdict.CANNOT_TELL,
        f"Too few seeds to tell whether B is worse than A: {have}.",
        f"The tests need at least {need} to find any difference.",
    )


def _seeds(measure: Measure) -> str:
    return plural(measure.n_a, "shared seed") if measure.is_paired else f"{measure.n_a} and {measure.n_b} seeds"


def _change(judged: Judged) -> str:
    """The change of a mean from A to B in words. The text says so if the test found the opposite direction."""
    measure, is_epochs = judged.measure, judged.measure.name == FIRST_ZERO
    value = measure.difference.value if abs(measure.difference.value) > _ROUNDING else 0.0
    if is_epochs and not judged.is_reached:
        return "no training of either study reaches zero errors"
    fewer, more = ("earlier", "later") if is_epochs else ("fewer", "more")
    interval = "no interval" if math.isnan(measure.difference.low) else f"95% interval {_range(measure)}"
    size = _amount(abs(value), is_epochs=is_epochs)
    if is_epochs:
        share = f"{abs(value) / measure.mean_a:.0%}; " if value else ""
        text = f"zero errors come {size} {more if value > 0 else fewer}" if value else "zero errors come equally early"
        text += f" ({share}{interval})"
    elif value:
        number, _, noun = size.partition(" ")
        text = f"there are {number} {more if value > 0 else fewer} {noun} at the last epoch ({interval})"
    else:
        text = f"there are equally many errors at the last epoch ({interval})"
    if judged.finding.is_found and (value > 0) != judged.finding.b_has_more:
        # The test compares ranks. A few very large numbers change a mean, but not the ranks of the others.
        text += f", although most runs of B have {_direction(judged)}"
    return text


def _range(measure: Measure) -> str:
    return f"{signed(measure.difference.low)} to {signed(measure.difference.high)}"


def _amount(value: float, *, is_epochs: bool) -> str:
    noun = "epoch" if is_epochs else "error"
    return f"{value:.3g} {noun}" if f"{value:.3g}" == "1" else f"{value:.3g} {noun}s"


def _direction(judged: Judged) -> str:
    if judged.measure.name == FIRST_ZERO:
        return "later first zero epochs" if judged.finding.b_has_more else "earlier first zero epochs"
    return "more errors" if judged.finding.b_has_more else "fewer errors"


def _tested(both: tuple[Judged, ...]) -> str:
    found = [
        f"{_direction(judged)} in B (p {probability(judged.finding.p_family)})"
        for judged in both
        if judged.finding.is_found
    ]
    tests = "The test over seeds finds" if len(found) == 1 else "The tests over seeds find"
    return f"{tests} {' and '.join(found)}."


def _size_of_harm(both: tuple[Judged, ...]) -> str:
    """The sentence that harm above the margins is excluded. Empty if it is not."""
    return "But harm above the margins is excluded." if all(judged.is_excluded for judged in both) else ""


def _excluded(both: tuple[Judged, ...]) -> str:
    errors, zeros = both
    return (
        f"Harm as large as a margin is excluded with 95% confidence: zero errors come {_at_most(zeros)}, and there "
        f"are {_at_most(errors)}."
    )


def _at_most(judged: Judged) -> str:
    """The bound of a measure and its margin, in words."""
    is_epochs, bound = judged.measure.name == FIRST_ZERO, judged.measure.bound
    fewer, more = ("earlier", "later") if is_epochs else ("fewer", "more")
    if abs(bound) <= _ROUNDING:
        return f"no {'later' if is_epochs else 'more errors'} ({_margin(judged)})"
    number, _, noun = _amount(abs(bound), is_epochs=is_epochs).partition(" ")
    limit, word = ("at most", more) if bound >= 0 else ("at least", fewer)
    size = f"{limit} {number} {noun} {word}" if is_epochs else f"{limit} {number} {word} {noun}"
    return f"{size} ({_margin(judged)})"


def _margin(judged: Judged) -> str:
    return f"margin {judged.margin:.3g}{judged.reason and ': '}{judged.reason}"


def _unclear(both: tuple[Judged, ...]) -> str:
    """The harm that is not excluded, and the number of seeds that would exclude it, in words."""
    errors, zeros = both
    found, needed = [], []
    for judged in (zeros, errors):
        if judged.is_excluded:
            continue
        if not is_enough(judged.measure):
            found.append(f"there are too few seeds for the {judged.measure.name}")
            continue
        if judged.margin <= _ROUNDING:
            found.append("no training of A reaches zero errors, so a delay is not visible")
            continue
        can = "zero errors may come" if judged is zeros else "there may be"
        found.append(f"{can} {_up_to(judged)}")
        needed.append(_seeds_needed(judged))
    tested = f"{_tested(both)} " if any(judged.finding.is_found for judged in both) else ""
    text = f"{tested}Harm is not excluded: {', and '.join(found)}"
    if len(needed) < len(found):
        return f"{text}."
    if max(needed) <= max(errors.measure.n_a, errors.measure.n_b):
        return f"{text}; more seeds can decide."
    return f"{text}; if the studies are equal, about {max(needed)} seeds in each would exclude it."


def _up_to(judged: Judged) -> str:
    is_epochs, bound = judged.measure.name == FIRST_ZERO, judged.measure.bound
    number, _, noun = _amount(bound, is_epochs=is_epochs).partition(" ")
    return f"up to {number} {noun + ' later' if is_epochs else 'more ' + noun} ({_margin(judged)})"


def _seeds_needed(judged: Judged) -> int:
    """The number of seeds per study with which a comparison of two equal studies has 80% power.

    Power is the probability that the comparison excludes harm of the margin's size. The number is rounded up to two
    significant digits. The spread between seeds is taken from this comparison.
    """
    measure = judged.measure
    n = max(measure.n_a, measure.n_b) * ((measure.bound - measure.difference.value) * _POWER / judged.margin) ** 2
    digit = int(10 ** max(0, math.floor(math.log10(max(n, 1))) - 1))
    return max(math.ceil(n / digit) * digit, ENOUGH_PAIRS)


def signed(value: float) -> str:
    """A difference with its sign and three significant digits. Zero, up to rounding errors of sums, has no sign."""
    return f"{value:+.3g}" if abs(value) > _ROUNDING else "0"


def probability(p: float) -> str:
    """A p-value with two significant digits."""
    return f"{p:.2g}" if p >= 0.0001 else "below 0.0001"
