from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest

from harness import gate
from harness.digits import Digits
from harness.engines.contract import OnEpoch
from harness.trajectory import Snapshot, Trajectory
from harness.variant import Variant


class Recorded:
    """An engine that returns what it is told to."""

    name = "graph"

    def __init__(self, losses: list[float], errors: list[int]) -> None:
        self.losses, self.errors = losses, errors

    def train(
        self, variants: Sequence[Variant], *, snapshots: Collection[int] = (), on_epoch: OnEpoch | None = None
    ) -> list[Trajectory]:
        assert snapshots == ()
        assert on_epoch is None
        final = {100: Snapshot((), np.zeros((5000, 10), np.float32))}
        return [Trajectory(v, np.array(self.losses), np.array(self.errors), final, 1.0) for v in variants]


def printed(digits: Digits) -> list[float]:
    losses = [0.5] * 100
    for epoch, loss in gate.REFERENCE_LOGS[digits.name].items():
        losses[epoch - 1] = float(loss)
    return losses


def test_a_good_training_passes(digits: Digits) -> None:
    checks = list(gate.check_engine(Recorded(printed(digits), [9] * 55 + [0] * 45), digits))
    assert [check.verdict for check in checks] == ["PASS", "PASS"]
    assert "seen epoch 56; 0 errors at epoch 100" in str(checks[0])


def test_a_training_that_never_reaches_zero_fails(digits: Digits) -> None:
    zero, log = gate.check_engine(Recorded(printed(digits), [9] * 99 + [3]), digits)
    assert zero.verdict == "FAIL"
    assert "3 errors at best" in zero.seen
    assert log.verdict == "PASS"


@pytest.mark.parametrize("loss", [float("nan"), 0.0301])
def test_a_log_that_differs_fails_and_names_the_epoch(digits: Digits, loss: float) -> None:
    losses = printed(digits)
    losses[39] = loss
    _, log = gate.check_engine(Recorded(losses, [0] * 100), digits)
    assert log.verdict == "FAIL"
    assert f"{loss:.4f} at epoch 40" in log.seen


def test_images_without_a_reference_are_not_passed_silently(digits: Digits) -> None:
    other = Digits(digits.x, digits.y, "file-0123456789ab", "a file", digits.sha256_x, digits.sha256_y)
    _, log = gate.check_engine(Recorded([0.5] * 100, [0] * 100), other)
    assert log.verdict == "NOT RUN"
    assert "none for file-0123456789ab" in str(log)
