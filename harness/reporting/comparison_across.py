"""Comparisons across a setting: the two studies differ in it on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.reporting.comparison_inputs import Side
from harness.reporting.comparison_tables import listed


@dataclass(frozen=True)
class Across:
    """A setting in which the studies differ on purpose.

    Attributes:
        name: Name of the setting.
        a: Value in A, as text.
        b: Value in B, as text.
    """

    name: str
    a: str
    b: str


def matched(a: Side, b: Side, names: Sequence[str]) -> tuple[Side, tuple[Across, ...]]:
    """Study B with A's values of the named settings, so that its variants equal A's. And the values of both.

    Raises:
        UsageError: A setting has several values in a study, or the same value in both.
    """
    found = []
    for name in names:
        for letter, side in (("A", a), ("B", b)):
            if len(set(side.frame[name])) > 1:
                cause = f"--across {name}: {name} has several values in {letter}: {listed(side.frame[name])}"
                raise UsageError(cause, "Compare studies in which this setting has only one value.")
        ours, theirs = listed(a.frame[name]), listed(b.frame[name])
        if a.frame[name].iloc[0] == b.frame[name].iloc[0]:
            raise UsageError(f"--across {name}: {name} does not differ: it is {ours} in both", "Leave this option out.")
        found.append(Across(name, ours, theirs))
    values = {name: a.frame[name].iloc[0] for name in names}
    return replace(b, frame=b.frame.assign(**values)), tuple(found)
