"""The verdict of a check, and the overall verdict of a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.errors import ExitStatus


class Verdict(StrEnum):
    """The result of a check or of the whole gate."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    CHANGED = "CHANGED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT RUN"
    FAIL = "FAIL"


STATUSES = {
    Verdict.PASS: ExitStatus.OK,
    Verdict.FAIL: ExitStatus.NEGATIVE,
    Verdict.INCONCLUSIVE: ExitStatus.INCONCLUSIVE,
    Verdict.NOT_RUN: ExitStatus.GATE_NOT_RUN,
}


# The names of a gate's figures; see :mod:`harness.reporting.gate_page`.
SURVIVAL, ERRORS, TRACE = "survival", "errors", "trace"


@dataclass(frozen=True)
class Effect:
    """A measured effect with its 95% interval. The page of the gate draws it beside its limit.

    Attributes:
        name: Name of the effect, with its unit.
        value: Estimate.
        low: Lower limit of the interval.
        high: Upper limit of the interval. Infinite if the interval has no upper limit.
        reference: Value of the reference.
        limit: Smallest value for which the check cannot pass. None if there is no such value.
        is_share: Whether the values are fractions, which are shown as percentages.
    """

    name: str
    value: float
    low: float
    high: float
    reference: float
    limit: float | None
    is_share: bool


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: Name of the check.
        verdict: Verdict. CHANGED means significantly better than the reference.
        expected: Expected result.
        seen: Observed result.
        sure: Evidence for the observed result, such as a p-value.
        look: Where to look for the cause if the verdict is not PASS.
        answer: Result as one sentence without a period. If empty, the name and ``seen`` are used.
        effect: Effect that the check measures; None if it measures none.
        figure: Name of the figure that shows the check. Empty if there is none.
        duration_s: Duration, in seconds.
        details: Numbers of the check as plain values, for ``gate.json``.
    """

    name: str
    verdict: Verdict
    expected: str
    seen: str
    sure: str = ""
    look: str = ""
    answer: str = ""
    effect: Effect | None = None
    figure: str = ""
    duration_s: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether the verdict is PASS or CHANGED."""
        return self.verdict in {Verdict.PASS, Verdict.CHANGED}

    @property
    def texts(self) -> dict[str, str]:
        """The texts ``expected``, ``seen``, ``sure`` and ``look`` that are not empty, by these names."""
        texts = {"expected": self.expected, "seen": self.seen, "sure": self.sure, "look": self.look}
        return {name: text for name, text in texts.items() if text}

    @property
    def said(self) -> str:
        """The result of the check in words."""
        return self.answer or f"{self.name}: {self.seen}"


def overall(checks: Sequence[Check], *, strict: bool = False) -> Verdict:
    """Return the overall verdict of a gate: the worst verdict of its checks.

    From the worst to the best, the verdicts are FAIL, NOT RUN, INCONCLUSIVE, PASS. A gate without checks is NOT RUN.

    Args:
        checks: All checks of the gate.
        strict: Whether CHANGED counts as FAIL. Otherwise it counts as PASS.
    """
    found = {check.verdict for check in checks}
    if Verdict.FAIL in found or (strict and Verdict.CHANGED in found):
        return Verdict.FAIL
    if not found or Verdict.NOT_RUN in found:
        return Verdict.NOT_RUN
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in found else Verdict.PASS
