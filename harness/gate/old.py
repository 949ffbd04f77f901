"""The regression gate: does the baseline still train as it did, and still reach zero errors?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness import engines
from harness.digits import LAB_NAME, OPTDIGITS_NAME, Digits
from harness.engines.contract import Engine
from harness.trajectory import Trajectory
from harness.variant import BASELINE

LOGGED = ("xla", "graph")  # the engines that print the log; Keras has an Adam of its own

# The losses that the baseline prints, to four decimals, by dataset and epoch. The lab's are those of its published
# log; the embedded digits' were printed by `graph` when their bytes were frozen (TensorFlow 2.21).
REFERENCE_LOGS = {
    LAB_NAME: {1: "1.7094", 2: "0.7480", 3: "0.4428", 38: "0.0344", 39: "0.0312", 40: "0.0294"},
    OPTDIGITS_NAME: {1: "1.5775", 2: "0.5428", 3: "0.3433", 38: "0.0252", 39: "0.0259", 40: "0.0226"},
}


@dataclass(frozen=True)
class Check:
    """One check of the gate; ``passed`` is None where it could not be run."""

    name: str
    passed: bool | None
    expected: str
    seen: str

    @property
    def verdict(self) -> str:
        """PASS, FAIL or NOT RUN."""
        return "NOT RUN" if self.passed is None else "PASS" if self.passed else "FAIL"

    def __str__(self) -> str:
        return f"{self.verdict:<7}  {self.name}: expected {self.expected}; seen {self.seen}"


def check_engine(engine: Engine, digits: Digits) -> Iterator[Check]:
    """Train the baseline and check it: it reaches zero errors, and prints the reference log where it can."""
    trajectory = engine.train([engines.baseline(engine.name)])[0]
    yield _zero(engine.name, trajectory)
    if engine.name in LOGGED:
        yield _log(engine.name, trajectory, digits)


def _zero(engine: str, trajectory: Trajectory) -> Check:
    epoch = trajectory.first_zero_epoch
    final = f"{trajectory.errors[-1]} errors at epoch {BASELINE.epochs}"
    seen = f"{trajectory.errors.min()} errors at best" if epoch is None else f"epoch {epoch}"
    expected = f"zero errors on {len(trajectory.final.logits)} images within {BASELINE.epochs} epochs"
    return Check(f"zero, {engine}", epoch is not None, expected, f"{seen}; {final}")


def _log(engine: str, trajectory: Trajectory, digits: Digits) -> Check:
    name = f"log, {engine}"
    reference = REFERENCE_LOGS.get(digits.name)
    if reference is None:
        return Check(name, None, "a reference log", f"none for {digits.name}")
    printed = {epoch: f"{trajectory.losses[epoch - 1]:.4f}" for epoch in reference}
    whose = "the lab's losses" if digits.name == LAB_NAME else "the recorded losses"
    expected = f"{whose} {', '.join(reference.values())} at epochs {', '.join(map(str, reference))}"
    wrong = [f"{printed[epoch]} at epoch {epoch}" for epoch in reference if printed[epoch] != reference[epoch]]
    return Check(name, not wrong, expected, ", ".join(wrong) if wrong else "the same")
