"""The verdict of one check, and the verdict of all checks together."""

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
    Verdict.INCONCLUSIVE: ExitStatus.GATE_INCONCLUSIVE,
    Verdict.NOT_RUN: ExitStatus.GATE_NOT_RUN,
}


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: Name of the check.
        verdict: Verdict. CHANGED means significantly better than the reference.
        expected: Expected result.
        seen: Observed result.
        sure: Certainty of the observed result.
        look: Where to look for the cause if the verdict is not PASS.
        duration_s: Duration, in seconds.
        details: Figures of the check, as plain values.
    """

    name: str
    verdict: Verdict
    expected: str
    seen: str
    sure: str = ""
    look: str = ""
    duration_s: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = {"expected": self.expected, "seen": self.seen, "sure": self.sure}
        if self.verdict is not Verdict.PASS:
            lines["look"] = self.look
        shown = [f"{'':14}{name:<10}{text}" for name, text in lines.items() if text]
        return "\n".join([f"{self.verdict:<14}{self.name}", *shown])


def overall(checks: Sequence[Check], *, strict: bool = False) -> Verdict:
    """The verdict of all checks together, which is the worst of their verdicts. Without checks it is NOT RUN.

    Args:
        checks: All checks of the gate.
        strict: Whether CHANGED fails the gate. Without it CHANGED counts as PASS.
    """
    found = {check.verdict for check in checks}
    if Verdict.FAIL in found or (strict and Verdict.CHANGED in found):
        return Verdict.FAIL
    if not found or Verdict.NOT_RUN in found:
        return Verdict.NOT_RUN
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in found else Verdict.PASS
