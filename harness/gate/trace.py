"""Compares one training epoch by epoch with the recorded one, exactly or within rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from harness.gate import fingerprint
from harness.gate.reference import Early, Trace
from harness.gate.training import Training
from harness.lab.published import LAB_LOG
from harness.statistics import wilson

# So many epochs are compared where training does not repeat to the last bit.
EARLY_EPOCHS = 10
# A loss that is this far from the recorded one, relatively, has left it. Other engines and noise in the last bit moved
# losses that had not left by 7e-7 at most in these epochs, and by 2e-4 and more once they had.
TOLERANCE = 1e-5
# At most so many of all right trainings leave within these epochs; see also :func:`leaves`.
LEAVES = 0.15
# So improbable is the number of seeds that leave, if nothing is wrong, where it is called wrong.
ALPHA = 0.001


@dataclass(frozen=True)
class Difference:
    """Where a training leaves the trace.

    Attributes:
        epoch: the first epoch that differs (from 1); None where none does.
        seen: what differs there, in words.
    """

    epoch: int | None
    seen: str


@dataclass(frozen=True)
class Votes:
    """How many seeds leave their recorded losses.

    Attributes:
        left: by seed, the first epoch that differs.
        n: seeds.
        worst: the largest relative difference of those that do not leave; 0 if all do.
        chance: how probable so many are if nothing is wrong, at most.
    """

    left: Mapping[int, int]
    n: int
    worst: float
    chance: float

    @property
    def is_wrong(self) -> bool:
        """Whether more leave than rounding explains."""
        return self.chance <= ALPHA


def is_exact(trace: Trace | None) -> bool:
    """Whether training repeats this trace to the last bit: it was recorded in such a place as this."""
    return trace is not None and not elsewhere(trace)


def elsewhere(trace: Trace) -> list[str]:
    """What of the fingerprint is not as it was recorded."""
    return fingerprint.differences(trace.fingerprint, fingerprint.here())


def exactly(training: Training, trace: Trace) -> Difference:
    """Compare weights, loss and errors after each epoch."""
    mine, theirs = (
        list(zip(side.weights, map(float, side.losses), map(int, side.errors), strict=True))
        for side in (training, trace)
    )
    same = [ours == recorded for ours, recorded in zip(mine, theirs, strict=True)]
    if all(same):
        return Difference(None, "the same weights, losses and errors to the last bit after every epoch")
    place = same.index(False)
    return Difference(
        place + 1,
        f"epoch {place + 1} is the first that differs: loss {training.losses[place]:.6f}, recorded "
        f"{trace.losses[place]:.6f}; {training.errors[place]} errors, recorded {trace.errors[place]}",
    )


def leaves(early: Early) -> float:
    """How many of all right trainings leave, at most: more than usual where a reference has seen more."""
    return max(LEAVES, wilson(early.left, early.tried).high)


def votes(
    trainings: Sequence[Training],
    recorded: Sequence[Sequence[float] | NDArray[np.float64]],
    may_leave: float = LEAVES,
) -> Votes:
    """Compare the early losses of several seeds with what they are to be; see :class:`harness.gate.reference.Early`."""
    left, worst = {}, 0.0
    for training, losses in zip(trainings, recorded, strict=True):
        n = min(EARLY_EPOCHS, len(training.losses), len(losses))
        off = np.abs(training.losses[:n] / np.asarray(losses[:n]) - 1)
        wrong = ~(off <= TOLERANCE)  # NaN too
        if wrong.any():
            left[training.variant.seed] = int(np.argmax(wrong)) + 1
        else:
            worst = max(worst, float(off.max()))
    return Votes(left, len(trainings), worst, float(binom.sf(len(left) - 1, len(trainings), may_leave)))


def printed_alike(mine: Training, theirs: Training) -> int:
    """In how many epochs, from the first on, two trainings print the same: losses to four decimals, error counts."""
    n = min(len(mine.losses), len(theirs.losses))
    for place in range(n):
        losses = f"{mine.losses[place]:.4f}", f"{theirs.losses[place]:.4f}"
        if losses[0] != losses[1] or mine.errors[place] != theirs.errors[place]:
            return place
    return n


def of_the_lab(training: Training) -> list[int]:
    """The epochs whose losses are not those of the lab's log."""
    return [epoch for epoch, loss in LAB_LOG.items() if f"{training.losses[epoch - 1]:.4f}" != loss]
