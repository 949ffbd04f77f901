"""The verdict of one check, and the verdict of all checks together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.errors import ExitStatus


class Verdict(StrEnum):
    """What a check, or the whole gate, comes to."""

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
    """One check.

    Attributes:
        name: which.
        verdict: what it found; CHANGED is better than the reference beyond chance.
        expected: what was expected.
        seen: what was seen.
        sure: how sure that is.
        look: where to look when it is not PASS.
        duration_s: how long it took.
        details: its figures, in plain values.
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
    """What checks come to together: the worst of them. A gate that checked nothing was not run.

    Args:
        checks: all of them.
        strict: whether training that became better fails.
    """
    found = {check.verdict for check in checks}
    if Verdict.FAIL in found or (strict and Verdict.CHANGED in found):
        return Verdict.FAIL
    if not found or Verdict.NOT_RUN in found:
        return Verdict.NOT_RUN
    return Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in found else Verdict.PASS
