"""Compares a training with the recorded one, epoch by epoch, either exactly or within rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from harness import fingerprint
from harness.gate.reference import Early, Trace
from harness.gate.training import Training
from harness.lab.published import LAB_LOG
from harness.statistics import wilson

# Number of epochs that are compared where training does not repeat to the last bit.
EARLY_EPOCHS = 10
# The relative difference from the recorded loss above which a training has diverged. With other engines and with noise
# in the last bit, it was at most 7e-7 in these epochs before a training diverged, and 2e-4 or more afterwards.
TOLERANCE = 1e-5
# The largest share of correct trainings that may diverge within these epochs; see also :func:`leaves`.
LEAVES = 0.15
# The votes fail if correct trainings would give this number of diverged seeds, or more, with at most this probability.
ALPHA = 0.001


@dataclass(frozen=True)
class Difference:
    """The first difference between a training and the recorded trace.

    Attributes:
        epoch: First epoch that differs, from 1. None if no epoch differs.
        seen: Description of the difference.
    """

    epoch: int | None
    seen: str


@dataclass(frozen=True)
class Votes:
    """The number of seeds that diverge from their expected losses.

    Attributes:
        left: First epoch that differs, from 1, by seed. It holds only the seeds that diverge.
        n: Number of seeds.
        worst: Largest relative difference among the seeds that do not diverge. 0 if all diverge.
        chance: Upper bound of the probability that at least this number of correct trainings diverge.
    """

    left: Mapping[int, int]
    n: int
    worst: float
    chance: float

    @property
    def is_wrong(self) -> bool:
        """Whether more seeds diverge than rounding explains."""
        return self.chance <= ALPHA


def is_exact(trace: Trace | None) -> bool:
    """Whether training repeats this trace to the last bit, because it was recorded in an equal environment."""
    return trace is not None and not elsewhere(trace)


def elsewhere(trace: Trace) -> list[str]:
    """The names of the fingerprint's entries that differ between the trace and this environment."""
    return fingerprint.differences(trace.fingerprint, fingerprint.here())


def exactly(training: Training, trace: Trace) -> Difference:
    """Compare weights, loss and error count after each epoch, to the last bit."""
    mine, theirs = (
        list(zip(side.weights, map(float, side.losses), map(int, side.errors), strict=True))
        for side in (training, trace)
    )
    same = [ours == recorded for ours, recorded in zip(mine, theirs, strict=True)]
    if all(same):
        return Difference(None, "weights, losses and errors are equal to the last bit after every epoch")
    place = same.index(False)
    return Difference(
        place + 1,
        f"epoch {place + 1} is the first that differs: loss {training.losses[place]:.6f}, recorded "
        f"{trace.losses[place]:.6f}; {training.errors[place]} errors, recorded {trace.errors[place]}",
    )


def leaves(early: Early) -> float:
    """The largest share of correct trainings that may diverge, from rounding alone.

    It is above :data:`LEAVES` if a larger share diverged when the reference was recorded.
    """
    return max(LEAVES, wilson(early.left, early.tried).high)


def votes(
    trainings: Sequence[Training],
    recorded: Sequence[Sequence[float] | NDArray[np.float64]],
    may_leave: float = LEAVES,
) -> Votes:
    """Compare the early losses of several seeds with the expected ones; see :class:`harness.gate.reference.Early`.

    Args:
        trainings: Trainings, one for each seed.
        recorded: Expected losses of each training, ``(n, epochs)``.
        may_leave: Largest share of correct trainings that diverge.
    """
    left, worst = {}, 0.0
    for training, losses in zip(trainings, recorded, strict=True):
        n = min(EARLY_EPOCHS, len(training.losses), len(losses))
        off = np.abs(training.losses[:n] / np.asarray(losses[:n]) - 1)
        wrong = ~(off <= TOLERANCE)  # also true for NaN
        if wrong.any():
            left[training.variant.seed] = int(np.argmax(wrong)) + 1
        else:
            worst = max(worst, float(off.max()))
    return Votes(left, len(trainings), worst, chance(len(left), len(trainings), may_leave))


def chance(left: int, n: int, may_leave: float) -> float:
    """The probability that at least ``left`` of ``n`` correct trainings diverge, if this share of them does."""
    return float(binom.sf(left - 1, n, may_leave))


def of_the_lab(training: Training) -> list[int]:
    """The epochs of this training whose printed loss differs from the lab's log."""
    shown = {epoch: loss for epoch, loss in LAB_LOG.items() if epoch <= len(training.losses)}
    return [epoch for epoch, loss in shown.items() if f"{training.losses[epoch - 1]:.4f}" != loss]
